"""Fake quantization: a QuantizeLinear and a DequantizeLinear, or the arithmetic of more than eight bits."""

from __future__ import annotations

import numpy as np

from converters.builder import Builder, Tensor
from converters.fake_quantization import FakeQuantize, along
from converters.registry import lowers


@lowers(FakeQuantize)
def fake_quantize(g: Builder, op: FakeQuantize, x: Tensor) -> Tensor:
    """Eight bits or fewer: QuantizeLinear and DequantizeLinear, to INT8 with zero point 0 where the grid has its
    middle there. More: the arithmetic.
    """
    first, last = (bound - op.zero for bound in (op.low, op.high))
    axis = None if op.axis is None else x.axis(op.axis)
    if (first >= -128).all() and (last <= 127).all():
        dtype, zero, low, high = "int8", np.zeros_like(op.zero), -128, 127
    elif op.low >= 0 and op.high <= 255:
        dtype, zero, low, high = "uint8", op.zero, 0, 255
    else:
        return _arithmetic(g, op, x, axis)
    value = x.value
    if (first != low - zero).any():
        value = g.op("Max", value, along(first * op.scale, axis, x.rank).astype(x.dtype))
    if (last != high - zero).any():
        value = g.op("Min", value, along(last * op.scale, axis, x.rank).astype(x.dtype))
    grid = op.scale.astype(x.dtype), zero.astype(dtype)
    attributes = {} if axis is None else {"axis": axis}
    integers = g.op("QuantizeLinear", value, *grid, **attributes)
    return Tensor(g.op("DequantizeLinear", integers, *grid, **attributes), x.order)


def _arithmetic(g: Builder, op: FakeQuantize, x: Tensor, axis: int | None) -> Tensor:
    scale, low, high = (
        along(array, axis, x.rank).astype(x.dtype) for array in (op.scale, op.low - op.zero, op.high - op.zero)
    )
    steps = g.op("Round", g.op("Div", x.value, scale))
    return Tensor(g.op("Mul", g.op("Min", g.op("Max", steps, low), high), scale), x.order)
