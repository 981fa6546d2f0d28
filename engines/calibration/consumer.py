"""The range of a value that errs least behind the layers that read it.

1. The error is that of the layers' outputs, not of the value: layer by layer, FP32 inputs of some samples are rounded and
   clipped to a range and multiplied by the weights as INT8 holds them, and the outputs held against those of FP32. So
   an error counts by what the weights make of it (Wu et al. 2020, "EasyQuant: Post-training Quantization via Scale
   Optimization": scales by the outputs of each convolution; Nagel et al. 2020, "Up or Down? Adaptive Rounding", section
   3: the layer's reconstruction error ``||W x - W' x'||^2``).
2. Behind an activation that TensorRT computes in the same kernel the error is taken there: what a Relu cuts off costs
   nothing (Nagel et al. 2020, equation 25).
3. Of several readers of a value the errors are added up, each relative to the power of what it gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.npz import Array
from engines.calibration.collect import replay
from engines.graphs import compute_nodes, load, name_of, weights_of
from engines.recipe import INT8_MAXIMUM, Recipe
from engines.sessions import session

ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"})
"""Of one input: computed in the kernel of the product before them."""


def output_errors(
    model: ir.Model, recipe: Recipe, samples: Mapping[str, Array], candidates: Mapping[str, Sequence[float]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Per value the relative power of the error behind its INT8 readers, for each of its candidate ranges.

    ``samples``: model inputs by name. They are read in batches: no more of the values is in memory than of one.
    """
    readers = {value: _readers(model, recipe, value) for value in candidates}
    noise = {value: np.zeros((len(found), len(candidates[value]))) for value, found in readers.items()}
    power = {value: np.zeros((len(found), 1)) for value, found in readers.items()}
    runs = {value: _session(model, recipe, value, found) for value, found in readers.items() if found}
    for _, values, _ in replay(model, samples):
        for value, run in runs.items():
            x = values[value]
            exact = [values[reader.output] for reader in readers[value]]
            power[value][:, 0] += [_power(array) for array in exact]
            for index, amax in enumerate(candidates[value]):
                found = run.run(None, {value: rounded(x, amax)})
                noise[value][:, index] += [_power(a - b) for a, b in zip(found, exact, strict=True)]
    return {value: (noise[value] / np.maximum(power[value], 1e-30)).sum(axis=0) for value in candidates}


def rounded(x: Array, amax: float) -> npt.NDArray[np.float32]:
    """A value as symmetric INT8 holds it within ±``amax``, its scale in FP16."""
    step = np.float32(np.float16(amax / INT8_MAXIMUM or 1.0))
    return np.asarray(np.clip(np.rint(x / step), -INT8_MAXIMUM, INT8_MAXIMUM) * step, np.float32)


@dataclass(frozen=True)
class _Reader:
    """A product that reads a value, the activation behind it (or None), and the value that they give."""

    product: ir.Node
    activation: ir.Node | None
    output: str


def _readers(model: ir.Model, recipe: Recipe, value: str) -> list[_Reader]:
    found = []
    for node in compute_nodes(model):
        source = node.inputs[0]
        if source is None or name_of(source) != value or recipe.precision_of(node.name or "") != "int8":
            continue
        users = [user for user, _ in node.outputs[0].uses()]
        fused = len(users) == 1 and users[0].op_type in ACTIVATIONS and not node.outputs[0].is_graph_output()
        last = users[0] if fused else node
        found.append(_Reader(node, users[0] if fused else None, name_of(last.outputs[0])))
    return found


def _session(model: ir.Model, recipe: Recipe, value: str, readers: Sequence[_Reader]) -> Any:
    """A session that gives what the readers make of the value, their weights rounded as the recipe says."""
    part = load(model)
    keep = {reader.product.name for reader in readers} | {r.activation.name for r in readers if r.activation is not None}
    scales = {layer.name: layer.weight_scales for layer in recipe.layers}
    for node in part.graph:
        if node.name in keep and (weights := weights_of(node)) is not None:
            shape = [-1 if axis == weights.axis else 1 for axis in range(weights.array.ndim)]
            step = np.asarray(scales[node.name or ""], np.float32).astype(np.float16).astype(np.float32).reshape(shape)
            array = np.clip(np.rint(weights.array / step), -INT8_MAXIMUM, INT8_MAXIMUM) * step
            held = node.inputs[weights.index]
            assert held is not None
            new = ir.Value(name=f"{name_of(held)}/{node.name}", const_value=ir.tensor(array.astype(np.float32)))
            new.shape, new.type = held.shape, held.type
            part.graph.register_initializer(new)
            node.replace_input_with(weights.index, new)
    return session(_cut(part, value, keep, [reader.output for reader in readers]), optimize=True)
