"""Reshaping, transposing, joining, padding, repeating: mostly bookkeeping on the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters import layout
from converters.builder import Builder, Tensor
from converters.keras_internals import core
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import Operand, as_tensor, cast, common_order
from converters.lowerings.resizing import repeated
from converters.lowerings.sorting import flat_or
from converters.registry import lowers
from deploy.errors import ConversionError


@lowers(knp.Reshape, knp.ExpandDims, knp.Squeeze, knp.Ravel)
def reshape(g: Builder, op: Any, x: Tensor) -> Tensor:
    return g.reshape(x, tuple(g.out.shape))


@lowers(knp.Transpose)
def transpose(g: Builder, op: Any, x: Tensor) -> Tensor:
    axes = list(op.axes) if op.axes is not None else list(reversed(range(x.rank)))
    return Tensor(x.value, layout.transpose(x.order, [axis % x.rank for axis in axes]))


@lowers(knp.Swapaxes)
def swapaxes(g: Builder, op: Any, x: Tensor) -> Tensor:
    axes = list(range(x.rank))
    a, b = op.axis1 % x.rank, op.axis2 % x.rank
    axes[a], axes[b] = axes[b], axes[a]
    return Tensor(x.value, layout.transpose(x.order, axes))


@lowers(knp.Moveaxis)
def moveaxis(g: Builder, op: Any, x: Tensor) -> Tensor:
    sources = [s % x.rank for s in ([op.source] if isinstance(op.source, int) else op.source)]
    targets = [d % x.rank for d in ([op.destination] if isinstance(op.destination, int) else op.destination)]
    axes = [axis for axis in range(x.rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        axes.insert(target, source)
    return Tensor(x.value, layout.transpose(x.order, axes))


@lowers(knp.Concatenate)
def concatenate(g: Builder, op: Any, xs: Sequence[Operand]) -> Tensor:
    tensors = [cast(g, as_tensor(g, x), g.out.dtype) for x in xs]
    if len(tensors) == 1:
        return tensors[0]
    order = common_order(*tensors)
    values = [g.arrange(x, order).value for x in tensors]
    return Tensor(g.op("Concat", *values, axis=order.index(op.axis % len(order))), order)


@lowers(knp.Stack)
def stack(g: Builder, op: Any, x: Sequence[Operand]) -> Tensor:
    """A new axis of size 1 in each, then one Concat."""
    tensors = [cast(g, as_tensor(g, v), g.out.dtype) for v in x]
    rank = tensors[0].rank + 1
    axis = op.axis % rank
    widened = [g.reshape(v, (*v.shape[:axis], 1, *v.shape[axis:])) for v in tensors]
    order = common_order(*widened)
    values = [g.arrange(v, order).value for v in widened]
    return Tensor(g.op("Concat", *values, axis=order.index(axis)), order)


@lowers(knp.Split, knp.ArraySplit)
def split(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    axis = op.axis % x.rank
    parts = [int(part.shape[axis]) for part in g.outputs]
    if len(parts) == 1:
        return [x]
    values = g.op("Split", x.value, np.asarray(parts, np.int64), outputs=len(parts), axis=x.axis(axis))
    return [Tensor(value, x.order) for value in values]


@lowers(core.Unstack)
def unstack(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    axis = op.axis % x.rank
    count = len(g.outputs)
    shape = tuple(size for a, size in enumerate(x.shape) if a != axis)
    values = (
        g.op("Split", x.value, np.ones(count, np.int64), outputs=count, axis=x.axis(axis)) if count > 1 else [x.value]
    )
    return [g.reshape(Tensor(value, x.order), shape) for value in values]


@lowers(knp.Pad)
def pad(g: Builder, op: Any, x: Tensor, constant_values: float | None = None) -> Tensor:
    if x.dtype == np.int16:  # ONNX Runtime has no Pad of it
        return cast(g, pad(g, op, cast(g, x, "int32"), constant_values), "int16")
    widths = list(op.pad_width) * (x.rank if len(op.pad_width) == 1 else 1)
    if any(not isinstance(width, int | np.integer) for pair in widths for width in pair):
        raise ConversionError(
            "a padding of a width that the graph computes",
            where=g.where,
            fix="give the input's sizes with --shapes",
        )
    if op.mode not in ("constant", "reflect", "edge"):
        return _pad_by_index(g, x, widths, op.mode)
    begin = [int(widths[axis][0]) for axis in x.order]
    end = [int(widths[axis][1]) for axis in x.order]
    if not any(begin + end):
        return x
    fill = g.scalar(constant_values, x) if constant_values else None
    mode = None if op.mode == "constant" else op.mode
    return Tensor(g.op("Pad", x.value, np.asarray([*begin, *end], np.int64), fill, mode=mode), x.order)


def _pad_by_index(g: Builder, x: Tensor, widths: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Modes that ONNX has no name for (symmetric, wrap): per padded axis a Gather of the places they repeat."""
    for axis, width in enumerate(widths):
        size = x.shape[axis]
        if not any(width):
            continue
        if size is None:
            if mode != "symmetric":
                raise ConversionError(f"padding an unknown size in mode '{mode}'", where=g.where, fix="use --shapes")
            x = _mirrored(g, x, x.axis(axis), int(width[0]), int(width[1]))
            continue
        places = np.pad(np.arange(size, dtype=np.int64), (int(width[0]), int(width[1])), mode=mode)  # type: ignore[call-overload]
        x = Tensor(g.op("Gather", x.value, places, axis=x.axis(axis)), x.order)
    return x


def _mirrored(g: Builder, x: Tensor, place: int, before: int, after: int) -> Tensor:
    """An axis of unknown size between its first and its last values backwards: as many as it has, at most."""

    def backwards(start: int, end: int) -> Any:
        return g.op("Slice", x.value, *(np.asarray([v], np.int64) for v in (start, end, place, -1)))

    first = [backwards(before - 1, np.iinfo(np.int64).min)] if before else []
    last = [backwards(-1, -after - 1)] if after else []
    return Tensor(g.op("Concat", *first, x.value, *last, axis=place), x.order)


@lowers(knp.Arange)
def arange(g: Builder, op: Any, start: Operand, stop: Operand | None = None, step: Operand | None = None) -> Tensor:
    """A sequence whose bounds the model computes."""
    first, last = (0, start) if stop is None else (start, stop)
    bounds = [cast(g, as_tensor(g, bound, None), g.out.dtype) for bound in (first, last, 1 if step is None else step)]
    return Tensor(g.op("Range", *(g.reshape(bound, ()).value for bound in bounds)), (0,))


@lowers(knp.Tile)
def tile(g: Builder, op: Any, x: Tensor) -> Tensor:
    repeats = [op.repeats] if isinstance(op.repeats, int) else [int(r) for r in op.repeats]
    rank = max(x.rank, len(repeats))
    x = g.reshape(x, (1,) * (rank - x.rank) + x.shape)
    repeats = [1] * (rank - len(repeats)) + repeats
    return Tensor(g.op("Tile", x.value, np.asarray([repeats[axis] for axis in x.order], np.int64)), x.order)


@lowers(knp.Repeat)
def repeat(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Each element ``repeats`` times along an axis: an Expand of one element, a nearest-neighbour Resize of a map.

    Anything else is a Gather: integers, and the heads of grouped attention, which are no place in a map.
    """
    x, axis = flat_or(g, x, op.axis)
    size = x.shape[axis]
    counts = np.asarray(op.repeats)
    if size == 1 and counts.size == 1:
        target = np.ones(x.rank, np.int64)
        target[x.axis(axis)] = int(counts.reshape(()))
        return Tensor(g.op("Expand", x.value, target), x.order)
    maker = x.value.producer()
    rows = maker is not None and maker.op_type == "Resize"  # an UpSampling2D's, whose columns are repeated now
    heads = x.rank == 4 and axis == 2 and x.order == layout.identity(4) and not rows
    if counts.size == 1 and x.dtype.kind == "f" and x.rank >= 3 and not heads:
        scales = np.ones(x.rank, np.float32)
        scales[x.axis(axis)] = float(counts.reshape(()))
        return Tensor(repeated(g, x.value, scales), x.order)
    if size is None and counts.size == 1:
        return _repeat_unknown(g, x, axis, int(counts.reshape(())))
    if size is None:
        raise ConversionError("repeating along an unknown size", where=g.where, fix="give the size with --shapes")
    indices = np.repeat(np.arange(size, dtype=np.int64), counts.reshape(()) if counts.size == 1 else counts)
    return Tensor(g.op("Gather", x.value, indices, axis=x.axis(axis)), x.order)


def _repeat_unknown(g: Builder, x: Tensor, axis: int, count: int) -> Tensor:
    """Along an axis of unknown size: repeated on an axis beside it, which is joined with it."""
    x = g.identity(x)
    before, after = [x.shape[a] for a in range(axis)], [x.shape[a] for a in range(axis + 1, x.rank)]
    beside = np.asarray([*(0 for _ in before), -1, 1, *(0 if a is None else a for a in after)], np.int64)
    if None in after or None in before:
        raise ConversionError("repeating among several unknown sizes", where=g.where, fix="give them with --shapes")
    repeats = np.ones(x.rank + 1, np.int64)
    repeats[axis + 1] = count
    wide = g.op("Tile", g.op("Reshape", x.value, beside), repeats)
    joined = np.asarray([*before, -1, *after], np.int64)
    return Tensor(g.op("Reshape", wide, joined), x.order)


@lowers(knp.BroadcastTo)
def broadcast_to(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Expand; an unknown size (in its place already) is a 1 in the target, which ONNX broadcasts."""
    shape = tuple(g.out.shape)
    x = g.reshape(x, (1,) * (len(shape) - x.rank) + x.shape)
    target = [1 if shape[axis] is None else int(shape[axis]) for axis in x.order]
    return Tensor(g.op("Expand", x.value, np.asarray(target, np.int64)), x.order)


@lowers(knp.Flip)
def flip(g: Builder, op: Any, x: Tensor) -> Tensor:
    axes = range(x.rank) if op.axis is None else [op.axis] if isinstance(op.axis, int) else op.axis
    where = g.axes(x, list(axes))
    count = len(where)
    lowest = np.full(count, np.iinfo(np.int64).min, np.int64)
    value = g.op("Slice", x.value, np.full(count, -1, np.int64), lowest, where, np.full(count, -1, np.int64))
    return Tensor(value, x.order)
