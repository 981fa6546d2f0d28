"""Matrix products: Dense layers become Gemm, or a 1x1 Conv where the value lies channels-first."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.keras_internals import numpy as knp
from converters.lowering import Builder, Tensor
from converters.lowerings.broadcasting import Operand, as_tensor, cast
from converters.lowerings.quantized import by_floats
from converters.registry import lowers


@lowers(knp.Matmul, knp.Dot)
@by_floats
def matmul(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    dtype = g.out.dtype
    if isinstance(x1, Tensor) and not isinstance(x2, Tensor) and np.ndim(x2) == 2:
        return dense(g, cast(g, x1, dtype), np.asarray(x2, dtype))
    a, b = (g.identity(cast(g, as_tensor(g, x), dtype)) for x in (x1, x2))
    value = g.op("MatMul", a.value, b.value)
    return Tensor(value, layout.identity(len(g.out.shape)))


def dense(g: Builder, x: Tensor, kernel: np.ndarray[Any, Any]) -> Tensor:
    """X @ kernel over the last logical axis.

    A value of rank 3 to 5 that lies (batch, channel, spatial…) gets a 1x1 Conv, so nothing has to move; else a MatMul.
    """
    channels_first = layout.channels_first(x.rank, x.rank - 1) if x.rank > 1 else ()
    if 3 <= x.rank <= 5 and x.order == channels_first:
        ones = (1,) * (x.rank - 2)
        weights = kernel.T.reshape(*kernel.T.shape, *ones)
        return Tensor(g.op("Conv", x.value, g.constant(weights, "kernel"), kernel_shape=list(ones)), x.order)
    x = g.identity(x)
    return Tensor(g.op("MatMul", x.value, g.constant(kernel, "kernel")), x.order)


@lowers(knp.Einsum)
@by_floats
def einsum(g: Builder, op: Any, *operands: Operand) -> Tensor:
    """ONNX's Einsum takes the same equation (without spaces); an EinsumDense that is a plain product is a MatMul."""
    equation = op.subscripts.replace(" ", "")
    dtype = g.out.dtype
    if len(operands) == 2 and isinstance(operands[0], Tensor) and not isinstance(operands[1], Tensor):
        kernel = np.asarray(operands[1], dtype)
        left, _, rest = equation.partition(",")
        right, _, result = rest.partition("->")
        if kernel.ndim == 2 and left[-1:] == right[0] and result == left[:-1] + right[1] and right[1] not in left:
            return dense(g, cast(g, operands[0], dtype), kernel)
    values = [g.identity(cast(g, as_tensor(g, x), dtype)).value for x in operands]
    return Tensor(g.op("Einsum", *values, equation=equation), layout.identity(len(g.out.shape)))
