"""Patches of an image and the product that embeds them, as one convolution.

Keras cuts an image into patches by a convolution with an identity matrix. A 1x1 convolution of its result, or of that
with the places of the patches in one axis, is a convolution of the image with the same numbers in another order.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import Array, absorb, constant, only_consumer, replace_constant


def fold_patches(graph: ir.Graph) -> bool:
    """Rewrites every such pair. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Conv":
            changed |= _fold(graph, node)
    return changed


def _fold(graph: ir.Graph, cut: ir.Node) -> bool:
    patches = cut.outputs[0]
    reader = only_consumer(patches)
    reshape = reader if reader is not None and reader.op_type == "Reshape" else None
    product = only_consumer(reshape.outputs[0]) if reshape is not None else reader
    if product is None or product.op_type != "Conv" or len(cut.inputs) > 2 or not _is_plain(product):
        return False
    order, kernel, weights = _order(cut), constant(cut.inputs[1]), constant(product.inputs[1])
    if order is None or kernel is None or weights is None or patches.shape is None:
        return False
    if reshape is not None and not _keeps_channels(reshape):
        return False
    count = weights.shape[0]
    folded = weights.reshape(count, -1)[:, order].reshape(count, *kernel.shape[1:])
    replace_constant(graph, cut, 1, np.ascontiguousarray(folded), "kernel")
    if len(product.inputs) > 2 and product.inputs[2] is not None:
        cut.resize_inputs(3)
        cut.replace_input_with(2, product.inputs[2])
    if reshape is None:
        absorb(graph, cut, product)
        return True
    patches.shape = ir.Shape([patches.shape[0], count, *patches.shape[2:]])
    target = constant(reshape.inputs[1])
    assert target is not None
    replace_constant(graph, reshape, 1, np.asarray([target[0], count, *target[2:]], np.int64), "shape")
    cut.name, patches.name, name = product.name, f"{product.name}/patches", f"{product.name}/Reshape"
    absorb(graph, reshape, product)
    reshape.name = name
    return True


def _is_plain(node: ir.Node) -> bool:
    """Whether it is a 1x1 convolution of one group, without a stride."""
    weights = constant(node.inputs[1])
    if weights is None or math.prod(weights.shape[2:]) != 1 or node.attributes.get_int("group", 1) != 1:
        return False
    return all(n == 1 for n in node.attributes.get_ints("strides", [])) and not any(
        node.attributes.get_ints("pads", [])
    )


def _order(node: ir.Node) -> Array | None:
    """Of a convolution that only moves: for each value of a patch, in its weights' order, the channel it becomes."""
    weights = constant(node.inputs[1])
    if weights is None or weights.shape[0] != math.prod(weights.shape[1:]) or node.attributes.get_int("group", 1) != 1:
        return None
    matrix = weights.reshape(weights.shape[0], -1)
    if np.count_nonzero(matrix) != len(matrix) or not (matrix.max(axis=0) == 1).all():
        return None
    order: Array = np.argmax(matrix, axis=0)
    return order


def _keeps_channels(reshape: ir.Node) -> bool:
    """Whether it leaves the batch and the channels alone."""
    before, after = reshape.inputs[0], reshape.outputs[0]
    if before is None or before.shape is None or after.shape is None or constant(reshape.inputs[1]) is None:
        return False
    return len(after.shape) >= 2 and list(before.shape)[:2] == list(after.shape)[:2]
