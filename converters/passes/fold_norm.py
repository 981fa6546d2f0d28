"""A Euclidean norm that was written out is one ReduceL2, and a value divided by it one Div.

1. sqrt(sum(x * x)) is ReduceL2; sqrt(max(sum(x * x), c)) is max(ReduceL2, sqrt(c)), whose constant is no longer too
   small for half precision.
2. x times the reciprocal of y is x / y.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, initializer, only_consumer, producer, replace_node


def fold_norm(graph: ir.Graph) -> bool:
    """Applies both rules. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type == "Sqrt":
            changed |= _length(graph, node)
        elif node.op_type == "Mul":
            changed |= _quotient(graph, node)
    return changed


def _length(graph: ir.Graph, root: ir.Node) -> bool:
    floor = producer(root.inputs[0], "Max")
    least = constant(floor.inputs[1]) if floor is not None and len(floor.inputs) == 2 else None
    total = producer(floor.inputs[0] if floor is not None else root.inputs[0], "ReduceSum")
    square = producer(total.inputs[0], "Mul") if total is not None else None
    if total is None or square is None or square.inputs[0] is None or square.inputs[0] is not square.inputs[1]:
        return False
    if floor is not None and (least is None or not (least >= 0).all() or only_consumer(floor.outputs[0]) is not root):
        return False
    alone = only_consumer(square.outputs[0]) is total and only_consumer(total.outputs[0]) is (floor or root)
    if not alone or len(total.inputs) < 2 or total.attributes.get_int("noop_with_empty_axes", 0) != 0:
        return False
    keepdims = total.attributes.get_int("keepdims", 1)
    inputs = [square.inputs[0], *total.inputs[1:]]
    if floor is None or least is None:
        replace_node(graph, root, "ReduceL2", inputs, keepdims=keepdims)
        return True
    norm = replace_node(graph, total, "ReduceL2", inputs, keepdims=keepdims)
    bound = initializer(graph, np.sqrt(least), f"{root.name}/constant")
    replace_node(graph, root, "Max", [norm.outputs[0], bound])
    return True


def _quotient(graph: ir.Graph, product: ir.Node) -> bool:
    for place in (1, 0):
        reciprocal = producer(product.inputs[place], "Reciprocal")
        if reciprocal is not None and only_consumer(reciprocal.outputs[0]) is product:
            replace_node(graph, product, "Div", [product.inputs[1 - place], reciprocal.inputs[0]])
            graph.remove(reciprocal, safe=True)
            return True
    return False
