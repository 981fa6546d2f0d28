"""Places in sorted values, classes, segments, divisors, correlations."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import (
    Case,
    Function,
    case,
    check_graph,
    compare,
    keras_function,
    parametrize,
    run_session,
)

TWO = [(5, 4), (5, 4)]
BOUNDS = np.asarray([-1.0, 0.0, 0.5, 2.0], np.float32)
IDS = np.asarray([0, 2, 0, 1, 2], np.int32)

CASES = [
    case(lambda x: ops.searchsorted(BOUNDS, ops.round(x[0] * 2) / 2), (5,)),
    case(lambda x: ops.searchsorted(BOUNDS, ops.round(x[0] * 2) / 2, side="right"), (5,)),
    case(lambda x: ops.searchsorted(ops.sort(x[0]), x[0] + 0.1), (5,)),
    case(lambda x: ops.digitize(ops.round(x * 2) / 2, BOUNDS), (5, 4)),
    case(ops.digitize, (5, 4), "Cast:1,GreaterOrEqual:1,ReduceSum:1,Reshape:1", bins=BOUNDS),
    case(lambda x: ops.digitize(x, np.float32([1, 2, 4])), (5,), dtype="int32"),
    case(layers.Discretization, (5,), bin_boundaries=[-0.5, 0.0, 1.0]),
    *(
        case(layers.Discretization, (5,), bin_boundaries=[-0.5, 0.0, 1.0], output_mode=mode)
        for mode in ("one_hot", "multi_hot", "count")
    ),
    *(
        case(layers.CategoryEncoding, (4,), dtype="int32", num_tokens=5, output_mode=mode)
        for mode in ("one_hot", "multi_hot", "count")
    ),
    case(lambda x: ops.multi_hot(x, 5), (6,), dtype="int32"),
    case(lambda x: ops.multi_hot(x, 5, dtype="bool"), (6, 2), dtype="int32"),
    case(lambda x: ops.in_top_k(ops.argmax(x[:, ::-1], axis=-1), x, 2), (5,)),
    *(
        case(lambda x, f=function: f(x[0], IDS, num_segments=4), (5, 3))
        for function in (ops.segment_sum, ops.segment_max)
    ),
    case(lambda x: ops.segment_max(x[0], IDS, num_segments=3), (5,), dtype="int32"),
    *(
        case(lambda xs, m=mode: ops.correlate(xs[0][0], xs[1][0], mode=m), [(7,), (4,)])
        for mode in ("valid", "same", "full")
    ),
    case(lambda x: ops.correlate(x[0], np.float32([1, 0, -1])), (7,)),
    case(lambda x: ops.gcd(x * 6, ops.cast(9, "int32")), (5,), dtype="int32"),
    case(lambda xs: ops.gcd(xs[0] * 4 - 8, xs[1] * 6), TWO, dtype="int32"),
    case(lambda xs: ops.lcm(xs[0] * 4, xs[1] * 6), TWO, dtype="int32"),
    case(lambda x: ops.one_hot(x - 1, 3), (6,), dtype="int32"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("steps", [6, None])
@pytest.mark.parametrize(("merge", "blank"), [(True, 0), (True, -1), (False, 2)])
def test_ctc_decode(steps: int | None, merge: bool, blank: int) -> None:
    """Of scores in which neighbours often have the same best class, and of sequences of several lengths."""
    inputs = [keras.Input((steps, 4), name="x"), keras.Input((), dtype="int32", name="lengths")]
    decode = Function(lambda xs: ops.ctc_decode(xs[0], xs[1], merge_repeated=merge, mask_index=blank))
    model = keras.Model(inputs, decode(inputs))
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (3, 6, 1)) == np.arange(4)
    arrays = [(scores + 0.1 * rng.standard_normal((3, 6, 4))).astype(np.float32), np.asarray([6, 3, 1], np.int32)]
    compare(run_session(check_graph(convert_model(model)))(arrays), arrays, keras_function(model))


def test_a_beam_search_is_refused() -> None:
    inputs = [keras.Input((6, 4), name="x"), keras.Input((), dtype="int32", name="lengths")]
    decode = Function(lambda xs: ops.ctc_decode(xs[0], xs[1], strategy="beam_search"))
    with pytest.raises(ConversionError, match="beam search"):
        convert_model(keras.Model(inputs, decode(inputs)))


def test_an_unknown_number_of_segments_is_refused() -> None:
    with pytest.raises(ConversionError, match="the number of segments depends on the values"):
        convert_model(Case(lambda x: ops.segment_sum(x[0], ops.cast(x[0] > 0, "int32")), (5,)).model())
