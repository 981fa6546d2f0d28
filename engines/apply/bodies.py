"""The branches of an If and the bodies of a Loop or Scan: graphs inside of a node, which compute in the node's type.

1. A body is of one type, as a whole: what a loop carries from step to step has the same type before and after.
2. It computes in the type of its node, where ONNX defines every operator in it for that type and all its values' types
   are known, else in FP32 (`engines.apply.casting.hindrance`), and the recipe says why; so does a body inside of it.
3. What it reads from the graph around it is cast there, once for all readers, and not at every step.
TensorRT-RTX builds such bodies in FP16 and BF16 (measured: If, Loop, Scan).
"""

from __future__ import annotations

import onnx_ir as ir


def bodies(node: ir.Node) -> list[ir.Graph]:
    """The graphs that a node holds itself."""
    found: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            found.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            found += attribute.as_graphs()
    return found


def inner_nodes(node: ir.Node) -> list[ir.Node]:
    """All nodes in them, at any depth."""
    return [inner for graph in bodies(node) for inner in graph.all_nodes()]
