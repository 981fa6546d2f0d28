"""Merging layers, arithmetic with broadcasting, comparisons, logic, casts."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from tests.converters.checking import Case, case, check, check_graph, parametrize, randomize, run_session

TWO = [(5, 4, 3), (5, 4, 3)]
CONSTANT = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


class Bounded(layers.Layer):
    """Clips between values that the model computes."""

    def call(self, xs: Any) -> Any:
        return ops.clip(xs[0], xs[1], xs[1] + ops.abs(xs[2]))


CASES = [
    case(layers.Add, TWO, "Add:1"),
    case(layers.Add, [(5, 4, 3), (1, 1, 3)], "Add:1"),
    case(layers.Add, [(5, 4, 3), (3,)], "Add:1,Reshape:1"),
    case(layers.Add, [(5, 4, 3), (4, 3), (5, 1, 1)], "Add:2,Reshape:1"),
    case(layers.Add, [(4,), (4,), (4,)], "Add:2"),
    case(layers.Subtract, TWO, "Sub:1"),
    case(layers.Multiply, [(5, 4, 3), (5, 4, 1)], "Mul:1"),
    case(layers.Average, [(5, 4), (5, 4), (5, 4)], "Add:2,Div:1"),
    case(layers.Maximum, TWO, "Max:1"),
    case(layers.Minimum, TWO, "Min:1"),
    case(lambda xs: ops.divide(xs[0], ops.exp(xs[1])), TWO, "Div:1,Exp:1"),
    case(lambda xs: ops.power(ops.abs(xs[0]), xs[1]), TWO, "Abs:1,Pow:1"),
    case(lambda xs: ops.mod(xs[0], ops.abs(xs[1]) + 0.5), TWO, "Abs:1,Add:1,Div:1,Floor:1,Mul:1,Sub:1"),
    case(lambda xs: ops.floor_divide(xs[0], ops.abs(xs[1]) + 0.5), TWO, "Abs:1,Add:1,Div:1,Floor:1"),
    case(lambda x: ops.mod(x, 3), (5,), "Mod:1", dtype="int32"),
    case(lambda x: ops.floor_divide(x, 3), (5,), "Div:1,Mod:1,Sub:1", dtype="int32"),
    case(lambda xs: ops.divide_no_nan(xs[0], ops.relu(xs[1])), TWO, "Div:1,Equal:1,Relu:1,Where:2"),
    case(lambda xs: ops.where(xs[0] > 0.1, xs[0], xs[1]), TWO, "Greater:1,Where:1"),
    case(lambda xs: ops.where(xs[0] > 0.1, 1.0, xs[1]), [(5, 4, 3), (1, 4, 1)], "Greater:1,Where:1"),
    case(lambda xs: ops.cast(xs[0] >= xs[1], "float32"), TWO, "Cast:1,GreaterOrEqual:1"),
    case(lambda xs: ops.logical_and(xs[0] > 0, xs[1] < 0.5), TWO, "And:1,Greater:1,Less:1"),
    case(lambda xs: ops.logical_xor(xs[0] > 0, ops.logical_not(xs[1] > 0)), TWO, "Greater:2,Not:1,Xor:1"),
    case(lambda x: ops.equal(x, 2), (5,), "Equal:1", dtype="int32"),
    case(lambda x: ops.not_equal(x, 2.5), (5,), "Cast:1,Equal:1,Not:1", dtype="int32"),
    case(lambda x: x * 2.0 + 1.0, (5, 4), "Add:1,Mul:1"),
    case(lambda x: 1.0 - x / 3.0, (5, 4), "Div:1,Sub:1"),
    case(lambda x: x + CONSTANT, (4, 3), "Add:1"),
    case(lambda x: ops.clip(x, -0.5, 0.25), (5, 4), "Clip:1"),
    case(lambda x: ops.maximum(x, -0.5), (5, 4), "Max:1"),
    case(lambda x: ops.sqrt(ops.abs(x)), (5, 4), "Abs:1,Sqrt:1"),
    case(lambda x: ops.rsqrt(ops.abs(x) + 0.1), (5, 4), "Abs:1,Add:1,Reciprocal:1,Sqrt:1"),
    case(ops.square, (5, 4), "Mul:1"),
    case(lambda x: x**3, (5, 4), "Pow:1"),
    case(lambda x: ops.log1p(ops.exp(x)), (5, 4), "Add:1,Exp:1,Log:1"),
    case(ops.expm1, (5, 4), "Exp:1,Sub:1"),
    case(lambda x: ops.log2(ops.exp(x)), (5, 4), "Exp:1,Log:1,Mul:1"),
    case(lambda x: ops.floor(x * 3), (5, 4), "Floor:1,Mul:1"),
    case(lambda x: ops.ceil(x * 3), (5, 4), "Ceil:1,Mul:1"),
    case(lambda x: ops.round(x * 3), (5, 4), "Mul:1,Round:1"),
    case(lambda x: ops.round(x, 1), (5, 4), "Div:1,Mul:1,Round:1"),
    case(ops.sign, (5, 4), "Sign:1"),
    case(lambda x: ops.isnan(x / ops.relu(x)), (5, 4), "Div:1,IsNaN:1,Relu:1"),
    case(ops.erf, (5, 4), "Erf:1"),
    case(lambda x: ops.zeros_like(x) + ops.ones_like(x), (5, 4), "Concat:1,Expand:1,Shape:1"),
    case(lambda x: ops.ones_like(ops.log(x)), (5, 4), "Equal:1,Log:1,Where:1"),
    case(lambda x: x * 2.5, (5,), "Cast:1,Mul:1", dtype="int32"),
    case(lambda x: x + True, (5,), "Add:1", dtype="int32"),
    case(lambda x: ops.cast(x, "float32") / 2, (5,), "Cast:1,Div:1", dtype="uint8"),
    case(lambda x: ops.saturate_cast(x * 300, "uint8"), (5,), "Cast:1,Clip:1,Mul:1"),
    case(lambda x: ops.cast(x, "int32"), (5,), "Cast:1"),
    case(layers.Rescaling, (5, 4, 3), "Add:1,Mul:1", scale=1 / 255.0, offset=-0.5),
    case(layers.Rescaling, (5, 4, 3), "Add:1,Mul:1", scale=[1.0, 2.0, 0.5], offset=[0.0, 1.0, -1.0]),
    case(layers.Normalization, (5, 4, 3), "Div:1,Sub:1", mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.5]),
    case(layers.Normalization, (5,), "Add:1,Mul:1", mean=0.5, variance=4.0, invert=True),
    case(layers.GaussianNoise, (5,), "Identity:1", stddev=1.0),
    case(layers.SpatialDropout2D, (5, 4, 3), "Identity:1", rate=0.5),
    case(layers.ActivityRegularization, (5,), "Identity:1", l2=0.1),
    case(layers.Identity, (5, 4), "Identity:1"),
    case(lambda x: ops.maximum(x, 3), (5,), "Cast:2,Max:1", dtype="uint8"),
    case(lambda x: ops.minimum(x, -3), (5,), dtype="uint8"),
    case(lambda x: ops.floor_divide(x - 2, 3), (5,), dtype="int8"),
    case(lambda x: ops.floor_divide(x, -3), (5,), dtype="uint8"),
    case(lambda x: ops.mod(x - 2, -3), (5,), dtype="int32"),
    case(lambda x: ops.round(x * 37, decimals=-1), (5,), dtype="int32"),
    case(lambda x: ops.saturate_cast(x * 100 - 200, "int8"), (5,), dtype="int32"),
    case(Bounded, [(5, 4), (1, 4), (1, 4)], "Abs:1,Add:1,Max:1,Min:1"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize(
    "merge",
    [
        lambda x, v: x * ops.expand_dims(ops.expand_dims(v, 1), 1),
        lambda x, v: v[:, None, None, :] + x,
        lambda x, v: ops.maximum(x, ops.reshape(v, (-1, 1, 1, 4))),
        lambda x, v: ops.where(x > 0, x, ops.reshape(v, (-1, 1, 1, 4))),
        lambda x, v: x + ops.mean(x, axis=(1, 2), keepdims=True),
        lambda x, v: x * ops.mean(x, axis=-1, keepdims=True),
        lambda x, v: x + CONSTANT[:, :1].T.reshape(1, 1, 4),
    ],
)
def test_operands_in_different_orders(merge: Any) -> None:
    image, vector = keras.Input((6, 5, 3), name="image"), keras.Input((4,), name="vector")
    y = merge(layers.Conv2D(4, 3)(image), vector)
    check(randomize(keras.Model([image, vector], layers.Conv2D(2, 1)(y))))


SPECIAL = [
    -np.inf,
    -3.4028235e38,
    -1.0,
    -1e-40,
    -1e-45,
    -0.0,
    0.0,
    1e-45,
    1.1754944e-38,
    0.99999994,
    2.0,
    3e38,
    np.inf,
    np.nan,
]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_nextafter_gives_the_very_next_number(dtype: str) -> None:
    """As the C library has it: of infinities, subnormal numbers, zeros, powers of two, others."""
    rng = np.random.default_rng(0)
    with np.errstate(over="ignore"):
        powers = 2.0 ** rng.integers(-24 if dtype == "float16" else -149, 16 if dtype == "float16" else 128, 400)
        numbers = np.concatenate([np.asarray(SPECIAL), powers, -powers, powers * rng.uniform(1, 2, 400)]).astype(dtype)
        x = np.concatenate([np.repeat(numbers, len(SPECIAL)), np.asarray(SPECIAL, dtype)])
        y = np.concatenate([np.tile(np.asarray(SPECIAL, dtype), len(numbers)), np.asarray(SPECIAL, dtype)])
        expected = np.nextafter(x, y)
    inputs = [keras.Input((1,), dtype=dtype, name=name) for name in "xy"]
    converted = convert_model(keras.Model(inputs, ops.nextafter(*inputs)))
    (found,) = run_session(check_graph(converted))([x[:, None], y[:, None]])
    np.testing.assert_array_equal(found[:, 0], expected)


def test_a_negative_divisor_of_unsigned_numbers() -> None:
    case(lambda x: ops.cast(ops.mod(x, -3), "uint8"), (5,), "Cast:2,Mod:1", dtype="uint8").check()
