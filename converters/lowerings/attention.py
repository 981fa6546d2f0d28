"""Scaled dot-product attention, written as the MatMul, Softmax, MatMul that engines fuse."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters.builder import Builder, Tensor
from converters.keras_internals import nn
from converters.lowerings.broadcasting import Operand, as_tensor, cast, elementwise, select
from converters.lowerings.contraction import Term, contract
from converters.registry import lowers

_LARGEST = {"float16": 65500.0}
_MASKED = -0.7 * 3.38953e38
_HEADS = (0, 2, 1, 3)
"""The order of ONNX's Attention: (batch, head, sequence, size)."""


@lowers(nn.DotProductAttention)
def dot_product_attention(
    g: Builder,
    op: Any,
    query: Operand,
    key: Operand,
    value: Operand,
    bias: Operand | None = None,
    mask: Operand | None = None,
    scale: float | None = None,
) -> Tensor:
    """softmax(query @ key * scale + bias) @ value, Vaswani et al. 2017, as Keras's backends compute it.

    query (B, T, N, H), key and value (B, S, K, H) with K = N, 1 or a divisor of N, bias and mask broadcast to
    (B, N, T, S). Logits are float32 at least. Where the mask is False they are -0.7 times the largest number, so a row
    that is masked as a whole weighs all values alike. `flash_attention` and `attn_logits_soft_cap` choose kernels and
    change nothing in the result.
    """
    dtype = g.out.dtype
    q, k, v = (cast(g, as_tensor(g, x), dtype) for x in (query, key, value))
    if g.opset >= 23 and dtype == "float32":
        whole = _one_node(g, (q, k, v), bias, mask, scale, op.is_causal)
        if whole is not None:
            return whole
    k, v = (_repeated(g, x, q.shape[2]) for x in (k, v))
    factor = 1.0 / float(k.shape[-1] or 1) ** 0.5 if scale is None else float(scale)
    high = "float32" if q.dtype.itemsize < 4 else dtype
    if high == dtype and factor != 1.0:  # smaller than the logits, and mostly part of a projection's weights
        q = elementwise(g, "Mul", q, factor)
    logits = cast(g, contract(g, Term(q, "btnh"), Term(k, "bsnh"), "bnts"), high)
    if high != dtype and factor != 1.0:
        logits = elementwise(g, "Mul", logits, factor)
    if bias is not None:
        logits = elementwise(g, "Add", logits, bias, dtype=high)
    kept = _kept(g, logits, mask, op.is_causal)
    if kept is not None:
        logits = select(g, kept, logits, -0.7 * _LARGEST[high] if high in _LARGEST else _MASKED, high)
    weights = Tensor(g.op("Softmax", logits.value, axis=logits.axis(-1)), logits.order)
    return contract(g, Term(cast(g, weights, dtype), "bnts"), Term(v, "bsnh"), "btnh")


def _one_node(
    g: Builder,
    operands: tuple[Tensor, Tensor, Tensor],
    bias: Operand | None,
    mask: Operand | None,
    scale: float | None,
    causal: bool,
) -> Tensor | None:
    """ONNX's Attention (from opset 23 on) over (batch, head, sequence, size); grouped heads need no repetition.

    What may not be attended to is added as Keras's large number and not given as booleans: ONNX's minus infinity would
    make a row that is masked as a whole NaN. ``is_causal`` alone masks no row as a whole. None where it cannot be one
    node: a single row or column of a mask is for all in Keras; ONNX Runtime refuses the one and fills up the other.
    """
    rows, columns = operands[0].shape[1], operands[1].shape[1]
    added = None
    if mask is not None or bias is not None:
        if causal and (rows is None or columns is None):
            return None
        kept: Operand | None = np.tri(rows or 0, columns or 0, dtype=bool) if causal else None
        if mask is not None:
            mask = cast(g, as_tensor(g, mask), "bool")
            kept = mask if kept is None else elementwise(g, "And", mask, kept, dtype="bool")
        numbers = as_tensor(g, 0.0 if bias is None else bias, "float32")
        numbers = numbers if kept is None else select(g, kept, numbers, _MASKED, "float32")
        if numbers.shape[-2:] != (rows, columns):
            return None
        added = g.identity(cast(g, numbers, "float32")).value
    q, k, v = (g.arrange(x, _HEADS) for x in operands)
    alone = int(causal and added is None)
    return Tensor(g.op("Attention", q.value, k.value, v.value, added, scale=scale, is_causal=alone or None), _HEADS)


def _repeated(g: Builder, x: Tensor, heads: int | None) -> Tensor:
    """Keys or values with a head for each of the queries': grouped heads repeat, a single one broadcasts."""
    own = x.shape[2]
    if heads is None or own is None or own in (1, heads):
        return x
    indices = np.repeat(np.arange(own, dtype=np.int64), heads // own)
    return Tensor(g.op("Gather", x.value, indices, axis=x.axis(2)), x.order)


def _kept(g: Builder, logits: Tensor, mask: Operand | None, causal: bool) -> Operand | None:
    """Where a query may attend to a key, or None for everywhere; a constant as far as sizes are known."""
    if mask is not None:
        mask = cast(g, mask, "bool") if isinstance(mask, Tensor) else np.asarray(mask, bool)
    if not causal:
        return mask
    rows, columns = logits.shape[2:]
    triangle: Operand
    if rows is None or columns is None:
        logits = g.identity(logits)
        everywhere = g.op("Equal", logits.value, logits.value)
        triangle = Tensor(g.op("Trilu", everywhere, upper=0), logits.order)
    else:
        triangle = np.tri(rows, columns, dtype=bool)
    return triangle if mask is None else elementwise(g, "And", mask, triangle, dtype="bool")
