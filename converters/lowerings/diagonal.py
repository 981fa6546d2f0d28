"""Diagonals of matrices: taken from them, summed, and put into them."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.builder import Builder, Tensor, elements
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import cast
from converters.lowerings.reduction import reduce
from converters.registry import lowers
from deploy.errors import ConversionError


def diagonal(g: Builder, x: Tensor, first: int, second: int, offset: int = 0) -> Tensor:
    """The elements [i, i + offset] of two axes, as the last axis.

    The two axes laid out as one, in which each of them is the length of a row and one behind the last.
    """
    first, second = first % x.rank, second % x.rank
    others = [axis for axis in range(x.rank) if axis not in (first, second)]
    rows, columns = x.shape[first], x.shape[second]
    if rows is None or columns is None:
        raise ConversionError(
            "the diagonal of a matrix of unknown size", where=g.where, fix="give the input's sizes with --shapes"
        )
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    start = offset if offset >= 0 else -offset * columns
    x = Tensor(x.value, layout.transpose(x.order, [*others, first, second]))
    flat = g.reshape(x, (*x.shape[:-2], rows * columns))
    bounds = [np.asarray([n], np.int64) for n in (start, start + count * (columns + 1), flat.axis(-1), columns + 1)]
    bounds[1] = np.minimum(bounds[1], start + rows * columns)
    return Tensor(g.op("Slice", flat.value, *bounds), flat.order)


@lowers(knp.Diagonal)
def diagonal_operation(g: Builder, op: Any, x: Tensor) -> Tensor:
    return diagonal(g, x, op.axis1, op.axis2, op.offset)


@lowers(knp.Trace)
def trace(g: Builder, op: Any, x: Tensor) -> Tensor:
    y = cast(g, diagonal(g, x, op.axis1, op.axis2, op.offset), g.out.dtype)
    return reduce(g, "ReduceSum", y, [y.rank - 1], keepdims=False)


@lowers(knp.Diag, knp.Diagflat)
def diag(g: Builder, op: Any, x: Tensor) -> Tensor:
    """The diagonal of a matrix; or the vector on the diagonal of zeros, as each element with the zeros behind it."""
    if isinstance(op, knp.Diag) and x.rank == 2:
        return diagonal(g, x, 0, 1, op.k)
    if None in x.shape:
        raise ConversionError("a diagonal of unknown size", where=g.where, fix="give the input's sizes with --shapes")
    count = elements(x.shape)
    size = count + abs(op.k)
    column = g.reshape(x, (count, 1))
    before = max(op.k, 0) - min(op.k, 0) * size
    padded = g.op("Pad", g.identity(column).value, np.asarray([0, 0, 0, size], np.int64))
    flat = g.op("Reshape", padded, np.asarray([count * (size + 1)], np.int64))
    behind = size * size - before - count * (size + 1)
    shifted = g.op("Pad", flat, np.asarray([before, behind], np.int64))  # a negative width cuts off
    return g.reshape(Tensor(shifted, (0,)), (size, size))
