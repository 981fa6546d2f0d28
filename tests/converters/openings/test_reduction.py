"""Statistics that open to other operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, case, parametrize

WEIGHTS = np.linspace(0.5, 2.0, 5, dtype=np.float32)


def holes(x: Any) -> Any:
    """Not-a-number in the place of what is above 0.3, and a whole row of them."""
    return ops.where(ops.logical_or(ops.greater(x, 0.3), np.arange(5)[:, None] == 3), math.nan, x)


CASES = [
    *(
        case(lambda xs, m=method: ops.quantile(xs[0][0], ops.sigmoid(xs[1][0, :2]), axis=1, method=m), [(5, 4), (3,)])
        for method in ("linear", "higher", "nearest")
    ),
    case(lambda xs: ops.percentile(xs[0], 50 * ops.sigmoid(xs[1][0, 0])), [(5, 4), (3,)]),
    case(lambda x: ops.nanmedian(ops.log(ops.abs(ops.round(x))), axis=1), (6, 3)),
    case(ops.average, (5, 4), "ReduceMean:1", axis=1),
    case(ops.average, (5, 4)),
    case(ops.average, (5, 4), axis=1, weights=WEIGHTS),
    case(lambda x: ops.average(x, axis=2, weights=ops.abs(x) + 0.5), (5, 4)),
    case(ops.average, (5,), axis=1, weights=WEIGHTS, dtype="int32"),
    case(ops.count_nonzero, (5, 4), axis=1, dtype="int32"),
    case(lambda x: ops.count_nonzero(ops.relu(x)), (5, 4)),
    case(ops.ptp, (5, 4), axis=1),
    case(ops.ptp, (5, 4), keepdims=True),
    case(ops.trapezoid, (5, 4)),
    case(ops.trapezoid, (5, 4), axis=1, dx=0.5),
    case(ops.trapezoid, (4, 5), x=WEIGHTS),
    case(lambda x: ops.corrcoef(x[0]), (5, 4)),
    case(lambda x: ops.cumsum(x, axis=1), (5, 4), "CumSum:1"),
    case(ops.cumsum, (5, 4)),
    case(lambda x: ops.cumsum(x, axis=-1), (5,), dtype="bool"),
    case(lambda x: ops.cumsum(x, axis=1, dtype="float32"), (5,), dtype="int32"),
    case(lambda x: ops.cumsum(x, axis=1), (5,), dtype="float16"),
    case(lambda x: ops.cumprod(x, axis=1), (5, 4)),
    case(lambda x: ops.cumprod(x, axis=-1), (1,)),
    case(lambda x: ops.cumprod(x, axis=0), (5, 4)),
    case(ops.cumprod, (5,), dtype="int32"),
    case(lambda x: ops.cumprod(x + 1, axis=1), (7,), dtype="int32"),
    case(lambda x: ops.isin(x, [1, 3]), (5,), dtype="int32"),
    case(lambda x: ops.isin(x, [1, 3], invert=True), (5, 2), dtype="int32"),
    *(
        case(lambda x, f=function, **kwargs: f(holes(x), **kwargs), (5, 4), **kwargs)
        for function in (ops.nanmax, ops.nanmin, ops.nansum, ops.nanprod, ops.nanmean, ops.nanvar, ops.nanstd)
        for kwargs in ({"axis": 1}, {"axis": (1, 2), "keepdims": True}, {})
    ),
    case(lambda x: ops.nanargmax(holes(x), axis=2), (5, 4)),
    case(lambda x: ops.nanargmin(holes(x), axis=1), (5, 4)),
    case(lambda x: ops.nanargmin(holes(x), axis=2, keepdims=True), (5, 4)),
    case(lambda x: ops.nancumsum(holes(x), axis=1), (5, 4)),
    case(lambda x: ops.nancumprod(holes(x), axis=1), (5, 4)),
    case(ops.nanmax, (5,), axis=1, dtype="int32"),
    case(ops.nanmean, (5,), axis=1, dtype="int32"),
    case(ops.median, (5, 4), axis=1),
    case(ops.median, (5, 4), axis=2, keepdims=True),
    case(ops.median, (5, 4), axis=(1, 2)),
    case(ops.median, (5, 4)),
    case(lambda x: ops.median(holes(x)), (5, 4)),
    case(lambda x: ops.nanmedian(holes(x)), (5, 4)),
    case(lambda x: ops.nanmedian(holes(x), axis=2), (5, 4)),
    case(lambda x: ops.quantile(x, 0.3, axis=1), (5, 4)),
    case(lambda x: ops.quantile(x, [0.25, 0.9], axis=1), (5, 4)),
    case(lambda x: ops.quantile(x, [0.25, 0.9], axis=1, keepdims=True), (5, 4)),
    *(
        case(lambda x, m=method: ops.percentile(x, 30, axis=2, method=m), (5, 4))
        for method in ("lower", "higher", "midpoint", "nearest")
    ),
    case(lambda x: ops.percentile(x, 30, axis=1), (5, 4)),
    case(lambda x: ops.nanpercentile(holes(x), 30, axis=2), (5, 4)),
    case(lambda x: ops.nanquantile(holes(x), 0.3, axis=2), (5, 4)),
    case(lambda x: ops.sum(x, axis=1), (5,), dtype="uint8"),
    case(lambda x: ops.max(x, axis=1), (5,), dtype="uint8"),
    case(lambda x: ops.prod(x, axis=1), (3,), dtype="int16"),
    case(lambda x: ops.bincount(x, minlength=7), (6,), dtype="int32"),
    case(ops.bincount, (6,), dtype="int32"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


class Quantile(layers.Layer):
    """In a layer's code Keras heeds the method, in a model's graph it does not."""

    def call(self, x: Any) -> Any:
        return ops.quantile(x, 0.3, axis=-1, method="lower")


def test_a_quantiles_method() -> None:
    Case(Quantile, (5, 4)).check()
    Case(ops.quantile, (5, 4), kwargs={"q": 0.3, "axis": -1, "method": "lower"}).check()


def test_a_quantile_of_an_unknown_size_asks_for_shapes() -> None:
    with pytest.raises(ConversionError, match="--shapes"):
        convert_model(Case(lambda x: ops.median(x, axis=1), (None, 4)).model())
