"""Reductions over logical axes: the axes go through the order, no value is moved."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from converters import layout
from converters.builder import Builder, Tensor
from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import cast, elementwise, unary, wider
from converters.lowerings.sorting import flat_or
from converters.registry import lowers

_REDUCTIONS = {
    knp.Mean: "ReduceMean",
    knp.Sum: "ReduceSum",
    knp.Prod: "ReduceProd",
    knp.Max: "ReduceMax",
    knp.Amax: "ReduceMax",
    knp.Min: "ReduceMin",
    knp.Amin: "ReduceMin",
    kmath.Logsumexp: "ReduceLogSumExp",
}


def axes_of(axis: Any, rank: int) -> list[int]:
    """An ``axis`` argument as a list of non-negative axes; None means all."""
    if axis is None:
        return list(range(rank))
    return sorted(a % rank for a in ([axis] if isinstance(axis, int) else axis))


def reduce(g: Builder, op_type: str, x: Tensor, axes: list[int], *, keepdims: bool) -> Tensor:
    """One Reduce node over logical axes."""
    if not axes:
        return x
    value = g.op(op_type, x.value, g.axes(x, axes), keepdims=int(keepdims))
    return Tensor(value, layout.reduce(x.order, axes, keepdims=keepdims))


@lowers(*_REDUCTIONS)
def reduction(g: Builder, op: Any, x: Tensor) -> Tensor:
    if getattr(op, "initial", None) is not None:
        kind = "Max" if isinstance(op, knp.Max) else "Min"
        lowest = reduce(g, f"Reduce{kind}", x, axes_of(op.axis, x.rank), keepdims=op.keepdims)
        return elementwise(g, kind, lowest, op.initial, dtype=g.out.dtype)
    boolean = x.dtype.kind == "b"
    x = cast(g, x, "int32" if boolean and g.out.dtype == "bool" else wider(g.out.dtype))
    y = reduce(g, _REDUCTIONS[type(op)], x, axes_of(op.axis, x.rank), keepdims=op.keepdims)
    return cast(g, y, g.out.dtype)


@lowers(knp.Any, knp.All)
def any_all(g: Builder, op: Any, x: Tensor) -> Tensor:
    op_type = "ReduceMax" if isinstance(op, knp.Any) else "ReduceMin"
    numbers = cast(g, cast(g, x, "bool"), "int32")
    return cast(g, reduce(g, op_type, numbers, axes_of(op.axis, x.rank), keepdims=op.keepdims), "bool")


@lowers(knp.Var, knp.Std)
def variance(g: Builder, op: Any, x: Tensor) -> Tensor:
    """The mean of squared deviations (no correction), and its root."""
    x = cast(g, x, g.out.dtype)
    axes = axes_of(op.axis, x.rank)
    centred = elementwise(g, "Sub", x, reduce(g, "ReduceMean", x, axes, keepdims=True))
    y = reduce(g, "ReduceMean", elementwise(g, "Mul", centred, centred), axes, keepdims=op.keepdims)
    return unary(g, "Sqrt", y) if isinstance(op, knp.Std) else y


@lowers(knp.Argmax, knp.Argmin)
def arg_extreme(g: Builder, op: Any, x: Tensor) -> Tensor:
    op_type = "ArgMax" if isinstance(op, knp.Argmax) else "ArgMin"
    x = cast(g, x, "int32" if x.dtype.kind == "b" else wider(str(x.dtype)))
    if op.axis is None:
        flat = Tensor(g.op("Reshape", g.identity(x).value, np.asarray([-1], np.int64)), (0,))
        y = Tensor(g.op(op_type, flat.value, axis=0, keepdims=0), ())
        return cast(g, g.reshape(y, (1,) * x.rank) if op.keepdims else y, g.out.dtype)
    value = g.op(op_type, x.value, axis=x.axis(op.axis), keepdims=int(op.keepdims))
    order = layout.reduce(x.order, [op.axis % x.rank], keepdims=op.keepdims)
    return cast(g, Tensor(value, order), g.out.dtype)


@lowers(knp.Cumsum)
def cumsum(g: Builder, op: Any, x: Tensor) -> Tensor:
    x, axis = flat_or(g, x, op.axis)
    dtype = np.dtype(g.out.dtype)
    wide = (
        dtype
        if dtype in (np.int32, np.int64, np.float32, np.float64)
        else np.dtype("f4" if dtype.kind == "f" else "i4")
    )
    value = g.op("CumSum", cast(g, x, str(wide)).value, np.asarray(x.axis(axis), np.int64))
    return cast(g, Tensor(value, x.order), g.out.dtype)


@lowers(knp.Bincount)
def bincount(g: Builder, op: Any, x: Tensor) -> Tensor:
    """How often each of 0, 1, … is there; as many columns as the largest value asks for, at least ``minlength``."""
    x = g.identity(cast(g, x, "int64"))
    one = np.asarray(1, np.int64)
    highest = g.op("Add", g.op("ReduceMax", x.value, keepdims=0), one)
    count = g.op("Max", highest, np.asarray(int(op.minlength or 0), np.int64))
    classes = Tensor(g.op("Range", np.asarray(0, np.int64), count, one), (0,))
    dtype = wider(g.out.dtype)
    rows = cast(g, elementwise(g, "Equal", g.reshape(x, (*x.shape, 1)), classes), dtype)
    if op.weights is not None:
        weights = op.weights if isinstance(op.weights, Tensor) else np.asarray(ops.convert_to_numpy(op.weights))
        shape = (*weights.shape, 1)
        weights = g.reshape(weights, shape) if isinstance(weights, Tensor) else weights.reshape(shape)
        rows = elementwise(g, "Mul", rows, weights, dtype=dtype)
    return cast(g, reduce(g, "ReduceSum", rows, [x.rank - 1], keepdims=False), g.out.dtype)
