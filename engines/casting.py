"""A strongly typed graph: every value in the type its recipe asks for, with Casts where types meet.

TensorRT builds strongly typed networks (the only kind from 11 on): it computes in the types that the graph states.
"""

from __future__ import annotations

import functools

import onnx
import onnx_ir as ir

from engines.graphs import constant, is_float, name_of
from engines.placement import initializer, insert_behind
from engines.recipe import QUANTIZED, Recipe

TYPES = {"fp32": ir.DataType.FLOAT, "fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
BF16_OPSET = 22
"""The first in which ONNX defines Conv, pooling and recurrent operators for BF16."""

_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that the operator's specification keeps in FP32."""


def node_type(node: ir.Node, recipe: Recipe) -> ir.DataType:
    """The floating type that a node computes in.

    INT8 and FP8 layers compute in that of the base; FP32 is for control flow and loops, and for operators that ONNX
    does not define for the type (Range, for one).
    """
    if any(
        attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for attribute in node.attributes.values()
    ):
        return ir.DataType.FLOAT
    precision = recipe.precision_of(node.name or "")
    wanted = TYPES[recipe.base if precision in QUANTIZED else precision]
    version = node.graph.opset_imports.get("", 0) if node.graph is not None else 0
    return wanted if _defined(node.domain, node.op_type, version, wanted) else ir.DataType.FLOAT


@functools.cache
def _defined(domain: str, operator: str, version: int, kind: ir.DataType) -> bool:
    """Whether ONNX defines an operator for a type, by its schema; of an operator it does not know it does not."""
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return False
    floats = [c.allowed_type_strs for c in schema.type_constraints if "tensor(float)" in c.allowed_type_strs]
    return any(f"tensor({kind.name.lower()})" in allowed for allowed in floats) or not floats


def typed_inputs(node: ir.Node) -> list[tuple[int, ir.Value]]:
    """Positions and values of the float inputs that take the node's type."""
    fixed = _FLOAT32_INPUTS.get(node.op_type, ())
    if node.op_type in ("Cast", "DequantizeLinear"):
        return []
    return [
        (i, value) for i, value in enumerate(node.inputs) if value is not None and is_float(value) and i not in fixed
    ]


def cast(model: ir.Model, recipe: Recipe) -> None:
    """Gives every node of an FP32 graph (Q/DQ already placed) the type of the recipe, in place.

    The graph's inputs and outputs stay as they are, FP32: a Cast follows the one and precedes the other. One Cast per
    value and type, and none between nodes of the same type.
    """
    wanted = {name_of(value): value.dtype for value in model.graph.outputs}
    casts: dict[tuple[str, ir.DataType], ir.Value] = {}
    for node in list(model.graph):
        kind = node_type(node, recipe)
        for index, value in typed_inputs(node):
            if value.dtype != kind:
                node.replace_input_with(index, _as(model, value, kind, casts))
        for inner in _bodies(node):
            for index, outer in enumerate(inner.inputs):
                if outer is not None and is_float(outer) and outer.dtype != kind and _is_of(outer, model.graph):
                    inner.replace_input_with(index, _as(model, outer, kind, casts))
        _set_outputs(node, kind)
    for index, value in enumerate(list(model.graph.outputs)):
        dtype = wanted[name_of(value)]
        if dtype is not None and value.dtype != dtype:
            model.graph.outputs[index] = cast_output(model, value, dtype)


def _bodies(node: ir.Node) -> list[ir.Node]:
    """All nodes in the branches or the loop body of a node, at any depth: they compute in the node's type."""
    graphs = [a.as_graph() for a in node.attributes.values() if a.type == ir.AttributeType.GRAPH]
    return [inner for graph in graphs for inner in graph.all_nodes()]


def _is_of(value: ir.Value, graph: ir.Graph) -> bool:
    """Whether a value that a body reads is from the graph around it."""
    maker = value.producer()
    return maker.graph is graph if maker is not None else value.is_graph_input() and value in graph.inputs


def _as(
    model: ir.Model, value: ir.Value, kind: ir.DataType, casts: dict[tuple[str, ir.DataType], ir.Value]
) -> ir.Value:
    """The value in another type: a converted constant, or a Cast that all readers of that type share."""
    key = (name_of(value), kind)
    if key not in casts:
        name = f"{value.name}/{kind.short_name()}"
        array = constant(value)
        if array is not None:
            casts[key] = initializer(model, name, array.astype(kind.numpy()))
        else:
            casts[key] = ir.val(name, kind, value.shape)
            insert_behind(model, value, [ir.node("Cast", [value], {"to": kind}, outputs=[casts[key]], name=name)])
    return casts[key]


def _set_outputs(node: ir.Node, kind: ir.DataType) -> None:
    """States the types of a node's outputs. A Cast to FP32 in the model is one to the node's type."""
    if node.op_type == "Cast" and is_float(node.outputs[0]):
        node.attributes["to"] = ir.AttrInt64("to", kind)
    if node.op_type in ("Constant", "ConstantOfShape") and kind != ir.DataType.FLOAT:
        _retype_constant(node, kind)
    for value in node.outputs:
        if is_float(value):
            value.dtype = kind


def _retype_constant(node: ir.Node, kind: ir.DataType) -> None:
    found = node.attributes.get("value")
    if found is not None and found.type == ir.AttributeType.TENSOR and found.as_tensor().dtype == ir.DataType.FLOAT:
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(found.as_tensor().numpy().astype(kind.numpy())))


def cast_output(model: ir.Model, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """A Cast back to the type of a graph output, which keeps its name; the value behind it is renamed."""
    name = name_of(value)
    value.name = f"{name}/{value.dtype.short_name() if value.dtype else 'inner'}"
    result = ir.val(name, dtype, value.shape)
    model.graph.append(ir.node("Cast", [value], {"to": dtype}, outputs=[result], name=f"{name}/output_cast"))
    return result
