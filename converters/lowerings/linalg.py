"""Linear algebra that ONNX can express: norms of vectors and matrices, determinants."""

from __future__ import annotations

import math
from typing import Any

from converters.builder import Builder, Tensor
from converters.keras_internals import linalg
from converters.lowerings.broadcasting import cast, elementwise, unary
from converters.lowerings.reduction import reduce
from converters.registry import lowers
from deploy.errors import ConversionError

_EXTREMES = {math.inf: "ReduceMax", -math.inf: "ReduceMin"}


@lowers(linalg.Norm)
def norm_operation(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Of a vector or a matrix along the given axes, or of the flattened value."""
    axes = list(range(x.rank)) if op.axis is None else [axis % x.rank for axis in op.axis]
    return norm(g, cast(g, x, g.out.dtype), op.ord, axes, keepdims=op.keepdims)


def norm(g: Builder, x: Tensor, order: Any, axes: list[int], *, keepdims: bool) -> Tensor:
    """numpy.linalg.norm: over one axis the vector norm of any order, over two (rows, columns) the matrix norm.

    The matrix norms that are sums or extremes of singular values are not lowered (`converters.tracing.substitutes`).
    """
    if order is None or order == "fro" or (order == 2 and len(axes) == 1):
        return reduce(g, "ReduceL2", x, axes, keepdims=keepdims)
    if len(axes) == 1:
        return _vector(g, x, order, axes, keepdims=keepdims)
    if len(axes) != 2 or abs(order if not isinstance(order, str) else 2) not in (1, math.inf):
        raise ConversionError(
            f"there is no norm of order {order} over {len(axes)} axes",
            where=g.where,
            expected="order 1, -1, 2, -2, inf, -inf, 'fro' or 'nuc' over two axes, any order over one",
            fix="give one of these orders",
        )
    summed = axes[0] if abs(order) == 1 else axes[1]
    sums = reduce(g, "ReduceL1", x, [summed], keepdims=True)
    return reduce(g, _EXTREMES[math.copysign(math.inf, order)], sums, sorted(axes), keepdims=keepdims)


def _vector(g: Builder, x: Tensor, order: float, axes: list[int], *, keepdims: bool) -> Tensor:
    if order == 1:
        return reduce(g, "ReduceL1", x, axes, keepdims=keepdims)
    if order in _EXTREMES:
        return reduce(g, _EXTREMES[order], unary(g, "Abs", x), axes, keepdims=keepdims)
    if order == 0:
        zero = cast(g, elementwise(g, "Equal", x, 0.0), str(x.dtype))
        return reduce(g, "ReduceSum", elementwise(g, "Sub", 1.0, zero), axes, keepdims=keepdims)
    powers = elementwise(g, "Pow", unary(g, "Abs", x), float(order))
    total = reduce(g, "ReduceSum", powers, axes, keepdims=keepdims)
    return elementwise(g, "Pow", total, 1.0 / order)
