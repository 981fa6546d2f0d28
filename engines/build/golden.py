"""Golden pairs of a build: real inputs where there are some, with the reference's outputs and a few layers'."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploy.golden import Golden
from deploy.inputs import check_finite, check_inputs, load_inputs
from deploy.manifest import LayerOutput, TensorSpec
from deploy.npz import Array

SAMPLES = 8
"""Most samples in the golden pairs."""
LAYERS = 12
"""Most layers whose outputs are kept; evenly over the depth of the model, each of at most `LAYER_BYTES`."""
LAYER_BYTES = 4 << 20


def inputs(specs: tuple[TensorSpec, ...], sample: object, calibration: object) -> tuple[dict[str, Array], str, object]:
    """At most `SAMPLES` inputs, where they come from, and the calibration data (an iterator begun here is put together
    again).

    ``sample`` (an .npz path or arrays by name) if given, else calibration samples, else random ones, which say little
    of the values that the model will meet.
    """
    if sample is not None:
        whole = load_inputs(sample, specs).arrays if isinstance(sample, str | Path) else _arrays(sample, specs)
        return {name: array[: _size(specs)] for name, array in whole.items()}, _name(sample, "sample"), calibration
    if calibration is not None:
        from engines.calibration.collect import filled
        from engines.calibration.data import batches

        if isinstance(calibration, Iterator):
            first = next(calibration, None)
            calibration = itertools.chain([] if first is None else [first], calibration)
            batch = next(batches([] if first is None else [first], specs, _size(specs)))
        else:
            batch = next(batches(calibration, specs, _size(specs)))
        return filled(batch, _fixed(specs)), _name(calibration, "calibration data"), calibration
    return {spec.name: _random(spec) for spec in specs}, "random", None


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


def _size(specs: tuple[TensorSpec, ...]) -> int:
    """The batch of the golden pairs: that of the model where it is fixed."""
    return _fixed(specs) or SAMPLES


def _fixed(specs: tuple[TensorSpec, ...]) -> int | None:
    return next((spec.shape[0] for spec in specs if isinstance(spec.shape[0], int)), None)


def _arrays(sample: Any, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    given = sample if isinstance(sample, Mapping) else {specs[0].name: sample}
    arrays = check_inputs(given, specs, "sample")
    for name, array in arrays.items():
        check_finite(name, array, "sample")
    return arrays


def _name(source: object, otherwise: str) -> str:
    return Path(source).name if isinstance(source, str | Path) else otherwise


def _random(spec: TensorSpec) -> Array:
    random = np.random.default_rng(0)
    shape = tuple(size if isinstance(size, int) else SAMPLES for size in spec.shape)
    dtype = np.dtype(spec.dtype)
    values = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, 2, shape)
    return np.asarray(values, dtype)
