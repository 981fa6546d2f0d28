"""Reshapes and Transposes that undo or follow one another.

1. A Reshape of a Reshape is one Reshape, when at most one unknown size changes its place or its name.
2. A Reshape to the shape that the value has already is nothing.
3. A Transpose of a Transpose is one Transpose, or nothing.
4. A Reshape, an activation and a Reshape: the activation comes last, so that 1 joins the Reshapes. So does a Softmax
   over a last axis that both leave as it is.
"""

from __future__ import annotations

import onnx_ir as ir

from converters.passes.rewriting import (
    ACTIVATIONS,
    absorb,
    constant,
    only_consumer,
    producer,
    replace_constant,
    reshape_target,
    same_size,
)


def fold_reshape(graph: ir.Graph) -> bool:
    """Folds every such pair. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type == "Reshape":
            changed |= _join_reshapes(graph, node) or _remove_same(graph, node) or _swap_activation(graph, node)
        elif node.op_type == "Transpose":
            changed |= _join_transposes(graph, node)
    return changed


def _join_reshapes(graph: ir.Graph, node: ir.Node) -> bool:
    middle, target = node.inputs[0], constant(node.inputs[1])
    first = producer(middle, "Reshape")
    source = first.inputs[0] if first is not None else None
    if first is None or middle is None or middle.shape is None or source is None or source.shape is None:
        return False
    moved = reshape_target(target, middle.shape, source.shape) if target is not None else None
    if target is None or moved is None:
        return False
    node.replace_input_with(0, source)
    if (moved != target).any():
        replace_constant(graph, node, 1, moved, f"{node.name}/shape")
    _remove_unused(graph, first)
    return True


def _remove_same(graph: ir.Graph, node: ir.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    if source is None or source.shape is None or result.shape is None or result.is_graph_output():
        return False
    if source.shape != result.shape or sum(not isinstance(size, int) for size in result.shape) > 1:
        return False
    return _bypass(graph, node)


def _swap_activation(graph: ir.Graph, node: ir.Node) -> bool:
    middle, target = node.inputs[0], constant(node.inputs[1])
    activation = middle.producer() if middle is not None else None
    if middle is None or activation is None or target is None:
        return False
    if activation.op_type not in ACTIVATIONS and not _is_last(activation, node):
        return False
    first = producer(activation.inputs[0], "Reshape")
    if first is None or only_consumer(middle) is not node or only_consumer(first.outputs[0]) is not activation:
        return False
    source, between = first.inputs[0], first.outputs[0]
    if source is None or source.shape is None or middle.shape is None:
        return False
    moved = reshape_target(target, middle.shape, source.shape)
    if moved is None:
        return False
    replace_constant(graph, first, 1, moved, f"{node.name}/shape")
    between.shape = node.outputs[0].shape
    between.name = f"{between.name}/shaped"  # no longer as the layer shapes it
    if activation.op_type == "Softmax":
        activation.attributes["axis"] = ir.AttrInt64("axis", -1)
    absorb(graph, activation, node)
    return True


def _is_last(softmax: ir.Node, reshape: ir.Node) -> bool:
    """Whether a Softmax is over the last axis, which the Reshapes before and behind it leave as it is."""
    first = producer(softmax.inputs[0], "Reshape")
    values = (first.inputs[0] if first is not None else None, softmax.outputs[0], reshape.outputs[0])
    shapes = [value.shape for value in values if value is not None and value.shape is not None and value.shape.rank()]
    if softmax.op_type != "Softmax" or len(shapes) < 3:
        return False
    last = softmax.attributes.get_int("axis", -1) % len(shapes[1]) == len(shapes[1]) - 1
    return last and same_size(shapes[0][-1], shapes[1][-1]) and same_size(shapes[1][-1], shapes[2][-1])


def _join_transposes(graph: ir.Graph, node: ir.Node) -> bool:
    perm = list(node.attributes.get_ints("perm"))
    if perm == list(range(len(perm))) and not node.outputs[0].is_graph_output():
        return _bypass(graph, node)
    first = producer(node.inputs[0], "Transpose")
    if first is None:
        return False
    before = list(first.attributes.get_ints("perm"))
    node.attributes["perm"] = ir.AttrInt64s("perm", [before[axis] for axis in perm])
    node.replace_input_with(0, first.inputs[0])
    _remove_unused(graph, first)
    return True


def _remove_unused(graph: ir.Graph, node: ir.Node) -> None:
    """Removes a node that nothing reads any more, so that it hides what it reads from no other pass."""
    if not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
        graph.remove(node, safe=True)


def _bypass(graph: ir.Graph, node: ir.Node) -> bool:
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    result.replace_all_uses_with(source)
    graph.remove(node, safe=True)
    return True
