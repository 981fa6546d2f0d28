"""Integer products of `model.quantize("int8")`, as float products of integers, which give the same numbers.

Keras 3.15 scales a layer's input by its largest magnitude, rounds it to int8, multiplies int8 by int8 into int32 and
divides by the scales. Neither int8 constants nor MatMulInteger can be built by TensorRT, but float32 holds every
integer up to 2**24: a product whose sums stay below that is exact in any order of summation, and a kernel whose sums
do not is taken apart.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import KerasTensor

from converters.builder import Array, Builder, Tensor
from converters.keras_internals import numpy as knp
from deploy.errors import ConversionError

Lowering = Callable[..., Tensor]

EXACT = 2**24
"""float32 holds every integer up to this one (24 bits of significand, IEEE 754)."""

_FLOAT = "integers as floats"
"""Where a value of integers remembers (in `ir.Value.meta`, which is never written) the float value it was cast from."""


def as_float(x: Tensor) -> Tensor | None:
    """The float tensor that an integer tensor is an exact copy of, or None."""
    value = x.value.meta.get(_FLOAT)
    return None if value is None else Tensor(value, x.order)


def remember(x: Tensor, integers: Tensor) -> None:
    """Notes that ``integers`` was cast from ``x``, where ``x`` is rounded and within int8 already."""
    if integers.dtype != np.int8 or x.dtype.kind != "f":
        return
    clip = x.value.producer()
    bounds = [] if clip is None or clip.op_type != "Clip" else [b.const_value for b in clip.inputs[1:] if b is not None]
    if clip is None or len(bounds) != 2 or any(b is None for b in bounds):
        return
    low, high = (float(b.numpy()) for b in bounds if b is not None)
    rounded = clip.inputs[0].producer() if clip.inputs[0] is not None else None
    if rounded is not None and rounded.op_type == "Round" and low >= -128 and high <= 127 and low % 1 == high % 1 == 0:
        integers.value.meta[_FLOAT] = x.value


def from_floats(lowering: Lowering) -> Lowering:
    """A lowering that looks up values as it was, but of int8 ones: from a float32 table, cast to int8 after that."""

    @functools.wraps(lowering)
    def function(g: Builder, op: Any, table: Any, *args: Any) -> Tensor:
        if str(getattr(table, "dtype", "")) != "int8":
            return lowering(g, op, table, *args)
        floats = as_float(table) if isinstance(table, Tensor) else np.asarray(table, np.float32)
        if floats is None:
            return lowering(g, op, table, *args)
        outputs, g.outputs = g.outputs, KerasTensor(g.out.shape, "float32")
        found = lowering(g, op, floats, *args)
        g.outputs = outputs
        return _cast(g, found, ir.DataType.INT8)

    return function


def _cast(g: Builder, floats: Tensor, dtype: ir.DataType) -> Tensor:
    """Floats that hold integers, as integers that remember them."""
    integers = Tensor(g.op("Cast", floats.value, to=int(dtype)), floats.order)
    integers.value.meta[_FLOAT] = floats.value
    return integers


def by_floats(lowering: Lowering) -> Lowering:
    """A lowering of a product as it was, but of an int8 tensor and an int8 kernel into int32: by float32 products."""

    @functools.wraps(lowering)
    def function(g: Builder, op: Any, *operands: Any) -> Tensor:
        integers = g.out.dtype == "int32" and len(operands) == 2 and all(str(x.dtype) == "int8" for x in operands)
        if not integers or not isinstance(operands[0], Tensor) or isinstance(operands[1], Tensor):
            kind = np.dtype(g.out.dtype)  # int8 weights of float inputs are floats by now, not at run time
            return lowering(g, op, *(x if isinstance(x, Tensor) else np.asarray(x, kind) for x in operands))
        x, kernel = operands
        floats = as_float(x) or x
        if floats.dtype != np.float32:
            floats = Tensor(g.op("Cast", floats.value, to=int(ir.DataType.FLOAT)), floats.order)
        g.outputs = KerasTensor(g.out.shape, "float32")
        return _product(g, op, lowering, floats, np.asarray(kernel, np.int32))

    return function


def _product(g: Builder, op: Any, lowering: Lowering, x: Tensor, kernel: Array) -> Tensor:
    """int32; the upper and lower bits of the kernel apart where a sum could leave what float32 holds."""
    magnitude = np.abs(kernel)
    if 128 * magnitude.sum(_summed(op), dtype=np.int64).max(initial=0) <= EXACT:
        floats = lowering(g, op, x, kernel.astype(np.float32))
        return _cast(g, floats, ir.DataType.INT32)
    shift = int(magnitude.max()).bit_length() // 2
    if not shift:
        raise ConversionError(
            "a sum of more than 131,072 int8 products is inexact",
            where=g.where,
            fix="split the layer's inputs, or leave the layer unquantized",
        )
    upper, lower = (_product(g, op, lowering, x, part) for part in (kernel >> shift, kernel & ((1 << shift) - 1)))
    scaled = g.op("Mul", upper.value, np.asarray(1 << shift, np.int32))
    return Tensor(g.op("Add", scaled, g.arrange(lower, upper.order).value), upper.order)


def _summed(op: Any) -> tuple[int, ...]:
    """The axes of the kernel, the second operand, that are summed over."""
    if not isinstance(op, knp.Einsum):
        return (-2,)
    operands, _, out = op.subscripts.replace(" ", "").partition("->")
    return tuple(axis for axis, letter in enumerate(operands.split(",")[1]) if letter not in out)
