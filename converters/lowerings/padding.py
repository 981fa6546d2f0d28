"""The padding of convolutions and poolings: attributes where they can say it, a Pad node where only the graph can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.builder import Builder


def padded(
    g: Builder,
    x: ir.Value,
    mode: str,
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int] = (),
    fill: float | None = None,
) -> tuple[ir.Value, dict[str, Any]]:
    """Keras's ``valid`` or ``same`` padding of a value (batch, channel, spatial…): the value, and attributes.

    TensorFlow's rule for ``same``: output = ceil(size / stride), and the smaller half of the padding comes first.
    ``window`` is the dilated kernel size.

    1. Where the sizes are known or the stride is 1, the attribute is ``pads``.
    2. Of an unknown size it is ``auto_pad``, which ONNX Runtime has for windows that are not dilated and not shorter
       than the stride.
    3. Else a Pad node with ``fill`` (0 for None) goes before, by numbers that the graph computes.
    """
    if mode == "valid":
        return x, {}
    assert x.shape is not None
    totals = [
        max(span - 1, 0) if stride == 1 else 0 if span == 1 else _total(size, span, stride)
        for size, span, stride in zip(x.shape[2:], window, strides, strict=True)
    ]
    known = [total for total in totals if total is not None]
    if len(known) == len(totals):
        begin = [total // 2 for total in known]
        end = [total - front for total, front in zip(known, begin, strict=True)]
        return x, {"pads": [*begin, *end]} if any(begin + end) else {}
    if set(dilations) <= {1} and all(span >= stride for span, stride in zip(window, strides, strict=True)):
        return x, {"auto_pad": "SAME_UPPER"}
    return _computed(g, x, window, strides, fill), {}


def _total(size: Any, span: int, stride: int) -> int | None:
    """How much ``same`` pads an axis; None for an unknown size."""
    return max((-(-size // stride) - 1) * stride + span - size, 0) if isinstance(size, int) else None


def _computed(g: Builder, x: ir.Value, window: Sequence[int], strides: Sequence[int], fill: float | None) -> ir.Value:
    """The value with a Pad node before it: (ceil(size / stride) - 1) * stride + window - size, where that is above 0.

    With ceil(size / stride) = floor((size - 1) / stride) + 1 for sizes of at least 1.
    """
    size = g.op("Shape", x, start=2)
    step, span = np.asarray(strides, np.int64), np.asarray(window, np.int64)
    last = g.op("Mul", g.op("Div", g.op("Sub", size, np.asarray(1, np.int64)), step), step)
    total = g.op("Max", g.op("Sub", g.op("Add", last, span), size), np.asarray(0, np.int64))
    begin = g.op("Div", total, np.asarray(2, np.int64))
    outer = np.zeros(2, np.int64)  # batch and channel; not the input "axes", which ONNX Runtime 1.32 mixes up
    pads = g.op("Concat", outer, begin, outer, g.op("Sub", total, begin), axis=0)
    value = None if fill is None else np.asarray(fill, x.dtype.numpy() if x.dtype else None)
    result: ir.Value = g.op("Pad", x, pads, value)
    return result
