"""A Keras 3 model as plain data, for environments whose Keras cannot read it: layers, their inputs and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

KEPT = (
    "filters", "kernel_size", "strides", "padding", "dilation_rate", "groups", "depth_multiplier", "use_bias",
    "activation", "axis", "epsilon", "scale", "center", "pool_size", "keepdims", "units", "batch_shape",
)  # fmt: skip


def describe(model: Any, path: Path) -> None:
    """Writes ``path`` (.npz): the layers in order as JSON, and each layer's weights as ``layer/number``."""
    layers, arrays = [], {}
    for layer in model.layers:
        (node,) = layer._inbound_nodes
        inputs = [tensor._keras_history.operation.name for tensor in node.arguments.keras_tensors]
        config = {key: value for key, value in layer.get_config().items() if key in KEPT}
        layers.append({"name": layer.name, "class": type(layer).__name__, "config": config, "inputs": inputs})
        arrays |= {f"{layer.name}/{i}": array for i, array in enumerate(layer.get_weights())}
    text = json.dumps({"layers": layers, "inputs": [tensor.name for tensor in model.inputs]})
    np.savez(path, description=np.array(text), **arrays)
