"""A Reshape and a Transpose behind a Gemm with constant weights: the columns of the weights are permuted instead.

This is the start of a decoder: Dense, an activation, Reshape to (height, width, channel), and a convolution, which
wants (channel, height, width).
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import ACTIVATIONS, Array, absorb, constant, only_consumer, producer, replace_constant


def fold_unflatten(graph: ir.Graph) -> bool:
    """Folds every Gemm → activations, if any → Reshape → Transpose. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Transpose":
            changed |= _fold(graph, node)
    return changed


def _fold(graph: ir.Graph, transpose: ir.Node) -> bool:
    reshape = producer(transpose.inputs[0], "Reshape")
    target = constant(reshape.inputs[1]) if reshape is not None else None
    perm = list(transpose.attributes.get_ints("perm"))
    if reshape is None or target is None or perm[0] != 0 or only_consumer(reshape.outputs[0]) is not transpose:
        return False
    nodes = [reshape]
    node = producer(reshape.inputs[0], "Gemm", *ACTIVATIONS)
    while node is not None and only_consumer(node.outputs[0]) is nodes[-1]:
        nodes.append(node)
        node = producer(node.inputs[0], "Gemm", *ACTIVATIONS) if node.op_type != "Gemm" else None
    gemm = nodes[-1]
    weights = constant(gemm.inputs[1]) if gemm.op_type == "Gemm" else None
    sizes = [int(size) for size in target[1:]]
    if (
        weights is None
        or gemm.attributes.get_int("transB", 0) != 0
        or math.prod(sizes) != weights.shape[1]
        or min(sizes) < 1
    ):
        return False
    bias = gemm.inputs[2] if len(gemm.inputs) > 2 else None
    added = constant(bias)
    if bias is not None and (added is None or added.shape not in ((), (1,), weights.shape[1:])):
        return False
    columns = [axis - 1 for axis in perm[1:]]
    _permute(graph, gemm, 1, weights, sizes, columns)
    if added is not None and added.size > 1:
        _permute(graph, gemm, 2, added, sizes, columns)
    replace_constant(graph, reshape, 1, np.asarray([target[0], *(sizes[axis] for axis in columns)], np.int64), "shape")
    # what flows here is no longer the layers' outputs as Keras orders them, so it must not carry their names
    for node in nodes[1:]:
        node.outputs[0].name, node.name = f"{node.outputs[0].name}/channels_first", f"{node.name}/channels_first"
    absorb(graph, reshape, transpose)
    return True


def _permute(graph: ir.Graph, gemm: ir.Node, index: int, array: Array, sizes: list[int], columns: list[int]) -> None:
    """Permutes the last axis of a Gemm's weights or bias, seen as one axis for each of ``sizes``."""
    lead = array.ndim - 1
    parts = array.reshape(*array.shape[:-1], *sizes)
    permuted = parts.transpose(*range(lead), *(lead + axis for axis in columns)).reshape(array.shape)
    old = gemm.inputs[index]
    replace_constant(graph, gemm, index, permuted, f"{old.name if old is not None else 'kernel'}_channels_first")
