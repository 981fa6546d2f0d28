"""Writes a graph to a file tensor by tensor, without a copy of its weights in between.

An ONNX file is a protobuf message: fields, each a tag and its bytes, repeated fields in any place. The model without
its weights is a small message; every weight is appended to it as a field of its own, its numbers straight from memory.
Protobuf ends at 2 GB: a larger model's weights go to a second file beside it, ``<name>.data``, ONNX's external data.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir as ir

from deploy.files import replacing

LIMIT = 2**31 - 2**24
"""Bytes of weights that one file takes; protobuf's limit less what the graph itself may need."""

ALIGNMENT = 4096
"""External tensors begin at multiples of this, so that they can be mapped into memory."""

SMALL = 1024
"""Bytes up to which a tensor stays in the file: shapes and axes must be where shape inference reads them."""

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9  # field numbers in onnx.proto: ModelProto, GraphProto, TensorProto


def write_model(model: ir.Model, target: Path | str, *, limit: int = LIMIT) -> None:
    """Writes the ONNX file whole or not at all; with more than ``limit`` bytes of weights, its data file before it."""
    target = Path(target)
    values = [value for value in model.graph.initializers.values() if value.const_value is not None]
    if sum(value.const_value.nbytes for value in values if value.const_value is not None) > limit:
        large = [value for value in values if value.const_value is not None and value.const_value.nbytes > SMALL]
        _write_external(model, large, target)
        return
    with replacing(target) as temporary, temporary.open("wb") as file:
        _write_single(model, values, file)


def _write_single(model: ir.Model, values: Sequence[ir.Value], file: BinaryIO) -> None:
    tensors = [tensor for value in values if (tensor := value.const_value) is not None]
    with _without_weights(model):
        proto = ir.serde.serialize_model(model)
    # an initializer's own type and shape are in its tensor: the message needs no second record of them
    graph = proto.graph.SerializeToString(deterministic=True)
    proto.ClearField("graph")
    heads = [_head(tensor) for tensor in tensors]
    sizes = [len(head) + tensor.nbytes for head, tensor in zip(heads, tensors, strict=True)]
    fields = [_tag(_INITIALIZER, size) for size in sizes]
    file.write(proto.SerializeToString(deterministic=True))
    file.write(_tag(_GRAPH, len(graph) + sum(map(len, fields)) + sum(sizes)))
    file.write(graph)
    for field, head, tensor in zip(fields, heads, tensors, strict=True):
        file.write(field + head)
        _write_numbers(tensor, file)


def _head(tensor: ir.TensorProtocol) -> bytes:
    """A TensorProto up to its numbers."""
    proto = onnx.TensorProto(name=tensor.name, data_type=int(tensor.dtype), dims=list(tensor.shape.numpy()))
    fields: bytes = proto.SerializeToString(deterministic=True)
    return fields + _tag(_RAW_DATA, tensor.nbytes)


def _tag(field: int, size: int) -> bytes:
    """Tag and length of a field of bytes (wire type 2), both as protobuf's variable-length integers."""
    return _varint(field << 3 | 2) + _varint(size)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _write_numbers(tensor: ir.TensorProtocol, file: BinaryIO) -> None:
    file.flush()
    if isinstance(tensor, ir.Tensor):
        tensor.tofile(file)
    else:
        file.write(tensor.tobytes())


def _write_external(model: ir.Model, values: Sequence[ir.Value], target: Path) -> None:
    data = target.with_name(target.name + ".data")
    kept = [value.const_value for value in values]
    try:
        with replacing(data) as temporary, temporary.open("wb") as file:
            for value, tensor in zip(values, kept, strict=True):
                assert tensor is not None
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                offset = file.tell()
                _write_numbers(tensor, file)
                value.const_value = ir.ExternalTensor(
                    data.name,
                    offset,
                    tensor.nbytes,
                    tensor.dtype,
                    shape=ir.Shape(tensor.shape.numpy()),
                    name=tensor.name or "",
                    base_dir=target.parent,
                )
        with replacing(target) as temporary:
            temporary.write_bytes(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    finally:
        for value, tensor in zip(values, kept, strict=True):
            value.const_value = tensor


@contextlib.contextmanager
def _without_weights(model: ir.Model) -> Iterator[None]:
    """The model with no initializers, for as long as it is being serialized."""
    kept = dict(model.graph.initializers)
    model.graph.initializers.clear()
    try:
        yield
    finally:
        model.graph.initializers.update(kept)
