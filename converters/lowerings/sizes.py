"""Sizes that only the graph knows: read by Shape, put into the shape of a Reshape, Expand or Tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from converters import layout
from converters.builder import Builder, Tensor, elements
from converters.lowerings.broadcasting import Operand, as_tensor, cast
from converters.lowerings.resizing import linear
from converters.registry import lowers
from converters.tracing.sizes import Alike, Cut, Into, Part, Range, ResizeTo
from converters.tracing.unknown_sizes import SizeOf
from deploy.errors import ConversionError

_END = np.iinfo(np.int64).max


@lowers(SizeOf)
def size_of(g: Builder, op: SizeOf, x: Tensor) -> Tensor:
    size = _size(g, x, op.axis, op.times)
    scalar = Tensor(g.op("Squeeze", size, np.asarray([0], np.int64)), ())
    return cast(g, scalar, "int32")


@lowers(Range)
def arange(g: Builder, op: Range, start: Operand, stop: Operand, step: Operand) -> Tensor:
    bounds = [cast(g, as_tensor(g, x, op.dtype), op.dtype).value for x in (start, stop, step)]
    value: ir.Value = g.op("Range", *bounds)
    return Tensor(value, (0,))


@lowers(Cut)
def cut(g: Builder, op: Cut, x: Operand, *tensors: Tensor) -> Tensor:
    tensor = as_tensor(g, x)
    starts = [0 if bounds.start is None else bounds.start for bounds in op.bounds]
    stops = [_END if bounds.stop is None else bounds.stop for bounds in op.bounds]
    axes = np.asarray([tensor.axis(bounds.axis) for bounds in op.bounds], np.int64)
    value: ir.Value = g.op("Slice", tensor.value, _shape(g, starts, tensors), _shape(g, stops, tensors), axes)
    value.shape = ir.Shape([None if place in axes else size for place, size in enumerate(tensor.dims)])
    return Tensor(value, tensor.order)


@lowers(Alike)
def alike(g: Builder, op: Alike, x: Tensor, other: Tensor) -> Tensor:
    size, own = x.dims[x.axis(op.axis)], other.dims[other.axis(op.axis)]
    same = not isinstance(size, int) and not isinstance(own, int) and size.value is not None and size.value == own.value
    if not same:
        raise ConversionError(
            "two unknown sizes may not be the same",
            where=g.where,
            found=f"axis {op.axis} of {x.shape} and of {other.shape}",
            fix="give the input's sizes with --shapes",
        )
    return x


@lowers(Into)
def into(g: Builder, op: Into, x: Operand, *tensors: Tensor) -> Tensor:
    """Without a node for the shape where the unknown sizes are seen to be those of the tensor itself."""
    tensor = as_tensor(g, x)
    if op.kind == "reshape":
        return _reshape(g, op, tensor, tensors)
    rank = len(op.shape)
    if not isinstance(x, Tensor):
        tensor = as_tensor(g, np.reshape(x, (1,) * (rank - np.ndim(x)) + np.shape(x)))
    tensor = g.reshape(tensor, (1,) * (rank - tensor.rank) + tensor.shape)
    own = [tensor.dims[tensor.axis(axis)] for axis in range(rank)]
    if op.kind == "tile" and any(part != 1 != size for part, size in zip(op.shape, own, strict=True)):
        tensor = g.identity(tensor)
        return Tensor(g.op("Tile", tensor.value, _shape(g, op.shape, tensors)), tensor.order)
    parts = [1 if _same(part, own[axis], tensors) else part for axis, part in enumerate(op.shape)]
    if all(isinstance(part, int) for part in parts):
        target = np.asarray([parts[axis] for axis in tensor.order], np.int64)
        return Tensor(g.op("Expand", tensor.value, target), tensor.order)
    return _expand(g, g.identity(tensor), parts, tensors)


@lowers(ResizeTo)
def resize_to(g: Builder, op: ResizeTo, images: Tensor, *tensors: Tensor) -> Tensor:
    x = g.arrange(images, layout.channels_first(4, 3 if op.last else 1))
    own = tuple(Part(len(tensors), axis) for axis in x.order[:2])
    y = linear(g, x, None, _shape(g, (*own, *op.size), (*tensors, x)))
    y.value.shape = ir.Shape([*x.dims[:2], *(_dim(part, part, tensors) for part in op.size)])
    return y


def _expand(g: Builder, x: Tensor, parts: list[Any], tensors: tuple[Tensor, ...]) -> Tensor:
    value: ir.Value = g.op("Expand", x.value, _shape(g, parts, tensors))
    dims = [_dim(part, own, tensors) for part, own in zip(parts, x.dims, strict=True)]
    value.shape = ir.Shape(dims)
    return Tensor(value, x.order)


def _reshape(g: Builder, op: Into, x: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
    expected = tuple(g.out.shape)
    if _keeps_its_own(op, x, expected, tensors):
        return g.reshape(x, expected)
    if -1 in op.shape and expected[op.shape.index(-1)] is not None:
        raise ConversionError(
            "a reshape keeps a size that may not be the tensor's own",
            where=g.where,
            found=f"{x.shape} to {expected}",
            fix="give the input's sizes with --shapes",
        )
    x = g.identity(x)
    parts: list[Any] = list(op.shape)
    if -1 not in parts:  # one of the unknown sizes is what remains: the first, mostly the batch
        parts[next(i for i, part in enumerate(parts) if isinstance(part, Part))] = -1
    value: ir.Value = g.op("Reshape", x.value, _shape(g, parts, tensors))
    names = [_dim(part, size, tensors) for part, size in zip(op.shape, expected, strict=True)]
    value.shape = ir.Shape([name if size is None else size for name, size in zip(names, expected, strict=True)])
    return Tensor(value, layout.identity(len(expected)))


def _keeps_its_own(op: Into, x: Tensor, expected: layout.Shape, tensors: tuple[Tensor, ...]) -> bool:
    """Whether the unknown sizes of a reshape's result are those of the tensor, in their order, by name."""
    sizes = [x.dims[x.axis(axis)] for axis in range(x.rank)]
    own = [size.value for size in sizes if not isinstance(size, int)]
    wanted = [
        _symbol(part, tensors) if isinstance(part, Part) else "" if part == -1 else None
        for part, size in zip(op.shape, expected, strict=True)
        if size is None
    ]
    if "" in wanted and elements(x.shape) == elements(expected):  # the -1 is what the others leave
        left = [name for name in own if name not in wanted]
        wanted[wanted.index("")] = left[0] if len(left) == 1 else None
    return None not in wanted and wanted == own


def _shape(g: Builder, parts: Any, tensors: tuple[Tensor, ...]) -> ir.Value:
    """The shape as an int64 vector: constants, and the sizes that are computed; neighbouring ones are read at once."""
    pieces: list[Any] = []
    read: tuple[ir.Value, int] | None = None  # what the last piece reads, and the axis behind it
    for part in parts:
        tensor = tensors[part.index] if isinstance(part, Part) else None
        if tensor is not None and part.axis is not None and part.times == 1 and tensor.shape[part.axis] is None:
            place = tensor.axis(part.axis)
            if read == (tensor.value, place):
                shape = pieces[-1].producer()
                shape.attributes["end"] = ir.AttrInt64("end", place + 1)
                pieces[-1].shape = ir.Shape([place + 1 - shape.attributes.get_int("start")])
            else:
                pieces.append(g.op("Shape", tensor.value, start=place, end=place + 1))
            read = tensor.value, place + 1
            continue
        read = None
        if tensor is not None:
            pieces.append(
                _size(g, tensor, part.axis, part.times)
                if part.axis is not None
                else g.op("Reshape", cast(g, tensor, "int64").value, np.asarray([1], np.int64))
            )
        elif pieces and isinstance(pieces[-1], np.ndarray):
            pieces[-1] = np.append(pieces[-1], np.int64(part))
        else:
            pieces.append(np.asarray([part], np.int64))
    if len(pieces) == 1:
        return pieces[0] if isinstance(pieces[0], ir.Value) else g.constant(pieces[0])
    value: ir.Value = g.op("Concat", *pieces, axis=0)
    return value


def _size(g: Builder, x: Tensor, axis: int, times: int) -> ir.Value:
    """``times`` the size of a logical axis, as an int64 vector of one."""
    known = x.shape[axis]
    if known is not None:
        return g.constant(np.asarray([known * times], np.int64))
    place = x.axis(axis)
    value: ir.Value = g.op("Shape", x.value, start=place, end=place + 1)
    return value if times == 1 else g.op("Mul", value, np.asarray([times], np.int64))


def _symbol(part: Part, tensors: tuple[Tensor, ...]) -> str | None:
    """The name of a part's size as a value's shape has it, or None where it has none."""
    if part.axis is None:
        return None
    tensor = tensors[part.index]
    dim = tensor.dims[tensor.axis(part.axis)]
    if isinstance(dim, int) or dim.value is None or (part.times != 1 and "*" in dim.value):
        return None
    return dim.value if part.times == 1 else f"{dim.value}*{part.times}"


def _same(part: int | Part, own: Any, tensors: tuple[Tensor, ...]) -> bool:
    if isinstance(part, int):
        return bool(part == own)
    return not isinstance(own, int) and own.value is not None and bool(own.value == _symbol(part, tensors))


def _dim(part: Any, own: Any, tensors: tuple[Tensor, ...]) -> Any:
    if isinstance(part, Part):
        return _symbol(part, tensors)
    return own if part == 1 else part
