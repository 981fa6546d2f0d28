"""A constant multiplied behind a convolution or a matrix product becomes part of its weights.

1. Conv, ConvTranspose or Gemm, then Mul or Div by a constant that varies over channels alone.
2. MatMul with a constant matrix, then perhaps Add of a constant, then Mul or Div by one that varies over the last axis
   alone: a layer's scale behind a Dense, the 1 / sqrt(d) of an attention's query.

Weights that are whole numbers are left as they are: a quantized layer's scale comes after its exact sums.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.arrays import scaled
from converters.passes.rewriting import (
    OUTPUT_AXIS,
    Array,
    absorb,
    constant,
    only_consumer,
    other_input,
    per_axis,
    plain_product,
    replace_constant,
    whole,
)


def fold_scale(graph: ir.Graph) -> bool:
    """Folds every such Mul and Div. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type in OUTPUT_AXIS and plain_product(node):
            changed |= _fold_channels(graph, node)
        elif node.op_type == "MatMul":
            changed |= _fold_last(graph, node)
    return changed


def _factor(node: ir.Node | None, value: ir.Value, axis: int) -> Array | None:
    """The constant that ``node`` multiplies ``value`` by, in float64, as a vector over ``axis`` (negative) or one."""
    if node is None or node.op_type not in ("Mul", "Div") or value.shape is None:
        return None
    if node.op_type == "Div" and node.inputs[0] is not value:
        return None
    array = constant(other_input(node, value))
    size = value.shape[axis]
    if array is None or array.dtype.kind != "f" or not isinstance(size, int):
        return None
    vector = per_axis(array, len(value.shape), axis % len(value.shape), size)
    if vector is None:
        return None
    wide = vector.astype(np.float64)
    return wide if node.op_type == "Mul" else 1.0 / wide if wide.all() else None


def _fold_channels(graph: ir.Graph, node: ir.Node) -> bool:
    scale = only_consumer(node.outputs[0])
    factor = _factor(scale, node.outputs[0], 1)
    weights = constant(node.inputs[1])
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = constant(node.inputs[2]) if biased else None
    if scale is None or factor is None or weights is None or (biased and bias is None):
        return False
    if whole(weights):
        return False
    name = scale.name or "scale"
    replace_constant(graph, node, 1, scaled(weights, factor, OUTPUT_AXIS[node.op_type]), f"{name}/kernel")
    if bias is not None:
        replace_constant(graph, node, 2, (bias * factor).astype(weights.dtype), f"{name}/bias")
    absorb(graph, node, scale)
    return True


def _fold_last(graph: ir.Graph, node: ir.Node) -> bool:
    weights = constant(node.inputs[1])
    if weights is None or weights.ndim != 2 or weights.dtype.kind != "f" or whole(weights):
        return False
    last, add = node, only_consumer(node.outputs[0])
    bias = None
    if add is not None and add.op_type == "Add":
        bias = constant(other_input(add, node.outputs[0]))
        if bias is None or bias.shape[-1:] not in ((), (1,), (weights.shape[1],)):
            return False
        last = add
    scale = only_consumer(last.outputs[0])
    factor = _factor(scale, last.outputs[0], -1)
    if scale is None or factor is None:
        return False
    name = scale.name or "scale"
    replace_constant(graph, node, 1, scaled(weights, factor, 1), f"{name}/kernel")
    if bias is not None:
        place = 0 if last.inputs[1] is node.outputs[0] else 1
        replace_constant(graph, last, place, (bias * factor).astype(weights.dtype), f"{name}/bias")
    absorb(graph, last, scale)
    return True
