"""An Identity, or a Transpose that moves no axis, is nothing, in the graph and in bodies of branches and loops.

1. Its value is no output of a graph: whoever reads it reads what it copies.
2. Its value is an output, and what it copies is made in the same graph and is no output itself: that takes the name.
3. All others stay: an output must be a value of its own, made in its graph.
"""

from __future__ import annotations

import onnx_ir as ir


def remove_identity(graph: ir.Graph) -> bool:
    """Removes every such Identity of a graph. Returns whether it changed any."""
    changed = False
    for node in list(graph):
        if _is_identity(node):
            changed |= _remove(graph, node)
    return changed


def _is_identity(node: ir.Node) -> bool:
    if node.op_type == "Transpose" and "perm" in node.attributes:
        perm = list(node.attributes.get_ints("perm"))
        return perm == sorted(perm)
    return node.op_type == "Identity" and not node.domain


def _remove(graph: ir.Graph, node: ir.Node) -> bool:
    source, copy = node.inputs[0], node.outputs[0]
    if source is None:
        return False
    maker = source.producer()
    name = copy.name
    if copy.is_graph_output() and (maker is None or maker.graph is not graph or source.is_graph_output()):
        return False
    is_output = copy.is_graph_output()
    copy.replace_all_uses_with(source, replace_graph_outputs=True)
    graph.remove(node, safe=True)
    if is_output:
        copy.name = None
        source.name = name
    return True
