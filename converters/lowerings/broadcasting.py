"""Elementwise operations over values in different orders, and casts: what many lowerings share."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from keras import backend

from converters import layout
from converters.builder import Array, Builder, Tensor, elements
from converters.layout import Order
from converters.lowering import refuse_dtype
from converters.lowerings import quantized
from deploy.errors import ConversionError

Operand = Tensor | Array | float | int | bool


def cast(g: Builder, x: Tensor, dtype: str) -> Tensor:
    """The tensor in another dtype; no node where it has it. Raises ConversionError for text and complex numbers."""
    refuse_dtype(dtype, g.where)
    kind = np.dtype(dtype)
    if x.dtype == kind:
        return x
    floats = quantized.as_float(x) if kind.kind == "f" else None
    if floats is not None:
        return cast(g, floats, dtype)
    if kind.name.startswith("float8") and g.opset < 19:
        raise ConversionError(
            f"{kind.name} needs opset 19", where=g.where, found=f"opset {g.opset}", fix="leave --opset away"
        )
    result = Tensor(g.op("Cast", x.value, to=int(ir.DataType.from_numpy(kind))), x.order)
    quantized.remember(x, result)
    return result


def promoted(*operands: Operand) -> str:
    """The dtype Keras gives to an operation on these operands (Python scalars take the other's)."""
    return str(backend.result_type(*(_kind(x) for x in operands)))


def _kind(x: Operand) -> Any:
    return type(x) if isinstance(x, bool | int | float) else str(x.dtype)


def broadcast(g: Builder, *operands: Operand, dtype: str | None = None) -> tuple[list[ir.Value | Array], Order]:
    """Operands brought to one dtype, rank and order, ready for an elementwise node, and that order.

    The order is that of the largest operand of full rank; constants are permuted now, not at run time.
    """
    dtype = dtype or promoted(*operands)
    order = common_order(*operands)
    return [arranged(g, x, order, dtype) for x in operands], order


def common_order(*operands: Operand) -> Order:
    """The order of the largest operand of full rank.

    Of several equally large ones it is that of the order that more will follow in. Sequences (batch, time, channel) lie
    as Keras has them: where a convolution's output meets what matrix products and layer normalizations made, more of
    these come. Images lie as the convolutions have them.
    """
    tensors = [x for x in operands if isinstance(x, Tensor)]
    rank = max([x.rank for x in tensors] + [np.ndim(x) for x in operands if not isinstance(x, Tensor)])
    full = [x for x in tensors if x.rank == rank]
    plain = layout.identity(rank)
    return max(full, key=lambda x: (elements(x.shape), (x.order == plain) == (rank == 3))).order if full else plain


def arranged(g: Builder, x: Operand, order: Order, dtype: str) -> ir.Value | Array:
    """An operand in a dtype and an order of at least its rank, ready for an elementwise node."""
    rank = len(order)
    if not isinstance(x, Tensor):
        array = np.asarray(x).astype(dtype)
        if array.ndim == 0:
            return array
        return array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order)
    x = cast(g, x, dtype)
    if 0 < x.rank < rank:
        lead = rank - x.rank
        if order == (*range(lead), *(axis + lead for axis in x.order)):
            return x.value  # ONNX broadcasts leading axes as numpy does
        padded = (1,) * lead + x.shape
        x = g.reshape(x, padded)
    return g.arrange(x, order).value if x.rank else x.value


_WIDER = {"int8": "int32", "uint8": "int32", "int16": "int32", "uint16": "int32", "uint32": "int64"}


def wider(dtype: str) -> str:
    """The integer dtype that arithmetic on a small one is done in: neither ONNX Runtime nor TensorRT has it in that."""
    return _WIDER.get(dtype, dtype)


def elementwise(g: Builder, op_type: str, *operands: Operand, dtype: str | None = None) -> Tensor:
    """One elementwise node over broadcast operands (``dtype``: that of the operands, the promoted one unless given).

    Small integers are computed in a wider dtype and cast back, which is their overflow.
    """
    dtype = dtype or promoted(*operands)
    wide = dtype if op_type.startswith("Bitwise") else wider(dtype)
    if wide != dtype and not op_type.startswith(("Greater", "Less")):  # a number beyond the small dtype overflows first
        operands = tuple(x if isinstance(x, Tensor) else np.asarray(x).astype(dtype) for x in operands)
    values, order = broadcast(g, *operands, dtype=wide)
    y = Tensor(g.op(op_type, *values), order)
    return y if y.dtype.kind == "b" else cast(g, y, dtype)


def unary(g: Builder, op_type: str, x: Tensor, **attributes: Any) -> Tensor:
    """One node that maps each element, in whatever order the tensor has."""
    return Tensor(g.op(op_type, x.value, **attributes), x.order)


def select(g: Builder, condition: Operand, x1: Operand, x2: Operand, dtype: str) -> Tensor:
    """Where over operands in any order: the branches are brought to one dtype, the condition to booleans."""
    wide = "int32" if dtype == "bool" else wider(dtype)
    if wide != dtype:
        return cast(g, select(g, condition, x1, x2, wide), dtype)
    order = common_order(condition, x1, x2)
    operands = zip((condition, x1, x2), ("bool", dtype, dtype), strict=True)
    return Tensor(g.op("Where", *(arranged(g, x, order, kind) for x, kind in operands)), order)


def as_tensor(g: Builder, x: Operand, dtype: str | None = None) -> Tensor:
    """A constant as a tensor of the graph."""
    if isinstance(x, Tensor):
        return x
    array = np.asarray(x, dtype)
    return Tensor(g.constant(array), layout.identity(array.ndim))


def constant_of(g: Builder, x: Any, what: str) -> Array:
    """The numpy array of an argument that must be known at conversion; ConversionError where it is computed."""
    if isinstance(x, Tensor):
        raise ConversionError(
            f"{what} is computed by the model, but must be a constant",
            where=g.where,
            fix="make it a weight or a Python value",
        )
    return np.asarray(x)
