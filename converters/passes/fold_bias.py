"""A constant added behind a convolution or a matrix product becomes its bias.

1. Conv or ConvTranspose, then Add of a constant that varies over channels alone: added to the bias.
2. MatMul of a rank-2 value with a constant matrix, then Add of a constant vector: a Gemm.
3. MatMul of a rank-2 value with a constant matrix and no Add: a Gemm without bias; engines then see one kind of node.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import (
    absorb,
    constant,
    initializer,
    only_consumer,
    other_input,
    per_channel,
    replace_node,
)


def fold_bias(graph: ir.Graph) -> bool:
    """Folds every such Add. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type in ("Conv", "ConvTranspose"):
            changed |= _fold_convolution(graph, node)
        elif node.op_type == "MatMul":
            changed |= _fold_product(graph, node)
    return changed


def _fold_convolution(graph: ir.Graph, node: ir.Node) -> bool:
    add = only_consumer(node.outputs[0])
    shape = node.outputs[0].shape
    if add is None or add.op_type != "Add" or shape is None or not isinstance(shape[1], int):
        return False
    array = constant(other_input(add, node.outputs[0]))
    bias = None if array is None else per_channel(array, len(shape), shape[1])
    present = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if bias is None or (present is None and len(node.inputs) > 2 and node.inputs[2] is not None):
        return False
    total = bias if present is None else present + bias
    node.resize_inputs(3)
    node.replace_input_with(2, initializer(graph, total.astype(bias.dtype), f"{_layer(add)}/bias"))
    absorb(graph, node, add)
    return True


def _fold_product(graph: ir.Graph, node: ir.Node) -> bool:
    x, matrix = node.inputs
    weights = constant(matrix)
    if x is None or x.shape is None or len(x.shape) != 2 or weights is None or weights.ndim != 2:
        return False
    if weights.dtype.kind != "f":
        return False
    add = only_consumer(node.outputs[0])
    inputs: list[ir.Value | None] = [x, matrix]
    if add is not None and add.op_type == "Add":
        bias = constant(other_input(add, node.outputs[0]))
        if (
            bias is not None
            and bias.size in (1, weights.shape[1])
            and bias.shape[-1:] == (bias.size,) * min(bias.ndim, 1)
        ):
            vector = np.broadcast_to(bias.reshape(-1), (weights.shape[1],))
            inputs.append(initializer(graph, vector, f"{_layer(add)}/bias"))
    gemm = replace_node(graph, node, "Gemm", inputs)
    if len(inputs) == 3 and add is not None:
        absorb(graph, gemm, add)
    return True


def _layer(node: ir.Node) -> str:
    """The layer's path in a node's name, which is ``path/OpType`` or the path itself."""
    name = node.name or ""
    return name.rpartition("/")[0] if name.rpartition("/")[2].startswith(node.op_type) else name
