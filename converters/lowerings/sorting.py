"""Sorting: ONNX's TopK with k the whole axis; of equal values the one that comes first stays first, as in Keras.

And what else is found by value: the distinct ones, the places of those that are not zero. The size of these results
depends on the values; an engine that is to give them to the outside needs ``size=`` or a reduction behind them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from keras import tree

from converters import layout
from converters.builder import Array, Builder, Tensor
from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import cast
from converters.registry import lowers


@lowers(knp.Sort)
def sort(g: Builder, op: Any, x: Tensor) -> Tensor:
    x, axis = flat_or(g, x, op.axis)
    values, _ = top(g, x, axis, None, largest=False)
    return cast(g, values, g.out.dtype)


@lowers(knp.Argsort)
def argsort(g: Builder, op: Any, x: Tensor) -> Tensor:
    x, axis = flat_or(g, x, op.axis)
    _, indices = top(g, x, axis, None, largest=False)
    return cast(g, indices, g.out.dtype)


@lowers(kmath.TopK)
def top_k(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    values, indices = top(g, x, x.rank - 1, int(op.k), largest=True)
    return [cast(g, y, spec.dtype) for y, spec in zip((values, indices), g.outputs, strict=True)]


def flat_or(g: Builder, x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """The value and a non-negative axis; of the flattened value where the axis is None."""
    if axis is not None:
        return x, axis % x.rank
    return Tensor(g.op("Reshape", g.identity(x).value, np.asarray([-1], np.int64)), (0,)), 0


def top(g: Builder, x: Tensor, axis: int, k: int | None, *, largest: bool) -> tuple[Tensor, Tensor]:
    """The k largest or smallest values along a logical axis (all of them for None), in order, and their places."""
    if x.rank == 0:
        return x, Tensor(g.constant(np.zeros(1, np.int64)), (0,))
    x = x if x.dtype.kind == "f" or x.dtype in (np.int32, np.int64) else cast(g, x, "int32")
    place, size = x.axis(axis), x.shape[axis]
    count: ir.Value | Array = np.asarray([size if k is None else k], np.int64) if k or size else _length(g, x, place)
    values, indices = g.op("TopK", x.value, count, outputs=2, axis=place, largest=int(largest), sorted=1)
    if k is None and size is None:
        values.shape = indices.shape = x.value.shape
    return Tensor(values, x.order), Tensor(indices, x.order)


def _length(g: Builder, x: Tensor, place: int) -> ir.Value:
    value: ir.Value = g.op("Shape", x.value, start=place, end=place + 1)
    return value


@lowers(knp.Argpartition)
def argpartition(g: Builder, op: Any, x: Tensor) -> Tensor:
    """The kth + 1 smallest in order, then the places of the others in theirs."""
    x, axis = flat_or(g, x, op.axis)
    _, order = top(g, x, axis, None, largest=False)
    place = x.axis(axis)
    size = order.dims[place]
    assert isinstance(size, int)
    kth = min(max(int(op.kth), 0), size - 1) + 1
    if kth == size:
        return cast(g, order, g.out.dtype)
    parts = np.asarray([kth, size - kth], np.int64)
    low, high = g.op("Split", order.value, parts, outputs=2, axis=place)
    rest, _ = top(g, Tensor(high, order.order), axis, None, largest=False)
    value = g.op("Concat", low, rest.value, axis=place)
    return cast(g, Tensor(value, x.order), g.out.dtype)


@lowers(knp.Nonzero)
def nonzero(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    """A vector of places for each axis."""
    found = g.op("NonZero", g.identity(cast(g, x, "bool")).value)
    rows = g.op("Split", found, np.ones(x.rank, np.int64), outputs=x.rank, axis=0) if x.rank > 1 else [found]
    return [cast(g, g.reshape(Tensor(row, (0, 1)), (None,)), "int32") for row in rows]


@lowers(knp.Unique)
def unique(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    """The distinct values or slices, rising or as they come first, and what is asked for with them.

    With a ``size`` they are as many: cut off, or followed by the fill value, the place 1 and the count 0.
    """
    x = g.identity(x)
    axis = None if op.axis is None else op.axis % x.rank
    wide = cast(g, x, "int64") if x.dtype.kind in "iub" else x  # ONNX Runtime has Unique of few dtypes
    y, places, inverse, counts = g.op("Unique", wide.value, outputs=4, axis=axis, sorted=int(op.sorted))
    along, fill = axis or 0, np.asarray(op.fill_value or 0, wide.dtype)
    results = [Tensor(_sized(g, op.size, y, along, fill), layout.identity(1 if axis is None else x.rank))]
    if op.return_index:
        results.append(Tensor(_sized(g, op.size, places, 0, np.asarray(1, np.int64)), (0,)))
    if op.return_inverse:
        results.append(_like_values(g, Tensor(inverse, (0,)), x) if axis is None else Tensor(inverse, (0,)))
    if op.return_counts:
        results.append(Tensor(_sized(g, op.size, counts, 0, np.asarray(0, np.int64)), (0,)))
    specs = tree.flatten(g.outputs)
    return [cast(g, result, spec.dtype) for result, spec in zip(results, specs, strict=True)]


def _sized(g: Builder, size: int | None, value: ir.Value, axis: int, fill: Array) -> ir.Value:
    """The value with ``size`` elements along an axis, filled up at its end; as it is for None."""
    if size is None:
        return value
    assert value.shape is not None
    ends = np.zeros((2, len(value.shape)), np.int64)
    ends[1, axis] = size
    longer = g.op("Pad", value, ends.reshape(-1), fill)
    cut: ir.Value = g.op("Slice", longer, *(np.asarray([v], np.int64) for v in (0, size, axis)))
    cut.shape = ir.Shape([size if place == axis else d for place, d in enumerate(value.shape)])
    return cut


def _like_values(g: Builder, x: Tensor, other: Tensor) -> Tensor:
    """A vector in the shape of a tensor with as many elements."""
    value: ir.Value = g.op("Reshape", x.value, g.op("Shape", other.value))
    value.shape = other.value.shape
    return Tensor(value, other.order)
