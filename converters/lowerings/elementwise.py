"""Arithmetic, comparisons, logic, casts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converters.builder import Builder, Tensor
from converters.keras_internals import core
from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import Operand, as_tensor, cast, elementwise, promoted, select, unary, wider
from converters.registry import lowers
from deploy.errors import ConversionError

_ARITHMETIC = {
    knp.Add: "Add",
    knp.Subtract: "Sub",
    knp.Multiply: "Mul",
    knp.Maximum: "Max",
    knp.Minimum: "Min",
    knp.Divide: "Div",
    knp.TrueDivide: "Div",
}
_OF_BOOLEANS = {"Add": "Or", "Mul": "And", "Max": "Or", "Min": "And"}
_COMPARISONS = {
    knp.Equal: "Equal",
    knp.Greater: "Greater",
    knp.GreaterEqual: "GreaterOrEqual",
    knp.Less: "Less",
    knp.LessEqual: "LessOrEqual",
}
_LOGIC = {knp.LogicalAnd: "And", knp.LogicalOr: "Or", knp.LogicalXor: "Xor"}
_BITS = {knp.BitwiseAnd: "BitwiseAnd", knp.BitwiseOr: "BitwiseOr", knp.BitwiseXor: "BitwiseXor"}
_UNARY_FLOAT = {
    knp.Exp: "Exp",
    knp.Log: "Log",
    knp.Sqrt: "Sqrt",
    knp.Tanh: "Tanh",
    knp.Sin: "Sin",
    knp.Cos: "Cos",
    knp.Tan: "Tan",
    knp.Arcsin: "Asin",
    knp.Arccos: "Acos",
    knp.Arctan: "Atan",
    knp.Sinh: "Sinh",
    knp.Cosh: "Cosh",
    knp.Arcsinh: "Asinh",
    knp.Arccosh: "Acosh",
    knp.Arctanh: "Atanh",
    knp.Reciprocal: "Reciprocal",
    kmath.Erf: "Erf",
}
_UNARY = {
    knp.Abs: "Abs",
    knp.Absolute: "Abs",
    knp.Negative: "Neg",
    knp.Sign: "Sign",
    knp.Floor: "Floor",
    knp.Ceil: "Ceil",
    knp.Round: "Round",
}


@lowers(*_ARITHMETIC)
def arithmetic(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    op_type = _ARITHMETIC[type(op)]
    return elementwise(
        g, _OF_BOOLEANS.get(op_type, op_type) if g.out.dtype == "bool" else op_type, x1, x2, dtype=g.out.dtype
    )


@lowers(*_COMPARISONS)
def comparison(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    return elementwise(g, _COMPARISONS[type(op)], x1, x2)


@lowers(knp.NotEqual)
def not_equal(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    return unary(g, "Not", elementwise(g, "Equal", x1, x2))


@lowers(*_LOGIC)
def logic(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    return elementwise(g, _LOGIC[type(op)], x1, x2, dtype="bool")


@lowers(knp.LogicalNot)
def logical_not(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Not", cast(g, x, "bool"))


@lowers(*_BITS)
def bitwise(g: Builder, op: Any, x: Operand, y: Operand) -> Tensor:
    return elementwise(g, _BITS[type(op)], x, y, dtype=g.out.dtype)


@lowers(knp.BitwiseNot, knp.BitwiseInvert)
def bitwise_not(g: Builder, op: Any, x: Tensor) -> Tensor:
    """-1 - x in two's complement, the largest number minus x without a sign; TensorRT has no node for it."""
    if x.dtype.kind == "b":
        return unary(g, "Not", x)
    return elementwise(g, "Sub", np.iinfo(x.dtype).max if x.dtype.kind == "u" else -1, x, dtype=str(x.dtype))


@lowers(*_UNARY_FLOAT)
def unary_float(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, _UNARY_FLOAT[type(op)], cast(g, x, g.out.dtype))


@lowers(*_UNARY)
def unary_any(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Round is to the nearest even number, in Keras as in ONNX."""
    decimals = getattr(op, "decimals", 0)
    whole = x.dtype.kind != "f"
    if x.dtype.kind == "b" or (whole and decimals >= 0 and _UNARY[type(op)] in ("Round", "Floor", "Ceil")):
        return cast(g, x, g.out.dtype)
    if decimals:
        power = 10.0**decimals
        scaled = elementwise(g, "Mul", cast(g, x, "float32" if whole else str(x.dtype)), power)
        return cast(g, elementwise(g, "Div", unary(g, "Round", scaled), power), g.out.dtype)
    return cast(g, unary(g, _UNARY[type(op)], cast(g, x, wider(str(x.dtype)))), g.out.dtype)


@lowers(knp.Square)
def square(g: Builder, op: Any, x: Tensor) -> Tensor:
    x = cast(g, x, g.out.dtype)
    return Tensor(g.op("Mul", x.value, x.value), x.order)


@lowers(kmath.Rsqrt)
def rsqrt(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Reciprocal", unary(g, "Sqrt", cast(g, x, g.out.dtype)))


@lowers(knp.Log1p)
def log1p(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Log", elementwise(g, "Add", cast(g, x, g.out.dtype), 1.0))


@lowers(knp.Expm1)
def expm1(g: Builder, op: Any, x: Tensor) -> Tensor:
    return elementwise(g, "Sub", unary(g, "Exp", cast(g, x, g.out.dtype)), 1.0)


@lowers(knp.Log2, knp.Log10)
def log_base(g: Builder, op: Any, x: Tensor) -> Tensor:
    base = 2.0 if isinstance(op, knp.Log2) else 10.0
    return elementwise(g, "Mul", unary(g, "Log", cast(g, x, g.out.dtype)), 1.0 / math.log(base))


@lowers(knp.Power)
def power(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    if not isinstance(x2, Tensor) and np.ndim(x2) == 0 and isinstance(x1, Tensor):
        if float(x2) == 2.0:
            return square(g, op, x1)
        if float(x2) == 0.5:
            return unary(g, "Sqrt", cast(g, x1, g.out.dtype))
        if float(x2) == -0.5:
            return rsqrt(g, op, x1)
    return elementwise(g, "Pow", x1, x2, dtype=g.out.dtype)


@lowers(knp.Mod)
def mod(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Keras's mod has the sign of the divisor, as ONNX's integer Mod has; for floats it is x1 - floor(x1 / x2) * x2."""
    if np.dtype(g.out.dtype).kind in "iu":
        beyond = np.dtype(g.out.dtype).kind == "u" and not isinstance(x2, Tensor) and np.any(np.asarray(x2) < 0)
        return cast(g, elementwise(g, "Mod", x1, x2, dtype="int32" if beyond else g.out.dtype), g.out.dtype)
    whole = unary(g, "Floor", elementwise(g, "Div", x1, x2, dtype=g.out.dtype))
    return elementwise(g, "Sub", x1, elementwise(g, "Mul", whole, x2, dtype=g.out.dtype), dtype=g.out.dtype)


@lowers(knp.Nextafter)
def nextafter(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """The next number of the result's dtype, as Keras's other backends have it.

    (Its TensorFlow backend takes the next one of float64 and rounds, which gives the first argument again.)

    Computed in a dtype with at least 13 bits more, where |x1| times 5/8 of the spacing of 1 (but at least the smallest
    number) is more than half and less than 3/2 of each step upwards and of each downwards, that below a power of two
    too; rounding then finds the neighbour. Infinity stands for the number behind the largest. A zero may lose its sign.
    """
    dtype = g.out.dtype
    if dtype not in ("float16", "float32"):
        raise ConversionError(
            f"the next number of {dtype} is not found in a wider dtype", where=g.where, fix="cast it to float32 before"
        )
    wide = "float32" if dtype == "float16" else "float64"
    info = np.finfo(dtype)
    limit = 2.0 ** int(info.maxexp)
    x, target = (
        elementwise(g, "Max", elementwise(g, "Min", cast(g, as_tensor(g, v, None), wide), limit), -limit)
        for v in (x1, x2)
    )
    step = elementwise(g, "Mul", unary(g, "Abs", x), float(info.eps) * 0.625)
    step = elementwise(g, "Max", step, float(info.smallest_subnormal))
    signed = elementwise(g, "Mul", unary(g, "Sign", elementwise(g, "Sub", target, x)), step)
    return cast(g, elementwise(g, "Add", x, signed), dtype)


@lowers(knp.FloorDivide)
def floor_divide(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    dtype = g.out.dtype
    if np.dtype(dtype).kind == "f":
        return unary(g, "Floor", elementwise(g, "Div", x1, x2, dtype=dtype))
    if np.dtype(dtype).kind != "i":
        return elementwise(g, "Div", x1, x2, dtype=dtype)
    rest = elementwise(g, "Mod", x1, x2, dtype=dtype)  # with the sign of the divisor, so that nothing is left to round
    return elementwise(g, "Div", elementwise(g, "Sub", x1, rest, dtype=dtype), x2, dtype=dtype)


@lowers(knp.DivideNoNan)
def divide_no_nan(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    dtype = g.out.dtype
    zero = elementwise(g, "Equal", x2, 0, dtype=dtype)
    quotient = elementwise(g, "Div", x1, select(g, zero, 1, x2, dtype), dtype=dtype)
    return select(g, zero, 0, quotient, dtype)


@lowers(knp.Clip)
def clip(g: Builder, op: Any, x: Tensor) -> Tensor:
    dtype = g.out.dtype
    x = cast(g, x, dtype)
    if np.ndim(op.x_min) or np.ndim(op.x_max) or isinstance(op.x_min, Tensor) or isinstance(op.x_max, Tensor):
        return elementwise(g, "Min", elementwise(g, "Max", x, op.x_min, dtype=dtype), op.x_max, dtype=dtype)
    bounds = [None if bound is None else np.asarray(bound, dtype) for bound in (op.x_min, op.x_max)]
    return Tensor(g.op("Clip", x.value, *bounds), x.order)


@lowers(knp.Where)
def where(g: Builder, op: Any, condition: Operand, x1: Operand, x2: Operand) -> Tensor:
    return select(g, condition, x1, x2, g.out.dtype)


@lowers(core.Cast)
def cast_operation(g: Builder, op: Any, x: Operand) -> Tensor:
    return cast(g, as_tensor(g, x), op.dtype)


@lowers(core.ConvertToTensor, core.StopGradient, knp.Copy, knp.Array)
def same(g: Builder, op: Any, x: Operand) -> Tensor:
    return cast(g, as_tensor(g, x), g.out.dtype)


@lowers(core.SaturateCast)
def saturate_cast(g: Builder, op: Any, x: Tensor) -> Tensor:
    limits = {}
    for dtype in (x.dtype, np.dtype(op.dtype)):
        info: Any = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype) if dtype.kind in "iu" else None
        limits[dtype] = (float(info.min), float(info.max)) if info else (-math.inf, math.inf)
    (low, high), (least, most) = limits[x.dtype], limits[np.dtype(op.dtype)]
    if least > low or most < high:
        x = cast(g, x, wider(str(x.dtype)))
        bounds = [np.asarray(max(low, least)).astype(x.dtype), np.asarray(min(high, most)).astype(x.dtype)]
        x = Tensor(g.op("Clip", x.value, *bounds), x.order)
    return cast(g, x, op.dtype)


@lowers(knp.Isnan)
def is_nan(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "IsNaN", cast(g, x, promoted(x, 1.0)))


@lowers(knp.ZerosLike, knp.OnesLike)
def constant_like(g: Builder, op: Any, x: Tensor) -> Tensor:
    number = 1 if isinstance(op, knp.OnesLike) else 0
    sizes = [size for size in x.shape if size is not None]
    if len(sizes) < x.rank:  # Where has the shape of its condition, whatever x holds (x * 0 would keep a NaN)
        return select(g, elementwise(g, "Equal", x, x), number, number, g.out.dtype)
    return as_tensor(g, np.full(sizes, number, g.out.dtype))
