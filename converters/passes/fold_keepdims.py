"""A reduction that drops its axes, or keeps them, and a Reshape that takes that back.

1. Reduce without keepdims, then a Reshape that puts the axes of size 1 where they were: Reduce with keepdims.
2. Reduce with keepdims, then a Reshape that drops exactly those axes: Reduce without.
"""

from __future__ import annotations

import onnx_ir as ir

from converters.passes.rewriting import absorb, constant, only_consumer


def fold_keepdims(graph: ir.Graph) -> bool:
    """Folds every such Reshape. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type.startswith("Reduce"):
            changed |= _fold(graph, node)
    return changed


def shapes(node: ir.Node) -> tuple[list[object], list[object]] | None:
    """The shapes that a reduction with constant axes gives with keepdims and without."""
    source = node.inputs[0]
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if source is None or source.shape is None or axes is None:
        return None
    gone = {int(axis) % len(source.shape) for axis in axes}
    sizes = list(source.shape)
    kept: list[object] = [1 if axis in gone else size for axis, size in enumerate(sizes)]
    return kept, [size for axis, size in enumerate(sizes) if axis not in gone]


def _fold(graph: ir.Graph, node: ir.Node) -> bool:
    reshape = only_consumer(node.outputs[0])
    found = shapes(node)
    if reshape is None or reshape.op_type != "Reshape" or found is None or reshape.outputs[0].shape is None:
        return False
    keepdims = node.attributes.get_int("keepdims", 1)
    if list(reshape.outputs[0].shape) != found[keepdims]:
        return False
    node.attributes["keepdims"] = ir.AttrInt64("keepdims", 1 - keepdims)
    absorb(graph, node, reshape)
    return True
