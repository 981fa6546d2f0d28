"""Sorting: ONNX's TopK with k the whole axis; of equal values the one that comes first stays first, as in Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.lowering import Array, Builder, Tensor
from converters.lowerings.broadcasting import cast
from converters.registry import lowers


@lowers(knp.Sort)
def sort(g: Builder, op: Any, x: Tensor) -> Tensor:
    x, axis = flat_or(g, x, op.axis)
    values, _ = _top(g, x, axis, None, largest=False)
    return cast(g, values, g.out.dtype)


@lowers(knp.Argsort)
def argsort(g: Builder, op: Any, x: Tensor) -> Tensor:
    x, axis = flat_or(g, x, op.axis)
    _, indices = _top(g, x, axis, None, largest=False)
    return cast(g, indices, g.out.dtype)


@lowers(kmath.TopK)
def top_k(g: Builder, op: Any, x: Tensor) -> list[Tensor]:
    values, indices = _top(g, x, x.rank - 1, int(op.k), largest=True)
    return [cast(g, y, spec.dtype) for y, spec in zip((values, indices), g.outputs, strict=True)]


def flat_or(g: Builder, x: Tensor, axis: int | None) -> tuple[Tensor, int]:
    """The value and a non-negative axis; of the flattened value where the axis is None."""
    if axis is not None:
        return x, axis % x.rank
    return Tensor(g.op("Reshape", g.identity(x).value, np.asarray([-1], np.int64)), (0,)), 0


def _top(g: Builder, x: Tensor, axis: int, k: int | None, *, largest: bool) -> tuple[Tensor, Tensor]:
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
    _, order = _top(g, x, axis, None, largest=False)
    place = x.axis(axis)
    size = order.dims[place]
    assert isinstance(size, int)
    kth = min(max(int(op.kth), 0), size - 1) + 1
    if kth == size:
        return cast(g, order, g.out.dtype)
    parts = np.asarray([kth, size - kth], np.int64)
    low, high = g.op("Split", order.value, parts, outputs=2, axis=place)
    rest, _ = _top(g, Tensor(high, order.order), axis, None, largest=False)
    value = g.op("Concat", low, rest.value, axis=place)
    return cast(g, Tensor(value, x.order), g.out.dtype)
