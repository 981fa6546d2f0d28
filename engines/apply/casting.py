"""A strongly typed graph: every value in the type its recipe asks for, with Casts where types meet.

TensorRT builds strongly typed networks (the only kind from 11 on): it computes in the types that the graph states.
"""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from engines.apply.bodies import bodies, inner_nodes
from engines.apply.placement import initializer, insert_behind
from engines.graphs import constant, is_float, name_of
from engines.recipe import QUANTIZED, Recipe

TYPES = {"fp32": ir.DataType.FLOAT, "fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
BF16_OPSET = 22
"""The first in which ONNX defines Conv, pooling and recurrent operators for BF16."""

_FLOAT32_INPUTS = {"Resize": (1, 2), "Upsample": (1,)}
"""Inputs that the operator's specification keeps in FP32."""


def node_type(node: ir.Node, recipe: Recipe) -> ir.DataType:
    """The floating type that a node computes in, and what is in its bodies.

    INT8 and FP8 layers compute in that of the base; FP32 is for what cannot compute in the type (`possible`).
    """
    precision = recipe.precision_of(node.name or "")
    wanted = TYPES[recipe.base if precision in QUANTIZED else precision]
    return wanted if possible(node, wanted) else ir.DataType.FLOAT


def possible(node: ir.Node, wanted: ir.DataType) -> bool:
    """Whether ONNX defines a node of the main graph, and each in its bodies, for a type."""
    return not hindrance(node, wanted)


def hindrance(node: ir.Node, wanted: ir.DataType) -> str:
    """The first of a node and those in its bodies that cannot compute in a type (a Range), and why; or empty."""
    version = node.graph.opset_imports.get("", 0) if node.graph is not None else 0
    if wanted == ir.DataType.BFLOAT16:
        version = max(version, BF16_OPSET)  # to which such a graph is raised
    inner = inner_nodes(node)
    for one in (node, *inner):
        if not _defined(one.domain, one.op_type, version, wanted):
            return f"ONNX does not define {one.op_type} ({one.name}) for it"
    untyped = [value.name for one in inner for value in one.outputs if value.dtype is None]
    return f"the type of {untyped[0]} is not known" if untyped and wanted != ir.DataType.FLOAT else ""


@functools.cache
def _defined(domain: str, operator: str, version: int, kind: ir.DataType) -> bool:
    """Whether ONNX defines an operator for a type, by its schema; of an operator it does not know it does not."""
    try:
        schema = onnx.defs.get_schema(operator, version, domain)
    except onnx.defs.SchemaError:
        return False
    floats = [c.allowed_type_strs for c in schema.type_constraints if "tensor(float)" in c.allowed_type_strs]
    if not floats:  # nothing to choose: FP32 (NonMaxSuppression), or no floats at all
        return kind == ir.DataType.FLOAT or all(value.type_str != "tensor(float)" for value in schema.inputs)
    return any(f"tensor({kind.name.lower()})" in allowed for allowed in floats)


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
    value and type, which an output shares, and none between nodes of the same type.
    """
    wanted = {name_of(value): value.dtype for value in model.graph.outputs}
    casts: dict[tuple[str, ir.DataType], ir.Value] = {}
    for node in list(model.graph):
        _cast_node(model, node, node_type(node, recipe), casts)
    for index, value in enumerate(list(model.graph.outputs)):
        dtype = wanted[name_of(value)]
        if dtype is not None and value.dtype != dtype:
            there = casts.get((name_of(value), dtype))
            model.graph.outputs[index] = cast_output(model, value, dtype, there)


def _cast_node(
    model: ir.Model, node: ir.Node, kind: ir.DataType, casts: dict[tuple[str, ir.DataType], ir.Value]
) -> None:
    """One node and all that is in its bodies (`engines.apply.bodies`)."""
    for index, value in typed_inputs(node):
        if value.dtype != kind:
            node.replace_input_with(index, _as(model, value, kind, casts))
    for body in bodies(node):
        for value in body.inputs:
            if is_float(value):
                value.dtype = kind
        for inner in list(body):
            _cast_node(model, inner, kind, casts)
        for index, value in enumerate(list(body.outputs)):
            if is_float(value) and value.dtype != kind:  # a constant
                body.outputs[index] = _as(model, value, kind, casts)
    _set_outputs(node, kind)


def _as(
    model: ir.Model, value: ir.Value, kind: ir.DataType, casts: dict[tuple[str, ir.DataType], ir.Value]
) -> ir.Value:
    """The value in another type: a converted constant, or a Cast that all readers of that type share."""
    array = constant(value)
    if array is not None and value.graph is not model.graph:  # a body's own, which is of one type
        value.const_value = ir.tensor(narrowed(array, kind), name=value.name)
        value.dtype = kind
        return value
    key = (name_of(value), kind)
    if key not in casts:
        name = f"{value.name}/{kind.short_name()}"
        if array is not None:
            casts[key] = initializer(model, name, narrowed(array, kind))
        else:
            casts[key] = ir.val(name, kind, value.shape)
            insert_behind(model, value, [ir.node("Cast", [value], {"to": kind}, outputs=[casts[key]], name=name)])
    return casts[key]


def narrowed(array: npt.NDArray[Any], kind: ir.DataType) -> npt.NDArray[Any]:
    """A constant in another type. A number beyond its range becomes its largest one, and not infinite.

    Where it says "never" (the score of a masked position, the bound of a Clip), it does so still.
    """
    if kind == ir.DataType.FLOAT or not np.issubdtype(array.dtype, np.floating):
        return array.astype(kind.numpy())
    largest = float(ml_dtypes.finfo(kind.numpy()).max)  # type: ignore[no-untyped-call]
    return np.where(np.isfinite(array), np.clip(array, -largest, largest), array).astype(kind.numpy())


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
        node.attributes["value"] = ir.AttrTensor("value", ir.tensor(narrowed(found.as_tensor().numpy(), kind)))


def cast_output(model: ir.Model, value: ir.Value, dtype: ir.DataType, there: ir.Value | None = None) -> ir.Value:
    """A Cast back to the type of a graph output, which keeps its name; the value behind it is renamed.

    ``there``: what a Cast of the value to that type gives already; it becomes the output.
    """
    name = name_of(value)
    value.name = f"{name}/{value.dtype.short_name() if value.dtype else 'inner'}"
    maker = there.producer() if there is not None else None
    if there is not None and maker is not None:
        maker.name, there.name = f"{name}/output_cast", name
        return there
    result = ir.val(name, dtype, value.shape)
    model.graph.append(ir.node("Cast", [value], {"to": dtype}, outputs=[result], name=f"{name}/output_cast"))
    return result
