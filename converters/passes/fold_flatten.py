"""A Transpose and a Reshape in front of a Gemm with constant weights: the rows of the weights are permuted instead.

This is Flatten behind a convolution: Keras flattens (height, width, channel), the value lies (channel, height, width).
"""

from __future__ import annotations

import math

import onnx_ir as ir

from converters.passes.rewriting import constant, only_consumer, producer, replace_constant


def fold_flatten(graph: ir.Graph) -> bool:
    """Folds every Transpose → Reshape to (batch, n) → Gemm. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Gemm":
            changed |= _fold(graph, node)
    return changed


def _fold(graph: ir.Graph, gemm: ir.Node) -> bool:
    reshape = producer(gemm.inputs[0], "Reshape")
    transpose = producer(reshape.inputs[0], "Transpose") if reshape is not None else None
    weights = constant(gemm.inputs[1])
    turned = any(gemm.attributes.get_int(name, 0) != 0 for name in ("transA", "transB"))
    if reshape is None or transpose is None or weights is None or turned:
        return False
    source = transpose.inputs[0]
    perm = list(transpose.attributes.get_ints("perm"))
    if source is None or source.shape is None or perm[0] != 0 or only_consumer(reshape.outputs[0]) is not gemm:
        return False
    sizes = [size for size in source.shape[1:] if isinstance(size, int)]
    if len(sizes) != len(perm) - 1 or math.prod(sizes) != weights.shape[0]:
        return False
    inner = [axis - 1 for axis in perm[1:]]
    rows = weights.reshape(*(sizes[axis] for axis in inner), -1)
    back = [inner.index(axis) for axis in range(len(inner))]
    permuted = rows.transpose(*back, len(inner)).reshape(weights.shape)
    name = (gemm.inputs[1].name if gemm.inputs[1] is not None else None) or "kernel"
    replace_constant(graph, gemm, 1, permuted, f"{name}_channels_first")
    reshape.replace_input_with(0, source)
    # what flows here is no longer the layer's output as Keras orders it, so it must not carry the layer's name
    value = reshape.outputs[0]
    value.name, reshape.name = f"{value.name}/channels_first", f"{reshape.name}/channels_first"
    if not transpose.outputs[0].uses() and not transpose.outputs[0].is_graph_output():
        graph.remove(transpose, safe=True)
    return True
