"""Sizes that only the graph knows: read by Shape, put into the shape of a Reshape, Expand or Tile."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir

from converters import layout
from converters.builder import Builder, Tensor
from converters.lowerings.broadcasting import Operand, as_tensor, cast
from converters.lowerings.resizing import linear
from converters.registry import lowers
from converters.size_names import Product, multiple, product
from converters.tracing.sizes import Alike, Bounds, Cut, Into, Part, Range, ResizeTo
from converters.tracing.unknown_sizes import SizeOf
from deploy.errors import ConversionError

_END = np.iinfo(np.int64).max


@lowers(SizeOf)
def size_of(g: Builder, op: SizeOf, x: Tensor) -> Tensor:
    size = _size(g, x, op.axis, op.times)
    scalar = Tensor(g.op("Squeeze", size, np.asarray([0], np.int64)), ())
    return cast(g, scalar, "int32")


@lowers(Range)
def arange(g: Builder, op: Range, *given: Operand) -> Tensor:
    bounds = [cast(g, as_tensor(g, x, op.dtype), op.dtype).value for x in given[:3]]
    value: ir.Value = g.op("Range", *bounds)
    if op.length is not None:
        value.shape = ir.Shape([_symbol(op.length, given)])
    return Tensor(value, (0,))


@lowers(Cut)
def cut(g: Builder, op: Cut, x: Operand, *tensors: Tensor) -> Tensor:
    """From the start to a size of the same name as the axis's own is the whole axis."""
    tensor = as_tensor(g, x)

    def is_whole(bounds: Bounds) -> bool:
        own = tensor.dims[tensor.axis(bounds.axis)]
        name = _symbol(bounds.stop, tensors) if isinstance(bounds.stop, Part) and not bounds.start else None
        return name is not None and not isinstance(own, int) and own.value == name

    given = [bounds for bounds in op.bounds if not is_whole(bounds)]
    if not given:
        return tensor
    starts = [0 if bounds.start is None else bounds.start for bounds in given]
    stops = [_END if bounds.stop is None else bounds.stop for bounds in given]
    axes = np.asarray([tensor.axis(bounds.axis) for bounds in given], np.int64)
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
        value: ir.Value = g.op("Tile", tensor.value, _shape(g, op.shape, tensors))
        value.shape = ir.Shape([_tiled(part, size, tensors) for part, size in zip(op.shape, own, strict=True)])
        return Tensor(value, tensor.order)
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


def _tiled(part: int | Part, own: Any, tensors: Sequence[Any]) -> Any:
    """The size of an axis of ``own`` elements that is repeated: a number, a name, or None."""
    if isinstance(part, Part):
        name = _symbol(part, tensors)
        return multiple(name, own, 1) if isinstance(own, int) else None
    return own * part if isinstance(own, int) else multiple(own.value, part, 1)


def _expand(g: Builder, x: Tensor, parts: Sequence[Any], tensors: tuple[Tensor, ...]) -> Tensor:
    value: ir.Value = g.op("Expand", x.value, _shape(g, parts, tensors))
    dims = [_dim(part, own, tensors) for part, own in zip(parts, x.dims, strict=True)]
    value.shape = ir.Shape(dims)
    return Tensor(value, x.order)


def _reshape(g: Builder, op: Into, x: Tensor, tensors: tuple[Tensor, ...]) -> Tensor:
    """By numbers alone where the names tell that the result's unknown sizes are the tensor's own, or its one a multiple
    of the tensor's one (``batch`` of ``batch*4`` windows).
    """
    expected = tuple(g.out.shape)
    own = [x.dims[x.axis(axis)] for axis in range(x.rank)]
    given = [_product(part, tensors) for part in op.shape if part != -1]
    total, others = product(own), _all(given)
    left = total.over(others) if total is not None and others is not None else None
    rest = left.size if left is not None else None
    _check_rest(g, op, x, rest)
    wanted = iter(given)
    named = [rest if part == -1 else _named(next(wanted)) for part in op.shape]
    sizes = [size if name is None else name for name, size in zip(named, expected, strict=True)]
    shape = tuple(size if isinstance(size, int) else None for size in sizes)
    unknown = [size for size in sizes if not isinstance(size, int)]
    symbols = [size.value for size in own if not isinstance(size, int)]
    as_before = len(unknown) == len(symbols) == 1 and total is not None and total == product(sizes)
    if None not in unknown and (unknown == symbols or as_before):
        return g.reshape(x, shape)
    x = g.identity(x)
    parts: list[Any] = [
        size if part == -1 and isinstance(size, int) else part for part, size in zip(op.shape, sizes, strict=True)
    ]
    for place, (size, dim) in enumerate(zip(sizes, x.dims, strict=False)):
        if isinstance(parts[place], Part) and isinstance(size, str) and dim == ir.SymbolicDim(size):
            parts[place] = 0  # the tensor's own size in this place
    if -1 not in parts and any(
        isinstance(part, Part) for part in parts
    ):  # one of the unknown sizes is what remains: the first, mostly the batch
        parts[next(i for i, part in enumerate(parts) if isinstance(part, Part))] = -1
    value: ir.Value = g.op("Reshape", x.value, _shape(g, parts, tensors))
    value.shape = ir.Shape(sizes)
    return Tensor(value, layout.identity(len(expected)))


def _check_rest(g: Builder, op: Into, x: Tensor, rest: int | str | None) -> None:
    """Raises where a -1 was taken for a number, since the unknown sizes seemed the tensor's own, and may be another."""
    expected = tuple(g.out.shape)
    place = op.shape.index(-1) if -1 in op.shape else None
    if place is not None and expected[place] is not None and rest != expected[place]:
        raise ConversionError(
            "a reshape keeps a size that may not be the tensor's own",
            where=g.where,
            found=f"{x.shape} to {expected}",
            fix="give the input's sizes with --shapes",
        )


def _all(factors: Sequence[Product | None]) -> Product | None:
    found = [factor for factor in factors if factor is not None]
    return functools.reduce(operator.mul, found, Product(Fraction(1))) if len(found) == len(factors) else None


def _named(factor: Product | None) -> int | str | None:
    return None if factor is None else factor.size


def _shape(g: Builder, parts: Any, tensors: tuple[Tensor, ...]) -> ir.Value:
    """The shape as an int64 vector: constants, and the sizes that are computed; neighbouring ones are read at once."""
    pieces: list[Any] = []
    read: tuple[ir.Value, int] | None = None  # what the last piece reads, and the axis behind it
    for part in parts:
        tensor = tensors[part.index] if isinstance(part, Part) else None
        if tensor is not None and part.axis is not None and tensor.shape[part.axis] is None:
            source, place, times = _source(g, tensor, part.axis, part.times)
            if times == 1:
                if read == (source, place):
                    shape = pieces[-1].producer()
                    shape.attributes["end"] = ir.AttrInt64("end", place + 1)
                    pieces[-1].shape = ir.Shape([place + 1 - shape.attributes.get_int("start")])
                else:
                    pieces.append(g.op("Shape", source, start=place, end=place + 1))
                read = source, place + 1
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


def _size(g: Builder, x: Tensor, axis: int, times: int | Fraction) -> ir.Value:
    """``times`` the size of a logical axis, rounded down, as an int64 vector of one."""
    known = x.shape[axis]
    if known is not None:
        return g.constant(np.asarray([math.floor(known * times)], np.int64))
    value, place, times = _source(g, x, axis, times)
    size: ir.Value = g.op("Shape", value, start=place, end=place + 1)
    if times.numerator != 1:
        size = g.op("Mul", size, np.asarray([times.numerator], np.int64))
    return size if times.denominator == 1 else g.op("Div", size, np.asarray([times.denominator], np.int64))


def _source(g: Builder, x: Tensor, axis: int, times: int | Fraction) -> tuple[ir.Value, int, int | Fraction]:
    """Where an unknown size is read: a value, its axis, and how many times that.

    It's the graph's first input with a size of that name, so that all layers read it alike, else the tensor itself.
    """
    place = x.axis(axis)
    named = product([x.dims[place]])
    if named is not None and len(named.names) == 1:
        for value in g.root.inputs:
            for index, size in enumerate(value.shape or ()):
                if not isinstance(size, int) and size.value == named.names[0]:
                    return value, index, named.times * times
    return x.value, place, times


def _product(part: int | Part, tensors: Sequence[Any]) -> Product | None:
    """A size by numbers and names, or None where it has no name."""
    if isinstance(part, int):
        return Product(Fraction(part))
    if part.axis is None:
        return None
    tensor = tensors[part.index]
    size = product([tensor.dims[tensor.axis(part.axis)]])
    return size if size is None else size * Product(Fraction(part.times))


def _symbol(part: Part, tensors: Sequence[Any]) -> str | None:
    """The name of a part's size as a value's shape has it, or None where it has none."""
    size = _named(_product(part, tensors))
    return size if isinstance(size, str) else None


def _same(part: int | Part, own: Any, tensors: tuple[Tensor, ...]) -> bool:
    if isinstance(part, int):
        return bool(part == own)
    return not isinstance(own, int) and own.value is not None and bool(own.value == _symbol(part, tensors))


def _dim(part: Any, own: Any, tensors: tuple[Tensor, ...]) -> Any:
    if isinstance(part, Part):
        return _symbol(part, tensors)
    return own if part == 1 else part
