"""Golden pairs of a build: its inputs with the reference's outputs, and the outputs of a few layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy.golden import Golden
from deploy.manifest import LayerOutput
from deploy.npz import Array

LAYERS = 12
"""Most layers whose outputs are kept; evenly over the depth of the model, each of at most `LAYER_BYTES`."""
LAYER_BYTES = 4 << 20


def keep(
    layers: tuple[LayerOutput, ...], given: dict[str, Array], outputs: dict[str, Array], found: Mapping[str, Array]
) -> Golden:
    """The golden pairs with some of the layers that Keras gave and the graph still has."""
    possible = [
        layer.path
        for layer in layers
        if layer.value is not None and layer.path in found and found[layer.path].nbytes <= LAYER_BYTES
    ]
    chosen = [possible[round(i)] for i in np.linspace(0, len(possible) - 1, min(LAYERS, len(possible)))]
    return Golden(given, outputs, {path: found[path] for path in dict.fromkeys(chosen)})
