"""A gate that is computed on vectors and reshaped to maps of one position is computed on such maps all along.

Reduce to (batch, channels), then Gemm, activations, sums and products, then a Reshape to (batch, channels, 1, 1): the
reduction keeps its axes, each Gemm becomes a 1x1 Conv, and the Reshape is gone. So squeeze-and-excite and CBAM end in
the same nodes whether they are written with Dense layers on vectors, on (1, 1, C) maps, or with 1x1 convolutions.

All nodes from the reductions to the Reshape are taken, or none: when a value between them is read by others, or there
is a node that isn't known to work on maps as it does on vectors, nothing changes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.fold_keepdims import shapes
from converters.passes.rewriting import ACTIVATIONS, absorb, constant, initializer, per_axis, plain_product

_ARITHMETIC = frozenset(("Abs", "Add", "Div", "Erf", "Exp", "Max", "Min", "Mul", "Neg", "Sqrt", "Sub"))


def lift_gate(graph: ir.Graph) -> bool:
    """Lifts every such gate. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Reshape":
            changed |= _lift(graph, node)
    return changed


def _lift(graph: ir.Graph, reshape: ir.Node) -> bool:
    vector, result = reshape.inputs[0], reshape.outputs[0]
    if vector is None or vector.shape is None or result.shape is None or not 3 <= len(result.shape) <= 5:
        return False
    ones = len(result.shape) - 2
    if len(vector.shape) != 2 or list(result.shape) != [*vector.shape, *(1,) * ones]:
        return False
    nodes = _between(vector, ones)
    if not nodes or nodes[0].op_type == "Reshape":
        return False
    inside = {reshape, *nodes}
    for node in nodes:
        value = node.outputs[0]
        if value.is_graph_output() or any(use.node not in inside for use in value.uses()):
            return False
    for node in nodes:
        _lift_node(graph, node, ones)
    gate = reshape.inputs[0]  # the vector, as a map now
    assert gate is not None
    last = gate.producer()
    assert last is not None
    absorb(graph, last, reshape)
    return True


def _is_base(node: ir.Node, ones: int) -> bool:
    """A node that can give the map as well as the vector: a reduction of all axes behind the second, or a Reshape."""
    source = node.inputs[0]
    if source is None or source.shape is None or len(source.shape) != ones + 2:
        return False
    if node.op_type == "Reshape":
        return list(source.shape[2:]) == [1] * ones and list(node.outputs[0].shape or ()) == list(source.shape[:2])
    if not node.op_type.startswith("Reduce") or node.attributes.get_int("keepdims", 1) != 0:
        return False
    found = shapes(node)
    return found is not None and found[1] == list(source.shape[:2]) and found[0][2:] == [1] * ones


def _between(vector: ir.Value, ones: int) -> list[ir.Node]:
    """The nodes that compute a vector, from the bases on; none where one of them can't be lifted."""
    found: dict[ir.Node, None] = {}
    open_values = [vector]
    while open_values:
        value = open_values.pop()
        node = value.producer()
        if node is None or value.shape is None or len(value.shape) != 2:
            return []
        if node in found:
            continue
        found[node] = None
        if _is_base(node, ones):
            continue
        if not _liftable(node):
            return []
        open_values += [x for x in node.inputs[: 1 if node.op_type == "Gemm" else None] if x and constant(x) is None]
    return list(found)


def _liftable(node: ir.Node) -> bool:
    if node.op_type == "Gemm":
        constants = all(constant(value) is not None for value in node.inputs[1:])
        return plain_product(node) and constants and constant(node.inputs[0]) is None
    if node.op_type not in ACTIVATIONS | _ARITHMETIC:
        return False
    shape = node.outputs[0].shape
    size = shape[1] if shape is not None else None
    arrays = [array for value in node.inputs if (array := constant(value)) is not None]
    return isinstance(size, int) and all(per_axis(array, 2, 1, size) is not None for array in arrays)


def _lift_node(graph: ir.Graph, node: ir.Node, ones: int) -> None:
    value = node.outputs[0]
    assert value.shape is not None
    if _is_base(node, ones):
        if node.op_type == "Reshape":
            assert node.inputs[0] is not None
            value.replace_all_uses_with(node.inputs[0])
            graph.remove(node, safe=True)
            return
        node.attributes["keepdims"] = ir.AttrInt64("keepdims", 1)
    elif node.op_type == "Gemm":
        _to_convolution(graph, node, ones)
        return
    else:
        for index, operand in enumerate(node.inputs):
            array = constant(operand)
            if array is not None and array.size > 1:
                spread = array.reshape(-1, *(1,) * ones)
                node.replace_input_with(index, initializer(graph, spread, f"{operand.name}/map" if operand else "map"))
    value.shape = ir.Shape([*value.shape, *(1,) * ones])
    value.name = f"{value.name}/map"  # no longer the vector that the layer gives


def _to_convolution(graph: ir.Graph, gemm: ir.Node, ones: int) -> None:
    """The same product as a 1x1 convolution, under the same name."""
    weights = constant(gemm.inputs[1])
    assert weights is not None
    value = gemm.outputs[0]
    kernel = np.ascontiguousarray(weights.T).reshape(*weights.T.shape, *(1,) * ones)
    inputs = [gemm.inputs[0], initializer(graph, kernel, f"{gemm.inputs[1].name}/map" if gemm.inputs[1] else "kernel")]
    bias = constant(gemm.inputs[2]) if len(gemm.inputs) > 2 else None
    if bias is not None:
        vector = np.broadcast_to(bias.reshape(-1), (weights.shape[1],))
        inputs.append(initializer(graph, vector, f"{gemm.name}/bias"))
    convolution = ir.node("Conv", inputs, {"kernel_shape": [1] * ones}, name=gemm.name)
    new = convolution.outputs[0]
    assert value.shape is not None
    new.type, new.shape = value.type, ir.Shape([*value.shape, *(1,) * ones])
    graph.insert_before(gemm, convolution)
    value.replace_all_uses_with(new)
    graph.remove(gemm, safe=True)
    new.name = f"{value.name}/map"
