"""A softmax that was written out is one Softmax, which engines compute in one kernel and without overflow.

1. exp(x) divided by its sum, with or without the maximum taken off first.
2. exp(x - logsumexp(x)), as Keras has it over several axes.

Several axes that are neighbours are one for the length of the Softmax.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, initializer, only_consumer, producer, replace_node

Match = tuple[ir.Value, list[int]]


def fold_softmax(graph: ir.Graph) -> bool:
    """Folds every such softmax. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        found = _divided(node) if node.op_type == "Div" else _shifted(node) if node.op_type == "Exp" else None
        if found is not None:
            changed |= _replace(graph, node, *found)
    return changed


def _reduction(value: ir.Value | None, op_type: str, source: ir.Value) -> list[int] | None:
    """The axes over which a value is a reduction of another, with sizes of 1 in their places."""
    node = producer(value, op_type)
    if node is None or node.inputs[0] is not source or source.shape is None:
        return None
    if node.attributes.get_int("keepdims", 1) == 0 or len(node.inputs) < 2:
        return None
    axes = constant(node.inputs[1])
    return sorted(int(axis) % len(source.shape) for axis in axes) if axes is not None else None


def _divided(division: ir.Node) -> Match | None:
    power, total = division.inputs
    exponential = producer(power, "Exp")
    axes = _reduction(total, "ReduceSum", power) if power is not None else None
    if power is None or exponential is None or axes is None or len(power.uses()) != 2 or power.is_graph_output():
        return None
    source = exponential.inputs[0]
    shift = producer(source, "Sub")
    if shift is not None and shift.inputs[0] is not None and source is not None:
        whole = shift.inputs[0]
        if _reduction(shift.inputs[1], "ReduceMax", whole) == axes and only_consumer(source) is exponential:
            source = whole
    return (source, axes) if source is not None else None


def _shifted(exponential: ir.Node) -> Match | None:
    shift = producer(exponential.inputs[0], "Sub")
    if shift is None or shift.inputs[0] is None or only_consumer(shift.outputs[0]) is not exponential:
        return None
    source = shift.inputs[0]
    axes = _reduction(shift.inputs[1], "ReduceLogSumExp", source)
    return (source, axes) if axes is not None else None


def _replace(graph: ir.Graph, node: ir.Node, source: ir.Value, axes: Sequence[int]) -> bool:
    if source.shape is None or not axes:
        return False
    if len(axes) == 1:
        replace_node(graph, node, "Softmax", [source], axis=axes[0])
        return True
    first, last = axes[0], axes[-1]
    inner = list(source.shape[first:])
    sizes = [size for size in inner if isinstance(size, int)]
    if list(axes) != list(range(first, last + 1)) or len(sizes) != len(inner):
        return False
    count = last - first + 1
    leading = [size if isinstance(size, int) else 0 for size in source.shape[:first]]
    joined = [math.prod(sizes[:count]), *sizes[count:]]
    name, dtype = node.name, source.type
    flat = ir.node("Reshape", [source, initializer(graph, np.asarray([*leading, *joined], np.int64), f"{name}/sizes")])
    flat.outputs[0].shape, flat.outputs[0].type = ir.Shape([*source.shape[:first], *joined]), dtype
    softmax = ir.node("Softmax", [flat.outputs[0]], {"axis": first})
    softmax.outputs[0].shape, softmax.outputs[0].type = flat.outputs[0].shape, dtype
    for new, label in ((flat, "joined"), (softmax, "Softmax")):
        new.name = new.outputs[0].name = f"{name}/{label}"
        graph.insert_before(node, new)
    back = initializer(graph, np.asarray([*leading, *sizes], np.int64), f"{name}/shape")
    replace_node(graph, node, "Reshape", [softmax.outputs[0], back])
    return True
