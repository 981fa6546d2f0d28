"""The range of a value by the error behind the layers that read it.

1. What counts is the error of the layers' outputs, not that of the value: an error weighs what the weights make of it.
   Every INT8 layer gets its FP32 input, rounded and clipped to a range, and its weights as INT8 holds them; its output
   is held against FP32's (the layer's reconstruction error ``||W x - W' x'||^2``, Nagel et al. 2020, "Up or Down?
   Adaptive Rounding for Post-Training Quantization", section 3; scales chosen by the outputs of each convolution: Wu et
   al. 2020, "EasyQuant: Post-training Quantization via Scale Optimization").
2. The error is taken behind an activation that TensorRT computes in the layer's kernel: what a Relu cuts off costs
   nothing (Nagel et al. 2020, section 3.3).
3. Of several layers that read a value the errors are added up, each relative to the power of its FP32 output.
The layers are independent of each other, so one run of a graph in which all of them stand side by side tries one range
for every value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from deploy.npz import Array
from engines.apply import applied
from engines.calibration.collect import replay
from engines.calibration.open_scales import half, open_scales
from engines.graphs import compute_nodes, name_of
from engines.recipe import Recipe
from engines.sessions import session

ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})

Errors = dict[str, npt.NDArray[np.float64]]


def output_errors(
    model: ir.Model, recipe: Recipe, samples: Mapping[str, Array], candidates: Mapping[str, Sequence[float]]
) -> Errors:
    """Per value the relative power of the error behind its INT8 layers, for each of its candidate ranges.

    ``samples``: model inputs by name. ``candidates``: as many for each value.
    """
    readers = _readers(model, recipe, candidates)
    graph, scales = _side_by_side(model, recipe, readers)
    run = session(graph, optimize=False)
    names = list(dict.fromkeys(output for outputs in readers.values() for output in outputs))
    tries = len(next(iter(candidates.values())))
    noise = {name: np.zeros(tries) for name in names}
    power = dict.fromkeys(names, 0.0)
    for _, values, _ in replay(model, samples):
        inputs = {f"{value}/replayed": values[value] for value in readers}
        for name in names:
            power[name] += _power(values[name])
        for index in range(tries):
            steps = {scale: half(candidates[value][index]) for value, scale in scales.items()}
            for name, found in zip(names, run.run(names, {**inputs, **steps}), strict=True):
                noise[name][index] += _power(found - values[name])
    relative = {name: noise[name] / max(power[name], 1e-30) for name in names}
    return {value: np.sum([relative[name] for name in outputs], axis=0) for value, outputs in readers.items()}


def _power(array: Array) -> float:
    return float(np.square(array, dtype=np.float64).sum())


def _readers(model: ir.Model, recipe: Recipe, values: Mapping[str, object]) -> dict[str, list[str]]:
    """Per value the outputs of the INT8 layers that read it, behind their activations."""
    found: dict[str, list[str]] = {value: [] for value in values}
    outputs = set(model.graph.outputs)
    for node in compute_nodes(model):
        source = node.inputs[0]
        if source is None or name_of(source) not in found or recipe.precision_of(node.name or "") != "int8":
            continue
        output = node.outputs[0]
        users = [user for user, _ in output.uses()]
        if len(users) == 1 and users[0].op_type in ACTIVATIONS and output not in outputs:
            output = users[0].outputs[0]
        found[name_of(source)].append(name_of(output))
    return {value: names for value, names in found.items() if names}


def _side_by_side(
    model: ir.Model, recipe: Recipe, readers: Mapping[str, Sequence[str]]
) -> tuple[ir.Model, dict[str, str]]:
    """The simulated graph cut before each of these values, which become inputs as their scales do (by value)."""
    graph = applied(recipe, model, "simulate")
    scales = {value: name for value, name in open_scales(graph).items() if value in readers}
    wanted = {name for outputs in readers.values() for name in outputs}
    values = {name_of(output): output for node in graph.graph for output in node.outputs}
    opened = {name_of(value): value for value in graph.graph.inputs}
    cut = []
    for node in graph.graph:
        if node.op_type == "QuantizeLinear" and (value := (node.name or "").removesuffix("/quantize")) in readers:
            source = node.inputs[0]
            cut.append(ir.val(f"{value}/replayed", ir.DataType.FLOAT, None if source is None else source.shape))
            node.replace_input_with(0, cut[-1])
    graph.graph.outputs[:] = [values[name] for name in sorted(wanted)]
    graph.graph.inputs[:] = [*cut, *(opened[name] for name in scales.values())]
    common.RemoveUnusedNodesPass()(graph)
    return graph, scales
