"""A bias or a factor behind the Reshape that splits a product's columns moves in front of it, to be absorbed there.

MatMul, Gemm or Conv, perhaps with an Add behind it; a Reshape that splits one axis; then an Add or a Mul of a constant
that varies over the parts alone: the Add or Mul of the flattened constant comes first. The Reshape takes over its name.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import Array, absorb, constant, initializer, only_consumer, other_input, producer

_PRODUCTS = ("MatMul", "Gemm", "Conv")


def lift_constant(graph: ir.Graph) -> bool:
    """Moves every such Add and Mul. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Reshape":
            changed |= _lift(graph, node)
    return changed


def _lift(graph: ir.Graph, node: ir.Node) -> bool:
    x, y = node.inputs[0], node.outputs[0]
    behind = only_consumer(y)
    if x is None or behind is None or behind.op_type not in ("Add", "Mul") or not _is_product(x):
        return False
    if only_consumer(x) is not node or x.shape is None or y.shape is None:
        return False
    array = constant(other_input(behind, y))
    flat = None if array is None else _flattened(array, tuple(x.shape), tuple(y.shape))
    if flat is None:
        return False
    kind = behind.op_type
    new = ir.node(kind, [x, initializer(graph, flat, f"{behind.name}/constant")], name=f"{behind.name}/{kind}")
    value = new.outputs[0]
    value.type, value.shape, value.name = x.type, x.shape, f"{behind.name}/{kind}"
    graph.insert_before(node, new)
    node.replace_input_with(0, value)
    absorb(graph, node, behind)
    return True


def _is_product(value: ir.Value) -> bool:
    add = producer(value, "Add")
    return producer(value, *_PRODUCTS) is not None or (
        add is not None and any(producer(x, *_PRODUCTS) is not None for x in add.inputs)
    )


def _flattened(array: Array, old: tuple[object, ...], new: tuple[object, ...]) -> Array | None:
    """The constant over the axis that is split, with the 1s it needs to broadcast; None where it has another."""
    if array.ndim > len(new) or len(new) <= len(old):
        return None
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old) - 1)
    behind = len(old) - start - 1
    parts = new[start : len(new) - behind]
    if old[start + 1 :] != new[len(new) - behind :] or not all(isinstance(size, int) for size in parts):
        return None
    shape = (1,) * (len(new) - array.ndim) + array.shape
    if any(size != 1 for size in (*shape[:start], *shape[len(new) - behind :])):
        return None
    full = np.broadcast_to(array.reshape(shape[start : len(new) - behind]), [int(str(size)) for size in parts])
    return full.reshape(-1, *[1] * behind)
