"""Elementwise operations that ONNX has no node for. Formulas are those of Keras's TensorFlow backend unless named."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.openings.common import cast, dtype_of, floats, is_float, known, promoted, same
from converters.registry import opens
from deploy.errors import ConversionError


@opens(knp.Arctan2)
def arctan2(op: Any, x1: Any, x2: Any) -> Any:
    """The angle of the point (x2, x1): arctan(x1 / x2), half a turn further where x2 < 0."""
    y, x = floats(x1, x2)
    endless = ops.logical_and(ops.isinf(x), ops.isinf(y))
    y, x = (ops.where(endless, ops.sign(v), v) for v in (y, x))
    angle = ops.arctan(ops.divide(y, x))
    turned = ops.where(ops.signbit(x), ops.add(angle, ops.where(ops.signbit(y), -math.pi, math.pi)), angle)
    upright = ops.multiply(ops.sign(y), math.pi / 2)
    return ops.where(ops.logical_and(ops.equal(x, 0), ops.not_equal(y, 0)), upright, _at_origin(turned, x, y))


def _at_origin(angle: Any, x: Any, y: Any) -> Any:
    """The angle, and where both are zeros what their signs say."""
    half = ops.where(ops.signbit(x), cast(math.pi, dtype_of(x)), 0.0)
    return ops.where(ops.logical_and(ops.equal(x, 0), ops.equal(y, 0)), ops.where(ops.signbit(y), -half, half), angle)


@opens(knp.Cbrt)
def cbrt(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return ops.multiply(ops.sign(x), ops.power(ops.abs(x), 1.0 / 3.0))


@opens(knp.Deg2rad, knp.Rad2deg)
def degrees(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return ops.multiply(x, math.pi / 180 if isinstance(op, knp.Deg2rad) else 180 / math.pi)


@opens(knp.Exp2)
def exp2(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return ops.power(cast(2.0, dtype_of(x)), x)


@opens(knp.Fabs)
def fabs(op: Any, x: Any) -> Any:
    return ops.abs(floats(x)[0])


@opens(knp.Fmax, knp.Fmin)
def ignoring_nan(op: Any, x1: Any, x2: Any) -> Any:
    """The larger or smaller one; the other where one is not a number."""
    x1, x2 = same(x1, x2)
    y = (ops.maximum if isinstance(op, knp.Fmax) else ops.minimum)(x1, x2)
    if not is_float(y):
        return y
    return ops.where(ops.isnan(x1), x2, ops.where(ops.isnan(x2), x1, y))


@opens(knp.Fmod)
def fmod(op: Any, x1: Any, x2: Any) -> Any:
    """The remainder with the sign of the dividend."""
    x1, x2 = same(x1, x2)
    return ops.multiply(ops.sign(x1), ops.mod(ops.abs(x1), ops.abs(x2)))


@opens(knp.Heaviside)
def heaviside(op: Any, x1: Any, x2: Any) -> Any:
    x1, x2 = floats(x1, x2)
    return ops.where(ops.less(x1, 0), 0.0, ops.where(ops.greater(x1, 0), 1.0, x2))


@opens(knp.Hypot)
def hypot(op: Any, x1: Any, x2: Any) -> Any:
    """The larger one times sqrt(1 + ratio^2), which does not overflow."""
    x1, x2 = (ops.abs(x) for x in floats(x1, x2))
    high = ops.maximum(x1, x2)
    ratio = ops.divide_no_nan(ops.minimum(x1, x2), high)
    return ops.multiply(high, ops.sqrt(ops.add(ops.square(ratio), 1.0)))


@opens(knp.Isclose)
def isclose(op: Any, x1: Any, x2: Any, rtol: Any = 1e-5, atol: Any = 1e-8) -> Any:
    x1, x2 = same(x1, x2)
    if not is_float(x1):
        return ops.equal(x1, x2)
    bound = ops.add(ops.multiply(ops.abs(x2), rtol), atol)
    close = ops.less_equal(ops.abs(ops.subtract(x1, x2)), bound)
    return ops.logical_or(close, ops.logical_and(ops.isnan(x1), ops.isnan(x2))) if op.equal_nan else close


@opens(knp.AllClose)
def allclose(op: Any, x1: Any, x2: Any) -> Any:
    return ops.all(ops.isclose(x1, x2, rtol=op.rtol, atol=op.atol, equal_nan=op.equal_nan))


@opens(knp.Isfinite, knp.Isinf, knp.Isposinf, knp.Isneginf)
def infinite(op: Any, x: Any) -> Any:
    """|x| < inf, which not-a-number is not either."""
    if not is_float(x):
        return ops.full_like(x, isinstance(op, knp.Isfinite), dtype="bool")
    if isinstance(op, knp.Isposinf | knp.Isneginf):
        return ops.equal(x, math.inf if isinstance(op, knp.Isposinf) else -math.inf)
    return (ops.less if isinstance(op, knp.Isfinite) else ops.equal)(ops.abs(x), math.inf)


@opens(knp.Isreal)
def isreal(op: Any, x: Any) -> Any:
    return ops.ones_like(x, dtype="bool")


@opens(knp.Real, knp.Conj, knp.Conjugate)
def real(op: Any, x: Any) -> Any:
    """A traced value is never complex."""
    return x


@opens(knp.Imag)
def imag(op: Any, x: Any) -> Any:
    return ops.zeros_like(x)


@opens(knp.Angle)
def angle(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return ops.where(ops.less(x, 0), math.pi, cast(0.0, dtype_of(x)))


@opens(knp.Ldexp)
def ldexp(op: Any, x1: Any, x2: Any) -> Any:
    dtype = promoted(x1, x2, floating=True)
    x1 = cast(x1, dtype)
    y = ops.multiply(x1, ops.power(cast(2.0, dtype), cast(x2, dtype)))
    return ops.where(ops.logical_or(ops.isinf(x1), ops.equal(x1, 0)), x1, y)


@opens(knp.Logaddexp, knp.Logaddexp2)
def logaddexp(op: Any, x1: Any, x2: Any) -> Any:
    """The larger one plus log(1 + base^-|difference|), in the base of the logarithm."""
    x1, x2 = floats(x1, x2)
    difference, scale = ops.subtract(x1, x2), math.log(2.0) if isinstance(op, knp.Logaddexp2) else 1.0
    correction = ops.log1p(ops.exp(ops.multiply(ops.abs(difference), -scale)))
    y = ops.add(ops.maximum(x1, x2), ops.divide(correction, scale) if scale != 1.0 else correction)
    return ops.where(ops.isnan(difference), ops.add(x1, x2), y)


@opens(knp.NanToNum)
def nan_to_num(op: Any, x: Any) -> Any:
    if not is_float(x):
        return x
    limits = np.finfo(dtype_of(x)) if dtype_of(x) != "bfloat16" else np.finfo("float32")
    high = float(limits.max) if op.posinf is None else op.posinf
    low = float(limits.min) if op.neginf is None else op.neginf
    x = ops.where(ops.isnan(x), op.nan, x)
    return ops.where(ops.equal(x, math.inf), high, ops.where(ops.equal(x, -math.inf), low, x))


@opens(knp.Select)
def select(op: Any, condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """The choice of the first condition that holds."""
    dtype = promoted(*choicelist, default)
    y = cast(default, dtype)
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        y = ops.where(condition, cast(choice, dtype), y)
    return y


@opens(knp.Signbit)
def signbit(op: Any, x: Any) -> Any:
    """Below zero, or a negative zero: its reciprocal is -inf."""
    if dtype_of(x) == "bool":
        return ops.zeros_like(x)
    if not is_float(x):
        return ops.less(x, 0)
    return ops.less(ops.where(ops.equal(x, 0), ops.reciprocal(x), x), 0)


@opens(knp.Sinc)
def sinc(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    turned = ops.multiply(x, math.pi)
    return ops.where(ops.equal(x, 0), 1.0, ops.divide(ops.sin(turned), turned))


@opens(knp.Trunc)
def trunc(op: Any, x: Any) -> Any:
    return ops.where(ops.less(x, 0), ops.ceil(x), ops.floor(x)) if is_float(x) else x


@opens(kmath.Erfc)
def erfc(op: Any, x: Any) -> Any:
    return ops.subtract(1.0, ops.erf(x))


_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
            -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
         0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


@opens(kmath.Erfinv)
def erfinv(op: Any, x: Any) -> Any:
    """Giles, "Approximating the erfinv function" (2010): two polynomials in -log(1 - x^2), for single precision."""
    dtype = dtype_of(x)
    x = ops.cast(x, "float32")
    w = ops.negative(ops.log(ops.multiply(ops.subtract(1.0, x), ops.add(1.0, x))))
    near = ops.multiply(_polynomial(_CENTRAL, ops.subtract(w, 2.5)), x)
    far = ops.multiply(_polynomial(_TAIL, ops.subtract(ops.sqrt(w), 3.0)), x)
    y = ops.where(ops.less(w, 5.0), near, far)
    return ops.cast(ops.where(ops.equal(ops.abs(x), 1.0), ops.multiply(x, math.inf), y), dtype)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Horner's rule, highest power first."""
    y: Any = coefficients[0]
    for coefficient in coefficients[1:]:
        y = ops.add(ops.multiply(x, y), coefficient)
    return y


_I0_NEAR = tuple(1.0 / math.factorial(k) ** 2 for k in reversed(range(15)))
_I0_FAR = (0.00392377, -0.01647633, 0.02635537, -0.02057706, 0.00916281, -0.00157565, 0.00225319, 0.01328592,
           0.39894228)  # fmt: skip


@opens(knp.I0)
def i0(op: Any, x: Any) -> Any:
    """The modified Bessel function: its power series in (x / 2)^2 up to 3.75, beyond the polynomial of Abramowitz and
    Stegun 9.8.2 (relative error below 2e-7).
    """
    (x,) = floats(x)
    x = ops.abs(x)
    near = _polynomial(_I0_NEAR, ops.square(ops.multiply(ops.minimum(x, 3.75), 0.5)))
    high = ops.maximum(x, 3.75)
    far = ops.multiply(ops.divide(ops.exp(high), ops.sqrt(high)), _polynomial(_I0_FAR, ops.divide(3.75, high)))
    return ops.where(ops.less(x, 3.75), near, far)


@opens(knp.LeftShift, knp.BitwiseLeftShift)
def left_shift(op: Any, x: Any, y: Any) -> Any:
    """The product of x and 2^y, with the overflow of the dtype."""
    x, y = same(x, y)
    return ops.multiply(x, ops.cast(ops.power(2.0, ops.cast(y, "float32")), dtype_of(x)))


@opens(knp.RightShift, knp.BitwiseRightShift)
def right_shift(op: Any, x: Any, y: Any) -> Any:
    """The quotient of x and 2^y rounded down, as a shift that keeps the sign does."""
    x, y = same(x, y)
    return ops.floor_divide(x, ops.cast(ops.power(2.0, ops.cast(y, "float32")), dtype_of(x)))


@opens(knp.View)
def view(op: Any, x: Any) -> Any:
    """Integers of one size are the same bits; larger ones are taken apart, smaller ones joined, the lowest bits first.

    Of floats it is BitCast, which ONNX has from opset 26 on: newer than what is written here.
    """
    old, new = dtype_of(x), op.dtype or dtype_of(x)
    if old == new:
        return x
    if "int" not in old or "int" not in new:
        raise ConversionError(
            f"ONNX cannot look at the bits of {old} as {new} before its opset 26",
            fix="convert the values with keras.ops.cast, or look at their bits outside of the model",
        )
    size, wanted = np.dtype(old).itemsize, np.dtype(new).itemsize
    if size == wanted:
        return ops.cast(x, new)
    last = known(x.shape[-1], "the last size of a view")
    bits = 8 * min(size, wanted)
    steps = np.asarray([2 ** (bits * i) for i in range(max(size, wanted) // min(size, wanted))], np.int64)
    lead = [-1 if length is None else length for length in x.shape[:-1]]
    x = ops.cast(x, "int64")
    if size > wanted:
        parts = ops.mod(ops.floor_divide(ops.expand_dims(x, -1), steps), np.int64(2**bits))
        return ops.cast(ops.reshape(parts, [*lead, last * len(steps)]), new)
    parts = ops.reshape(ops.mod(x, np.int64(2**bits)), [*lead, last // len(steps), len(steps)])
    return ops.cast(ops.sum(ops.multiply(parts, steps), axis=-1), new)
