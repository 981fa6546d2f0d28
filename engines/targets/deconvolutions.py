"""Spells a ConvTranspose in BF16 as TensorRT-RTX takes it: on FP32 operands, between Casts.

TensorRT-RTX 1.7.1 builds no ConvTranspose with BF16 operands ("Could not infer output types for operation: deconv"),
of whatever size, stride or bias. Between Casts it fuses it with them into a kernel that the layer table shows as BF16,
but for one with a single output channel, which it leaves in FP32 (and the ladder then raises to that). The operands are
numbers that BF16 has, so what the kernel computes is what the recipe says.
"""

from __future__ import annotations

import onnx_ir as ir

from engines.apply.placement import initializer, insert_behind
from engines.graphs import compute_nodes, constant, is_float


def widen(model: ir.Model) -> None:
    """Rewrites each one of a typed graph, in place."""
    for node in list(compute_nodes(model)):
        if node.op_type == "ConvTranspose" and node.outputs[0].dtype == ir.DataType.BFLOAT16:
            _widen(model, node)


def _widen(model: ir.Model, node: ir.Node) -> None:
    for index, value in enumerate(node.inputs):
        if value is not None and is_float(value):
            node.replace_input_with(index, _as_float(model, node, value))
    result = node.outputs[0]
    name = f"{node.name}/sum/bf16"
    rounded = ir.val(name, ir.DataType.BFLOAT16, result.shape)
    cast = ir.node("Cast", [result], {"to": ir.DataType.BFLOAT16}, outputs=[rounded], name=name)
    result.dtype = ir.DataType.FLOAT
    insert_behind(model, result, [cast])
    for reader, index in list(result.uses()):
        if reader is not cast:
            reader.replace_input_with(index, rounded)


def _as_float(model: ir.Model, node: ir.Node, value: ir.Value) -> ir.Value:
    array = constant(value)
    name = f"{node.name}/{value.name}/f32"
    if array is not None:
        return initializer(model, name, array.astype("float32"))
    result = ir.val(name, ir.DataType.FLOAT, value.shape)
    insert_behind(model, value, [ir.node("Cast", [value], {"to": ir.DataType.FLOAT}, outputs=[result], name=name)])
    return result
