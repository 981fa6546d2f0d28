"""Types and shapes of what a node gives, by ONNX's own inference; the equal nodes of a network are inferred once."""

from __future__ import annotations

import copy
from collections.abc import Hashable
from typing import Any

import onnx
import onnx_ir as ir

from converters.kept_sizes import named

FEW = 20
"""Elements up to which a constant's numbers are shown to the inference: shapes, axes, paddings."""

Inferred = tuple[tuple[Any, Any], ...]
"""Type and shape of each output."""
Known = dict[Hashable, Inferred]
"""What was inferred, by all that it depends on."""


def infer(node: ir.Node, known: Known) -> None:
    """Gives each output of a node its type and shape.

    Raises ValueError where one of them cannot be inferred, and what ONNX raises for a node that cannot be.
    """
    key = node.op_type, node.version, tuple(map(_attribute, node.attributes.values())), *map(_input, node.inputs)
    if key not in known:
        known[key] = _infer(node)
    for output, (kind, shape) in zip(node.outputs, known[key], strict=True):
        output.type, output.shape = copy.copy(kind), shape.copy()


def _attribute(attribute: ir.Attr) -> Hashable:
    return attribute.name, attribute.type, attribute.value


def _input(value: ir.Value | None) -> Hashable:
    if value is None:
        return None
    numbers, shape = _numbers(value), value.shape
    sizes = None if shape is None else tuple(size if isinstance(size, int) else size.value for size in shape)
    kind = value.dtype if type(value.type) is ir.TensorType else value.type  # a type's own hash is slow
    return kind, sizes, None if numbers is None else numbers.tobytes()


def _numbers(value: ir.Value | None) -> ir.TensorProtocol | None:
    tensor = value.const_value if value is not None else None
    return tensor if tensor is not None and tensor.size <= FEW else None


def _infer(node: ir.Node) -> Inferred:
    given = {value.name or "": value for value in node.inputs if value is not None}
    found = onnx.shape_inference.infer_node_outputs(
        onnx.defs.get_schema(node.op_type, node.version or 1, node.domain),
        ir.serde.serialize_node(node),
        {name: _type(value) for name, value in given.items()},
        {name: ir.serde.serialize_tensor(x) for name, value in given.items() if (x := _numbers(value)) is not None},
    )
    kinds = [found.get(output.name or "", onnx.TypeProto()) for output in node.outputs]
    types = map(ir.serde.deserialize_type_proto_for_type, kinds)
    inferred = list(zip(types, map(ir.serde.deserialize_type_proto_for_shape, kinds), strict=True))
    kind, shape = inferred[0]
    if shape is None or any(None in pair for pair in inferred):
        raise ValueError("no shape could be inferred")
    return ((kind, named(node, shape)), *inferred[1:])


def _type(value: ir.Value) -> onnx.TypeProto:
    assert value.type is not None
    proto = ir.serde.serialize_type(value.type)
    if value.shape is not None:
        ir.serde.serialize_shape_into(proto, value.shape)
    return proto
