"""The range of a value by the error behind the layers that read it.

1. What counts is the error of the layers' outputs, not that of the value: an error weighs what the weights make of it.
   Every INT8 layer gets its FP32 input, rounded and clipped to a range, and its weights as INT8 holds them; its output
   is held against FP32's (the layer's reconstruction error ``||W x - W' x'||^2``, Nagel et al. 2020, "Up or Down?
   Adaptive Rounding for Post-Training Quantization"; scales chosen by the outputs of each convolution: Wu et
   al. 2020, "EasyQuant: Post-training Quantization via Scale Optimization").
2. The error is taken behind an activation that TensorRT computes in the layer's kernel: what a Relu cuts off costs
   nothing (Nagel et al. 2020).
3. An Add that reads the quantized value (`engines.apply.placement`, rule 4) gets its error as it is.
4. Of several readers of a value the errors are added up, each relative to the power of what it gives in FP32.
5. Ranges are tried from all that was seen down to 1/256 of it. The error is flat around its least, and where it is
   least is a matter of these samples, so the largest range within `SLACK` of it is taken: what others have beyond it is
   clipped less.
The layers are independent of each other, so one run of a graph in which all of them stand side by side tries one range
for every value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes import common

from deploy.npz import Array
from engines.apply import applied
from engines.apply.placement import is_residual
from engines.calibration.collect import replay
from engines.calibration.data import filled
from engines.calibration.open_scales import half, open_scales
from engines.calibration.ranges import Ranges
from engines.graphs import compute_nodes, name_of
from engines.recipe import Recipe
from engines.sessions import input_specs, session

ACTIVATIONS = frozenset({"Clip", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"})
PARTS = (*np.linspace(1, 0.3, 14), *np.geomspace(0.3, 1 / 256, 8)[1:])
"""Of all that was seen of a value, the ranges that are tried: fine where the best mostly is, coarse beneath."""
SLACK = 0.05
"""Part by which the error may be above the least. It raised MEAN_Spot's worst SQNR over several replays by 1 dB."""

Errors = dict[str, npt.NDArray[np.float64]]


def least_errors(
    model: ir.Model, recipe: Recipe, ranges: Ranges, values: Iterable[str], samples: Mapping[str, Array]
) -> dict[str, float]:
    """The range of each value by its error behind the INT8 layers of the recipe, which has min-max ranges.

    ``samples``: model inputs by name, batch first. A value that no INT8 layer reads keeps all that was seen.
    """
    candidates = {value: ranges.amax(value) * np.asarray(PARTS) for value in values}
    errors = output_errors(model, recipe, samples, candidates)
    found = {value: float(amax[0]) for value, amax in candidates.items()}
    for value, error in errors.items():
        found[value] = float(candidates[value][int(np.argmax(error <= (1 + SLACK) * error.min()))])
    return found


def output_errors(
    model: ir.Model,
    recipe: Recipe,
    samples: Mapping[str, Array],
    candidates: Mapping[str, npt.NDArray[np.float64]],
) -> Errors:
    """Per value the relative power of the error behind what reads it quantized, for each of its candidate ranges.

    ``samples``: model inputs by name. ``candidates``: as many for each value.
    """
    readers = _readers(model, recipe, candidates)
    graph, scales = _side_by_side(model, recipe, readers)
    run = session(graph, optimize=False)
    every = list(dict.fromkeys(reader for found in readers.values() for reader in found))
    tries = len(next(iter(candidates.values())))
    noise, power = np.zeros((len(every), tries)), np.zeros((len(every), 1))
    fixed = next((spec.shape[0] for spec in input_specs(model) if isinstance(spec.shape[0], int)), 1)
    whole = filled(dict(samples), -(-len(next(iter(samples.values()))) // fixed) * fixed)
    for _, values, _ in replay(model, whole):
        inputs = {f"{value}/replayed": values[value] for value in readers}
        power[:, 0] += [_power(values[reader.gives]) for reader in every]
        for index in range(tries):
            steps = {scale: half(candidates[value][index]) for value, scale in scales.items()}
            found = run.run([reader.found for reader in every], {**inputs, **steps})
            noise[:, index] += [_power(a - values[reader.exact]) for a, reader in zip(found, every, strict=True)]
    relative = dict(zip(every, noise / np.maximum(power, 1e-30), strict=True))
    return {value: np.sum([relative[reader] for reader in found], axis=0) for value, found in readers.items()}


@dataclass(frozen=True)
class _Reader:
    """What reads a quantized value: the names of what is compared, in the cut graph and among the FP32 values, and of
    what the reader gives.
    """

    found: str
    exact: str
    gives: str


def _power(array: Array) -> float:
    return float(np.square(array, dtype=np.float64).sum())


def _readers(model: ir.Model, recipe: Recipe, values: Mapping[str, object]) -> dict[str, list[_Reader]]:
    """Per value its INT8 layers, with their activations, and its additions; of values that an INT8 layer reads."""
    found: dict[str, list[_Reader]] = {}
    outputs = set(model.graph.outputs)
    for node in compute_nodes(model):
        source = node.inputs[0]
        if source is None or name_of(source) not in values or recipe.precision_of(node.name or "") != "int8":
            continue
        output, value = node.outputs[0], name_of(source)
        if value not in found:
            found[value] = [_addition(value, user) for user, _ in source.uses() if is_residual(user, recipe)]
        users = [user for user, _ in output.uses()]
        if len(users) == 1 and users[0].op_type in ACTIVATIONS and output not in outputs:
            output = users[0].outputs[0]
        found[value].append(_Reader(*[name_of(output)] * 3))
    return found


def _addition(value: str, node: ir.Node) -> _Reader:
    return _Reader(f"{value}/dequantized", value, name_of(node.outputs[0]))


def _side_by_side(
    model: ir.Model, recipe: Recipe, readers: Mapping[str, Sequence[_Reader]]
) -> tuple[ir.Model, dict[str, str]]:
    """The simulated graph cut before each of these values, which become inputs as their scales do (by value)."""
    graph = applied(recipe, model, "simulate")
    scales = {value: name for value, name in open_scales(graph).items() if value in readers}
    values = {name_of(output): output for node in graph.graph for output in node.outputs}
    opened = {name_of(value): value for value in graph.graph.inputs}
    cut = []
    for value in readers:
        node = values[f"{value}/quantized"].producer()
        source = None if node is None else node.inputs[0]
        assert node is not None
        cut.append(ir.val(f"{value}/replayed", ir.DataType.FLOAT, None if source is None else source.shape))
        node.replace_input_with(0, cut[-1])
    graph.graph.outputs[:] = [values[name] for name in sorted({r.found for every in readers.values() for r in every})]
    graph.graph.inputs[:] = [*cut, *(opened[name] for name in scales.values())]
    common.RemoveUnusedNodesPass()(graph)
    return graph, scales
