"""Two nodes after one another that move axes of size 1 alone, where sizes are unknown, become one or none.

1. A Squeeze, an Unsqueeze, or a Reshape whose result differs from its source in axes of size 1, is such a node.
2. Two of them after one another are nothing, an Unsqueeze, a Squeeze, or a Reshape where one size at most is unknown;
   a Reshape of a Reshape is left to `fold_reshape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, initializer, only_consumer, replace_node


def fold_ones(graph: ir.Graph) -> bool:
    """Joins every such pair. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        first = node.inputs[0].producer() if node.graph is not None and node.inputs and node.inputs[0] else None
        if first is None or (first.op_type, node.op_type) == ("Reshape", "Reshape"):
            continue
        if _moves_ones(first) and _moves_ones(node) and only_consumer(first.outputs[0]) is node:
            changed |= _join(graph, first, node)
    return changed


def _moves_ones(node: ir.Node) -> bool:
    if node.op_type not in ("Squeeze", "Unsqueeze", "Reshape") or len(node.inputs) != 2:
        return False
    old, new = _sizes(node.inputs[0]), _sizes(node.outputs[0])
    if old is None or new is None or constant(node.inputs[1]) is None:
        return False
    return [size for size in old if size != 1] == [size for size in new if size != 1]


def _sizes(value: ir.Value | None) -> list[int | str] | None:
    """Numbers and names, or None where a size has none."""
    if value is None or value.shape is None:
        return None
    sizes = [size if isinstance(size, int) else size.value for size in value.shape]
    return None if None in sizes else [size for size in sizes if size is not None]


def _join(graph: ir.Graph, first: ir.Node, node: ir.Node) -> bool:
    source, result = first.inputs[0], node.outputs[0]
    old, new = _sizes(source), _sizes(result)
    assert source is not None
    assert old is not None
    assert new is not None
    if old == new:
        if result.is_graph_output():
            return False
        result.replace_all_uses_with(source)
        graph.remove(node, safe=True)
    elif (axes := _inserted(old, new)) is not None:
        _put(graph, node, "Unsqueeze", source, axes)
    elif (axes := _inserted(new, old)) is not None:
        _put(graph, node, "Squeeze", source, axes)
    elif sum(isinstance(size, str) for size in new) <= 1:
        _put(graph, node, "Reshape", source, [-1 if isinstance(size, str) else size for size in new])
    else:
        return False
    graph.remove(first, safe=True)
    return True


def _inserted(old: Sequence[Any], new: Sequence[Any]) -> list[int] | None:
    """The places in the new shape of the axes of size 1 that the old one lacks; None where it differs otherwise."""
    axes, left = [], list(old)
    for place, size in enumerate(new):
        if left and left[0] == size:
            left.pop(0)
        elif size == 1:
            axes.append(place)
        else:
            return None
    return None if left else axes


def _put(graph: ir.Graph, node: ir.Node, op_type: str, source: ir.Value, numbers: list[int]) -> None:
    array = initializer(graph, np.asarray(numbers, np.int64), f"{node.name}/axes")
    replace_node(graph, node, op_type, [source, array])
