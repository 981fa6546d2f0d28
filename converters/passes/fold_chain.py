"""Two additions or two multiplications of constants in a row are one.

1. Add and Sub of constants: one Add.
2. Mul and Div of constants: one Mul, unless a factor would be beyond what a float of half the width can tell from 0.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import Array, absorb, constant, only_consumer, replace_constant

_KINDS = {"Add": "Add", "Sub": "Add", "Mul": "Mul", "Div": "Mul"}
SMALLEST, LARGEST = 2.0**-14, 65504.0
"""Of a normal float16: an engine may compute in it."""


def fold_chain(graph: ir.Graph) -> bool:
    """Joins every such pair. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type in _KINDS:
            changed |= _join(graph, node)
    return changed


def _join(graph: ir.Graph, first: ir.Node) -> bool:
    second = only_consumer(first.outputs[0])
    if second is None or _KINDS.get(second.op_type) != _KINDS[first.op_type]:
        return False
    before, after = _operand(first), _operand(second)
    if before is None or after is None:
        return False
    (place, one), (_, two) = before, after
    joined = one + two if _KINDS[first.op_type] == "Add" else one * two
    if joined.size > max(one.size, two.size) or not _is_moderate(first, joined):
        return False
    dtype = first.outputs[0].dtype
    assert dtype is not None
    kind, source = _KINDS[first.op_type], first.inputs[1 - place]
    replace_constant(graph, first, place, joined.astype(dtype.numpy()), f"{second.name}/constant")
    if first.op_type != kind:
        numbers = first.inputs[place]
        renamed = ir.node(kind, [source, numbers], name=first.name, version=first.version)
        value = renamed.outputs[0]
        value.type, value.shape = first.outputs[0].type, first.outputs[0].shape
        graph.insert_before(first, renamed)
        first.outputs[0].replace_all_uses_with(value)
        graph.remove(first, safe=True)
        first = renamed
    absorb(graph, first, second)
    return True


def _operand(node: ir.Node) -> tuple[int, Array] | None:
    """The place of a floating-point constant, and what it adds or multiplies by in float64."""
    for place in (1, 0):
        array = constant(node.inputs[place])
        if array is None or array.dtype.kind != "f":
            continue
        if place == 0 and node.op_type in ("Sub", "Div"):
            return None
        wide = array.astype(np.float64)
        if node.op_type == "Sub":
            return place, -wide
        if node.op_type == "Div":
            return (place, 1.0 / wide) if wide.all() else None
        return place, wide
    return None


def _is_moderate(node: ir.Node, array: Array) -> bool:
    if _KINDS[node.op_type] == "Add":
        return bool(np.isfinite(array).all())
    size = np.abs(array[array != 0])
    return bool(((size >= SMALLEST) & (size <= LARGEST)).all())
