"""A BatchNormalization behind a convolution or a Gemm becomes part of its weights.

With s = gamma / sqrt(variance + epsilon): the filter of channel c is scaled by s[c], the bias b becomes
(b - mean) * s + beta (Jacob et al. 2018, section 3.2). Computed in float64, rounded once.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.arrays import scaled
from converters.passes.rewriting import OUTPUT_AXIS, absorb, constant, only_consumer, plain_product, replace_constant


def fold_batch_norm(graph: ir.Graph) -> bool:
    """Folds every BatchNormalization that alone reads a Conv, ConvTranspose or Gemm. Returns whether it changed any."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type in OUTPUT_AXIS:
            norm = only_consumer(node.outputs[0])
            if norm is not None and norm.op_type == "BatchNormalization" and norm.inputs[0] is node.outputs[0]:
                changed |= _fold(graph, node, norm)
    return changed


def _fold(graph: ir.Graph, node: ir.Node, norm: ir.Node) -> bool:
    weights = constant(node.inputs[1])
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    computed_bias = bias is None and len(node.inputs) > 2 and node.inputs[2] is not None
    if weights is None or computed_bias or not plain_product(node):
        return False
    arrays = [constant(value) for value in norm.inputs[1:5]]
    if any(array is None for array in arrays):
        return False
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    scale = gamma / np.sqrt(variance + norm.attributes.get_float("epsilon", 1e-5))
    new_bias = ((0.0 if bias is None else bias.astype(np.float64)) - mean) * scale + beta
    name = norm.name or "batch_norm"
    replace_constant(graph, node, 1, scaled(weights, scale, OUTPUT_AXIS[node.op_type]), f"{name}/kernel")
    replace_constant(graph, node, 2, new_bias.astype(weights.dtype), f"{name}/bias")
    absorb(graph, node, norm)
    return True
