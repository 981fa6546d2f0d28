"""The same layers over two vectors whose results are added: run once over both, as two positions of one map.

CBAM's shared MLP, MLP(average) + MLP(maximum): two chains of 1x1 convolutions with equal weights and of activations on
(batch, channels, 1, …) become a Concat over the third axis, one chain, and a ReduceSum over that axis. It pays from
chains of two nodes on; one matrix is then read once instead of twice.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import ACTIVATIONS, constant, initializer, only_consumer, replace_node


def merge_shared(graph: ir.Graph) -> bool:
    """Merges every such pair. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Add":
            changed |= _merge(graph, node)
    return changed


def _merge(graph: ir.Graph, add: ir.Node) -> bool:
    left, right = add.inputs
    if left is None or right is None or left is right or not (_single(left) and _single(right)):
        return False
    first: list[ir.Node] = []
    second: list[ir.Node] = []
    while (pair := _pair(left, right)) is not None:
        first.append(pair[0])
        second.append(pair[1])
        left, right = pair[0].inputs[0], pair[1].inputs[0]
        if left is None or right is None or not (_single(left) and _single(right)):
            return False
    if len(first) < 2 or not any(node.op_type == "Conv" for node in first) or left is right:
        return False
    _join(graph, add, first, second, left, right)
    return True


def _single(value: ir.Value) -> bool:
    """Whether a value is one position, (batch, channels, 1, …)."""
    shape = value.shape
    return shape is not None and len(shape) > 2 and set(shape[2:]) == {1}


def _pair(left: ir.Value, right: ir.Value) -> tuple[ir.Node, ir.Node] | None:
    """The nodes that make two values, when they are the same function of their first inputs and nothing else reads."""
    a, b = left.producer(), right.producer()
    if a is None or b is None or a is b or a.op_type != b.op_type or len(a.inputs) != len(b.inputs):
        return None
    if only_consumer(left) is None or only_consumer(right) is None:
        return None
    if a.op_type == "Conv":
        kernel = constant(a.inputs[1])
        plain = kernel is not None and set(kernel.shape[2:]) == {1} and not any(a.attributes.get_ints("pads", []))
        if not plain or set(a.attributes.get_ints("strides", [1])) != {1}:
            return None
    elif a.op_type not in ACTIVATIONS:
        return None
    if {key: x.value for key, x in a.attributes.items()} != {key: x.value for key, x in b.attributes.items()}:
        return None
    return (a, b) if all(_equal(x, y) for x, y in zip(a.inputs[1:], b.inputs[1:], strict=True)) else None


def _equal(left: ir.Value | None, right: ir.Value | None) -> bool:
    if left is right:
        return True
    a, b = constant(left), constant(right)
    return a is not None and b is not None and a.dtype == b.dtype and np.array_equal(a, b)


def _join(
    graph: ir.Graph, add: ir.Node, first: list[ir.Node], second: list[ir.Node], left: ir.Value, right: ir.Value
) -> None:
    """``first`` and ``second`` hold each chain's nodes, last one first; the first chain is what stays."""
    assert left.shape is not None
    label = f"{first[-1].name}/Concat"
    concat = ir.node("Concat", [left, right], {"axis": 2}, name=label)
    both = concat.outputs[0]
    both.name, both.type, both.shape = label, left.type, _two(left)
    graph.insert_before(add, concat)
    first[-1].replace_input_with(0, both)
    for node in reversed(first):
        value = node.outputs[0]
        graph.remove(node)
        graph.insert_before(add, node)
        value.shape = _two(value)
        value.name = f"{value.name}/both"  # no longer one call's output
        node.name = value.name
    axes = initializer(graph, np.asarray([2], np.int64), f"{add.name}/axes")
    replace_node(graph, add, "ReduceSum", [first[0].outputs[0], axes], keepdims=1)
    for node in second:
        graph.remove(node, safe=True)


def _two(value: ir.Value) -> ir.Shape:
    assert value.shape is not None
    sizes = list(value.shape)
    sizes[2] = 2
    return ir.Shape(sizes)
