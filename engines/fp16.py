"""What stays in FP32 because FP16 cannot hold its numbers: too large, or so small that they become 0.

Rules; 1 and 3 by the ranges that calibration saw, 2, 4 and 5 by the graph alone:
1. A node that reads or writes a value seen within `HEADROOM` of FP16's maximum.
2. A node with a constant beyond that maximum.
3. A node that reads or writes a value that never reached FP16's normal numbers.
4. A node with a constant below them: a weight, a factor, or the epsilon that guards a division, a root or a logarithm,
   which would become 0 (1e-8) or lose its digits (1e-5). With an epsilon go the readers of the sum, down to the
   division or product that it guards: the sum can be as small as the epsilon, its reciprocal as large as 1e8. The same
   operations are FP32 under Keras's and NVIDIA's mixed precision ("Train With Mixed Precision": reductions,
   normalization).
5. What lies between such nodes, where it costs no Cast more than leaving it in FP16.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from engines.calibration.ranges import Ranges
from engines.graphs import COMPUTE, constant, is_float, name_of

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


def kept_high(model: ir.Model, ranges: Ranges | None) -> dict[str, str]:
    """Names of the nodes of an FP32 graph that stay in FP32 in an FP16 one, with the reason."""
    found = {} if ranges is None else _by_range(model, ranges)
    found |= {name: why for name, why in _by_constant(model).items() if name not in found}
    return found | {name: why for name, why in _between(model, set(found)).items() if name not in found}


def _by_range(model: ir.Model, ranges: Ranges) -> dict[str, str]:
    """Rules 1 and 3."""
    found: dict[str, str] = {}
    for node in model.graph:
        for value in (*node.inputs, *node.outputs):
            if value is None or name_of(value) not in ranges.minimum or not node.name:
                continue
            amax = ranges.amax(name_of(value))
            if amax > MAXIMUM / HEADROOM:
                found[node.name] = f"{value.name} reaches {amax:.5g}, and FP16 ends at 65504"
            elif 0 < amax < SMALLEST_NORMAL:
                found[node.name] = f"{value.name} never exceeds {amax:.2g}, and FP16's normal numbers begin at 6.1e-05"
    return found


def _by_constant(model: ir.Model) -> dict[str, str]:
    """Rules 2 and 4."""
    found: dict[str, str] = {}
    for node in model.graph:
        for index, value in enumerate(node.inputs):
            magnitude = _magnitude(value)
            if magnitude > MAXIMUM:
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


def _between(model: ir.Model, high: set[str]) -> dict[str, str]:
    """Rule 5. Nodes that only FP32 nodes read, up to values that are there in FP32 anyway."""
    found: dict[str, str] = {}
    for node in reversed(list(model.graph)):
        if node.name in high:
            for value in node.inputs:
                if value is not None and is_float(value) and (cone := _cone(value, high)):
                    high |= cone
                    found |= dict.fromkeys(cone, "between operations in FP32: a Cast less")
    return found


def _cone(value: ir.Value, high: set[str]) -> set[str]:
    """The nodes behind a value that can join ``high`` without a new Cast; empty where one would be needed."""
    cone: set[str] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        producer = current.producer()
        if constant(current) is not None or not is_float(current):
            continue
        if producer is not None and (producer.name in high or producer.name in cone):
            continue
        if current is not value and any(reader.name in high for reader, _ in current.uses()):
            continue  # cast to FP32 already
        if producer is None or producer.op_type in COMPUTE or current.is_graph_output():
            return set()
        if any(reader.name not in high | cone for reader, _ in current.uses()):
            return set()
        cone.add(producer.name or "")
        waiting += [v for v in producer.inputs if v is not None]
    return cone
