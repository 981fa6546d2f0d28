"""Statistics over axes: averages, extremes that ignore not-a-numbers, cumulative and counting reductions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from keras import KerasTensor, ops

from converters.keras_internals import is_in_graph
from converters.keras_internals import numpy as knp
from converters.openings.common import cast, dtype_of, flat_or, floats, is_float, known, promoted
from converters.registry import opens
from deploy.errors import ConversionError


@opens(knp.Average)
def average(op: Any, x: Any, weights: Any = None) -> Any:
    axis = op.axis
    if weights is None:
        return ops.mean(floats(x)[0], axis=axis)
    x, weights = floats(x, weights)
    if axis is not None and len(weights.shape) < len(x.shape):
        shape = [1] * len(x.shape)
        shape[axis] = -1
        weights = ops.reshape(weights, shape)
    return ops.divide(ops.sum(ops.multiply(x, weights), axis=axis), ops.sum(weights, axis=axis))


@opens(knp.CountNonzero)
def count_nonzero(op: Any, x: Any) -> Any:
    return ops.sum(ops.cast(ops.not_equal(x, 0), "int32"), axis=op.axis)


@opens(knp.Ptp)
def ptp(op: Any, x: Any) -> Any:
    kwargs = {"axis": op.axis, "keepdims": op.keepdims}
    return ops.subtract(ops.max(x, **kwargs), ops.min(x, **kwargs))


@opens(knp.Trapezoid)
def trapezoid(op: Any, y: Any) -> Any:
    """The sum of mean heights times widths."""
    (y,) = floats(y)
    if len(getattr(op.x, "shape", ())) > 1:
        widths = ops.moveaxis(ops.diff(op.x, axis=op.axis), op.axis, -1)
    else:
        widths = op.dx if op.x is None else ops.diff(op.x)
    y = ops.moveaxis(y, op.axis, -1)
    heights = ops.multiply(ops.add(y[..., 1:], y[..., :-1]), 0.5)
    return ops.sum(ops.multiply(heights, ops.cast(widths, dtype_of(y))), axis=-1)


@opens(knp.Corrcoef)
def corrcoef(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    centred = ops.subtract(x, ops.mean(x, axis=-1, keepdims=True))
    covariance = ops.matmul(centred, ops.swapaxes(centred, -1, -2))
    spread = ops.sqrt(ops.sum(ops.square(centred), axis=-1, keepdims=True))
    outer = ops.multiply(spread, ops.swapaxes(spread, -1, -2))
    return ops.clip(ops.divide(covariance, outer), -1.0, 1.0)


_IGNORING = {
    knp.Nanmax: (ops.max, -math.inf),
    knp.Nanmin: (ops.min, math.inf),
    knp.Nansum: (ops.sum, 0.0),
    knp.Nanprod: (ops.prod, 1.0),
    knp.Nanargmax: (ops.argmax, -math.inf),
    knp.Nanargmin: (ops.argmin, math.inf),
    knp.Nancumsum: (ops.cumsum, 0.0),
    knp.Nancumprod: (ops.cumprod, 1.0),
}
_WHERE_ALL_ARE = {knp.Nanmax: math.nan, knp.Nanmin: math.nan, knp.Nanargmax: -1, knp.Nanargmin: -1}


@opens(*_IGNORING)
def ignoring_nan(op: Any, x: Any) -> Any:
    """The plain operation over values in which a neutral one stands for not-a-number."""
    function, neutral = _IGNORING[type(op)]
    kwargs = {key: getattr(op, key) for key in ("axis", "keepdims", "dtype") if hasattr(op, key)}
    if "keepdims" in kwargs:
        kwargs.pop("dtype", None)
    if not is_float(x):
        return function(x, **kwargs)
    missing = ops.isnan(x)
    y = function(ops.where(missing, neutral, x), **kwargs)
    if type(op) not in _WHERE_ALL_ARE:
        return y
    return ops.where(ops.all(missing, **kwargs), cast(_WHERE_ALL_ARE[type(op)], dtype_of(y)), y)


@opens(knp.Nanmean)
def nanmean(op: Any, x: Any) -> Any:
    kwargs = {"axis": op.axis, "keepdims": op.keepdims}
    if not is_float(x):
        return ops.mean(x, **kwargs)
    count = ops.sum(ops.cast(ops.logical_not(ops.isnan(x)), dtype_of(x)), **kwargs)
    return ops.divide(ops.nansum(x, **kwargs), count)


@opens(knp.Nanvar, knp.Nanstd)
def nanvar(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    missing = ops.isnan(x)
    centred = ops.subtract(x, ops.nanmean(x, axis=op.axis, keepdims=True))
    squares = ops.where(missing, 0.0, ops.square(centred))
    y = ops.nanmean(ops.where(missing, x, squares), axis=op.axis, keepdims=op.keepdims)
    return ops.sqrt(y) if isinstance(op, knp.Nanstd) else y


@opens(knp.Median, knp.Nanmedian)
def median(op: Any, x: Any) -> Any:
    function = ops.nanquantile if isinstance(op, knp.Nanmedian) else ops.quantile
    return function(x, 0.5, axis=op.axis, keepdims=op.keepdims)


@opens(knp.Percentile, knp.Nanpercentile)
def percentile(op: Any, x: Any, q: Any) -> Any:
    function = ops.nanquantile if isinstance(op, knp.Nanpercentile) else ops.quantile
    q = ops.divide(ops.cast(q, "float32"), 100.0)
    return function(x, q, axis=op.axis, method=op.method, keepdims=op.keepdims)


@opens(knp.Quantile, knp.Nanquantile)
def quantile(op: Any, x: Any, q: Any) -> Any:
    """Places in the sorted values, interpolated."""
    (x,) = floats(x)
    rank = len(x.shape)
    axes = list(range(rank)) if op.axis is None else [op.axis] if isinstance(op.axis, int) else list(op.axis)
    axes = sorted(axis % rank for axis in axes)
    others = [axis for axis in range(rank) if axis not in axes]
    if others:
        size = math.prod(known(x.shape[axis], "the size that a quantile is taken over") for axis in axes)
        x = ops.reshape(ops.transpose(x, [*others, *axes]), [*(x.shape[a] or -1 for a in others), size])
    else:
        x = ops.ravel(x)
    # Keras's own Quantile, in the graph of a model, forgets the method
    method = "linear" if isinstance(op, knp.Quantile) and is_in_graph(op) else op.method
    parts, count = _parts(q)
    counted = isinstance(op, knp.Nanquantile) or x.shape[-1] is None or isinstance(q, KerasTensor)
    pick = functools.partial(_of_counted, whole=isinstance(op, knp.Quantile)) if counted else _of_all
    results = [pick(x, part, method) for part in parts]
    if op.keepdims:
        results = [ops.expand_dims(y, axes) for y in results]
    return ops.stack(results, axis=0) if count else results[0]


def _parts(q: Any) -> tuple[list[Any], int]:
    """The quantiles asked for, numbers or scalars of the graph, and the number of their axes."""
    if isinstance(q, KerasTensor):
        rank = len(q.shape)
        return [q[i] for i in range(known(q.shape[0], "the number of quantiles"))] if rank else [q], rank
    q = np.asarray(ops.convert_to_numpy(q), np.float64)
    return [float(value) for value in q.reshape(-1)], q.ndim


_METHODS = ("linear", "lower", "higher", "midpoint", "nearest")


def _of_all(x: Any, q: float, method: str) -> Any:
    """The place is a constant where the size is."""
    ordered = ops.sort(x, axis=-1)
    place = q * (x.shape[-1] - 1)
    low, high = math.floor(place), math.ceil(place)
    weights = dict(zip(_METHODS, (place - low, 0.0, 1.0, 0.5, float(round(place) - low)), strict=True))
    if method not in weights:
        raise _unknown_method(method)
    y, weight = ordered[..., low], weights[method]
    if weight and high != low:
        y = ops.add(ops.multiply(y, 1 - weight), ops.multiply(ordered[..., high], weight))
    return ops.where(ops.any(ops.isnan(x), axis=-1), math.nan, y)


def _unknown_method(method: str) -> ConversionError:
    return ConversionError(
        f"the quantile method '{method}' is not known", expected=", ".join(_METHODS), fix="give one of these"
    )


def _of_counted(x: Any, q: Any, method: str, *, whole: bool) -> Any:
    """The place is computed from how many values there are, not-a-numbers left out (``whole``: spoiling the result)."""
    missing = ops.isnan(x)
    ordered = ops.sort(ops.where(missing, math.inf, x), axis=-1)
    count = ops.sum(ops.cast(ops.logical_not(missing), "int32"), axis=-1, keepdims=True)
    place = ops.multiply(ops.cast(ops.subtract(count, 1), "float32"), q)
    low, high = ops.floor(place), ops.ceil(place)
    if method not in _METHODS:
        raise _unknown_method(method)
    weight = {
        "linear": ops.subtract(place, low),
        "lower": ops.zeros_like(place),
        "higher": ops.subtract(high, low),
        "midpoint": ops.multiply(ops.subtract(high, low), 0.5),
        "nearest": ops.subtract(ops.round(place), low),
    }[method]

    def at(index: Any) -> Any:
        return ops.take_along_axis(ordered, ops.cast(ops.maximum(index, 0.0), "int32"), axis=-1)

    weight = ops.cast(weight, dtype_of(x))
    first = at(low)
    mixed = ops.add(ops.multiply(first, ops.subtract(1.0, weight)), ops.multiply(at(high), weight))
    y = ops.where(ops.equal(weight, 0.0), first, mixed)  # of infinity no product with 0
    none = ops.any(missing, axis=-1, keepdims=True) if whole else ops.equal(count, 0)
    return ops.squeeze(ops.where(none, math.nan, y), axis=-1)


@opens(knp.Cumprod)
def cumprod(op: Any, x: Any) -> Any:
    """Doubling: after step k each place holds the product of the 2^k values up to it (Hillis and Steele 1986).

    Along an unknown size, one value after the other.
    """
    x, axis = flat_or(ops.cast(x, op.dtype) if op.dtype else x, op.axis)
    x = ops.cast(x, "int32") if dtype_of(x) == "bool" else x
    size = x.shape[axis]
    if size is None:
        rows = ops.moveaxis(x, axis, 0)
        _, y = ops.scan(lambda total, row: (ops.multiply(total, row),) * 2, ops.ones_like(rows[0]), rows)
        return ops.moveaxis(y, 0, axis)
    step = 1
    while step < size:
        widths = [(0, 0)] * len(x.shape)
        widths[axis] = (step, 0)
        index = [slice(None)] * len(x.shape)
        index[axis] = slice(0, size)
        x = ops.multiply(x, ops.pad(x, widths, constant_values=1)[tuple(index)])
        step *= 2
    return x


@opens(knp.IsIn)
def isin(op: Any, x1: Any, x2: Any) -> Any:
    dtype = promoted(x1, x2)
    values = ops.ravel(cast(x2, dtype))
    found = ops.any(ops.equal(ops.expand_dims(cast(x1, dtype), -1), values), axis=-1)
    return ops.logical_not(found) if op.invert else found
