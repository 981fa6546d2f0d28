"""Elementwise operations that open to others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from keras import KerasTensor, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Array, Case, case, parametrize

TWO = [(5, 4), (5, 4)]
SPECIAL = np.asarray([math.nan, math.inf, -math.inf, 0.0, -0.0], np.float32)


def with_special(x: KerasTensor) -> Any:
    """A sixth to tenth column with the special values."""
    return ops.concatenate([x, ops.add(ops.zeros_like(x), SPECIAL)], axis=-1)


CASES = [
    case(lambda xs: ops.arctan2(xs[0], xs[1]), TWO),
    case(lambda x: ops.arctan2(x, 1 - x), (5,), dtype="int32"),
    case(ops.cbrt, (5, 4)),
    case(ops.deg2rad, (5, 4), "Mul:1"),
    case(ops.rad2deg, (5, 4), "Mul:1"),
    case(ops.exp2, (5, 4), "Pow:1"),
    case(ops.exp2, (5,), "Cast:1,Pow:1", dtype="int32"),
    case(ops.fabs, (5,), dtype="int32"),
    case(lambda x: ops.fmax(with_special(x), 0.3), (5,)),
    case(lambda x: ops.fmin(0.3, with_special(x)), (5,)),
    case(lambda xs: ops.fmax(xs[0], xs[1]), TWO, "Max:1", dtype="int32"),
    case(lambda xs: ops.fmod(xs[0], xs[1] * 0.3), TWO),
    case(lambda x: ops.fmod(x - 3, 3), (5,), dtype="int32"),
    case(lambda xs: ops.heaviside(ops.round(xs[0]), xs[1]), TWO),
    case(lambda x: ops.heaviside(x - 2, ops.cast(5, "int32")), (4,), dtype="int32"),
    case(lambda xs: ops.hypot(xs[0], xs[1]), TWO),
    case(lambda x: ops.isclose(with_special(x), with_special(x), equal_nan=True), (5,)),
    case(lambda xs: ops.isclose(xs[0], xs[1], rtol=0.5, atol=0.1), TWO),
    case(lambda x: ops.isclose(x, 2), (5,), "Equal:1", dtype="int32"),
    case(lambda xs: ops.allclose(xs[0], xs[1], rtol=0.5), TWO),
    case(lambda x: ops.isfinite(with_special(x)), (5,), "Abs:1,Add:1,Less:1,Pad:1"),
    case(lambda x: ops.isinf(with_special(x)), (5,)),
    case(lambda x: ops.isposinf(with_special(x)), (5,)),
    case(lambda x: ops.isneginf(with_special(x)), (5,)),
    case(ops.isfinite, (5,), dtype="int32"),
    case(ops.isreal, (5,)),
    case(lambda x: ops.real(x) + ops.imag(x) + ops.conj(x), (5,)),
    case(ops.angle, (5,)),
    case(lambda xs: ops.ldexp(xs[0], ops.cast(xs[1], "int32")), TWO),
    case(lambda xs: ops.logaddexp(xs[0], xs[1]), TWO),
    case(lambda x: ops.logaddexp(with_special(x), 0.5), (5,)),
    case(lambda xs: ops.logaddexp2(xs[0], xs[1]), TWO),
    case(lambda x: ops.nan_to_num(with_special(x)), (5,)),
    case(lambda x: ops.nan_to_num(with_special(x), nan=1.0, posinf=2.0, neginf=-3.0), (5,)),
    case(ops.nan_to_num, (5,), "Identity:1", dtype="int32"),
    case(lambda xs: ops.select([xs[0] > 0.5, xs[1] > 0], [xs[0], xs[1] * 2], 7.0), TWO),
    case(lambda x: ops.signbit(with_special(x)), (5,)),
    case(lambda x: ops.signbit(x - 2), (5,), dtype="int32"),
    case(lambda x: ops.sinc(ops.round(x * 2) / 2), (5, 4)),
    case(lambda x: ops.trunc(x * 3), (5, 4)),
    case(ops.trunc, (5,), "Identity:1", dtype="int32"),
    case(ops.erfc, (5, 4), "Erf:1,Sub:1"),
    case(lambda x: ops.erfinv(ops.tanh(x)), (5, 4)),
    case(lambda x: ops.erfinv(ops.clip(x * 3, -1, 1)), (5, 4)),
    case(lambda x: ops.i0(x * 4), (5, 4)),
    case(lambda xs: ops.left_shift(xs[0], xs[1]), TWO, dtype="int32"),
    case(lambda xs: ops.right_shift(xs[0] * 9 - 20, xs[1]), TWO, dtype="int32"),
    case(lambda x: ops.bitwise_left_shift(x, 3), (5,), dtype="uint8"),
    case(lambda x: ops.bitwise_and(x, ops.cast(6, "int32")), (5,), "BitwiseAnd:1", dtype="int32"),
    case(lambda xs: ops.bitwise_or(xs[0], xs[1]), TWO, "BitwiseOr:1", dtype="uint8"),
    case(lambda xs: ops.bitwise_xor(xs[0] - 2, xs[1]), TWO, dtype="int32"),
    case(ops.bitwise_not, (5,), "Sub:1", dtype="int32"),
    case(ops.bitwise_invert, (5,), dtype="uint8"),
    case(lambda x: ops.view(x - 2, "uint32"), (5,), dtype="int32"),
    case(ops.view, (5,)),
    case(lambda x: ops.view(x * 9000 - 20000, "int8"), (3, 4), dtype="int16"),
    case(lambda x: ops.view(x * 9000 - 20000, "uint8"), (4,), dtype="int32"),
    case(lambda x: ops.view(ops.cast(x * 90 - 200, "int8"), "int32"), (3, 8), dtype="int32"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_bits_of_a_float_are_refused() -> None:
    with pytest.raises(ConversionError, match="ONNX cannot look at the bits of float32 as int32"):
        convert_model(Case(lambda x: ops.view(x, "int32"), (5,)).model())


def test_special_values_are_what_they_are_said_to_be() -> None:
    found: Array = ops.convert_to_numpy(with_special(np.zeros((1, 5), np.float32)))
    np.testing.assert_array_equal(found[0, 5:], SPECIAL)
