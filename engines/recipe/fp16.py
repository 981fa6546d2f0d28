"""What stays in FP32 because FP16 cannot hold its numbers: too large, or so small that they become 0.

Rules; 1 and 3 by the ranges that calibration saw, the others by the graph alone:
1. A node that reads or writes a value seen within `HEADROOM` of FP16's maximum.
2. A node with a constant beyond that maximum; but neither the score that masks a position before a Softmax (Keras has
   -2e38) nor a bound of a Clip that no value reaches. FP16's largest number does as well there
   (`engines.apply.casting.narrowed`): beside scores that rule 1 allows its exponential is 0 too, and a row of masked
   positions alone is as uniform.
3. A node that reads or writes a value that never reached FP16's normal numbers.
4. A node with a constant below them: a weight, a factor, or the epsilon that guards a division, a root or a logarithm,
   which would become 0 (1e-8) or lose its digits (1e-5). With an epsilon go the readers of the sum, down to the
   division or product that it guards: the sum can be as small as the epsilon, its reciprocal as large as 1e8. The same
   operations are FP32 under Keras's and NVIDIA's mixed precision ("Train With Mixed Precision": reductions,
   normalization).
5. A branch or loop with such a constant in its body, as a whole (`engines.apply.bodies`). Calibration sees what a loop
   ends with, not the steps before; the simulation rounds every step.
6. What stands beside such nodes, where that makes the Casts fewer (`engines.apply.fewest_casts`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx_ir as ir

from engines.apply.bodies import inner_nodes
from engines.apply.casting import hindrance
from engines.apply.fewest_casts import joined
from engines.calibration.ranges import Ranges
from engines.graphs import COMPUTE, constant, name_of

MAXIMUM = 65504.0
SMALLEST_NORMAL = 2.0**-14
"""Below this FP16 loses bits of the significand: a scale there is wrong by up to half."""
HEADROOM = 2.0
"""A value seen within a factor of 2 of FP16's maximum stays FP32: calibration does not see every input."""

_SUMS = frozenset({"Add", "Sub", "Max", "Clip"})
"""Where a small constant is a lower bound of the result: an epsilon."""
_OFFSETS = {"BatchNormalization": (2, 3), "InstanceNormalization": (2,), "LayerNormalization": (2,)}
_CARRIES = frozenset({
    "Abs", "Expand", "Flatten", "Identity", "Neg", "Pow", "Reciprocal", "Reshape", "Sqrt", "Squeeze",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators whose result is as extreme as a bounded sum that they read."""
_ARRANGES = frozenset({"Expand", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BOUNDS = {"Clip": {1: -1, 2: 1}, "Max": {0: -1, 1: -1}, "Min": {0: 1, 1: 1}}
"""By operator the sign with which a constant input beyond all values bounds nothing."""


def kept_high(model: ir.Model, ranges: Ranges | None) -> dict[str, str]:
    """Names of the nodes of an FP32 graph that stay in FP32 in an FP16 one, with the reason."""
    masked = _masked(model, ranges)
    found = {} if ranges is None else _by_range(model, ranges, masked)
    found = _by_constant(model.graph, masked) | found
    for node in model.graph:
        inside = _by_constant(inner_nodes(node), masked)
        if inside and node.name and node.name not in found:
            name, why = list(inside.items())[-1]
            found[node.name] = f"{name} in its body: {why}"
    found = bodies_high(model, ir.DataType.FLOAT16) | found
    others = sorted(joined(model, found) - found.keys())
    return found | dict.fromkeys(others, "in FP32 for fewer Casts: it stands beside operations in FP32")


def bodies_high(model: ir.Model, kind: ir.DataType) -> dict[str, str]:
    """Names of the branches and loops that cannot compute in a type, with the reason."""
    found = {node.name or "": hindrance(node, kind) for node in model.graph if inner_nodes(node)}
    return {name: f"with its body in FP32: {why}" for name, why in found.items() if why}


def _masked(model: ir.Model, ranges: Ranges | None) -> frozenset[ir.Value]:
    """Scores before a Softmax that a constant beyond FP16 masks, and nothing else carries beyond it: rule 2."""
    found: set[ir.Value] = set()
    for node in model.graph:
        if node.op_type != "Where" or not any(_is_fill(value) for value in node.inputs[1:]):
            continue
        scores = _scores(node.outputs[0])
        if scores and all(ranges is None or _below(ranges, value) for value in scores):
            found |= scores
    return frozenset(found)


def _is_fill(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.dtype == np.float32 and array.size > 0 and float(array.max()) < -MAXIMUM


def _scores(value: ir.Value) -> set[ir.Value]:
    """The value and what it is arranged to, where Softmax alone reads that in the end; else nothing."""
    found = {value}
    if value.is_graph_output() or not value.uses():
        return set()
    for reader, _ in value.uses():
        if reader.op_type == "Softmax":
            continue
        further = _scores(reader.outputs[0]) if reader.op_type in _ARRANGES else set()
        if not further:
            return set()
        found |= further
    return found


def _below(ranges: Ranges, value: ir.Value) -> bool:
    return ranges.maximum.get(name_of(value), 0.0) <= MAXIMUM / HEADROOM


def _by_range(model: ir.Model, ranges: Ranges, masked: Collection[ir.Value]) -> dict[str, str]:
    """Rules 1 and 3."""
    found: dict[str, str] = {}
    for node in model.graph:
        for value in (*node.inputs, *node.outputs):
            if value is None or value in masked or name_of(value) not in ranges.minimum or not node.name:
                continue
            amax = ranges.amax(name_of(value))
            if amax > MAXIMUM / HEADROOM:
                found[node.name] = f"{value.name} reaches {amax:.5g}, and FP16 ends at 65504"
            elif 0 < amax < SMALLEST_NORMAL:
                found[node.name] = f"{value.name} never exceeds {amax:.2g}, and FP16's normal numbers begin at 6.1e-05"
    return found


def _by_constant(nodes: Iterable[ir.Node], masked: Collection[ir.Value]) -> dict[str, str]:
    """Rules 2 and 4."""
    found: dict[str, str] = {}
    for node in nodes:
        for index, value in enumerate(node.inputs):
            magnitude = _magnitude(value)
            if magnitude > MAXIMUM and not _stands_for_never(node, index, masked):
                found[node.name or ""] = f"a constant of {magnitude:.5g} does not fit FP16, which ends at 65504"
            elif 0 < magnitude < SMALLEST_NORMAL and not _is_offset(node, index):
                why = f"its constant {magnitude:.2g} is too small for FP16, whose normal numbers begin at 6.1e-05"
                found[node.name or ""] = why
                if node.op_type in _SUMS:
                    guarded = {
                        n.name or "": f"reads what {node.name} keeps above {magnitude:.2g}" for n in _guarded(node)
                    }
                    found = guarded | found
    return found


def _stands_for_never(node: ir.Node, index: int, masked: Collection[ir.Value]) -> bool:
    """Whether a constant beyond FP16's range masks a score, or bounds what is all within."""
    if node.op_type == "Where":
        return node.outputs[0] in masked
    sign, array = _BOUNDS.get(node.op_type, {}).get(index), constant(node.inputs[index])
    return sign is not None and array is not None and bool((sign * array > MAXIMUM).all())


def _magnitude(value: ir.Value | None) -> float:
    """The largest finite magnitude of a float constant; 0 of any other value."""
    array = constant(value)
    if array is None or not np.issubdtype(array.dtype, np.floating):
        return 0.0
    return float(np.abs(array[np.isfinite(array)]).max(initial=0.0))


def _is_offset(node: ir.Node, index: int) -> bool:
    """Whether a constant is added per channel or element, beside larger numbers, so that nothing is lost with it."""
    if node.op_type in COMPUTE or node.op_type in _OFFSETS:
        return index in _OFFSETS.get(node.op_type, (2,))
    array = constant(node.inputs[index])
    return node.op_type in ("Add", "Sub") and array is not None and np.unique(array).size > 1


def _guarded(node: ir.Node) -> Iterator[ir.Node]:
    """The readers of a bounded sum, down to the first that gives ordinary numbers again."""
    for reader, _ in node.outputs[0].uses():
        yield reader
        if reader.op_type in _CARRIES:
            yield from _guarded(reader)
