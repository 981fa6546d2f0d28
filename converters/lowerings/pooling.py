"""Maximum and average pooling of one to three dimensions, adaptive too; both data formats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from converters import layout
from converters.builder import Builder, Tensor
from converters.keras_internals import nn
from converters.lowerings.broadcasting import cast, elementwise
from converters.lowerings.convolution import channel_axis, per_axis
from converters.lowerings.padding import padded
from converters.registry import lowers
from deploy.errors import ConversionError


@lowers(nn.MaxPool, nn.AveragePool)
def pool(g: Builder, op: Any, inputs: Tensor) -> Tensor:
    """Padding is never counted in an average, in Keras as in ONNX's default. Integers are pooled as float64."""
    if inputs.dtype.kind in "iu":
        return cast(g, pool(g, op, cast(g, inputs, "float64")), g.out.dtype)
    count = inputs.rank - 2
    order = layout.channels_first(inputs.rank, channel_axis(op, inputs.rank))
    x = g.arrange(inputs, order)
    window = per_axis(op.pool_size, count)
    strides = per_axis(op.strides, count) if op.strides is not None else window
    windows: dict[str, Any] = {"kernel_shape": window, "strides": strides}
    if isinstance(op, nn.MaxPool):
        source, pads = padded(g, x.value, op.padding, window, strides, fill=-math.inf)
        return Tensor(g.op("MaxPool", source, **windows, **pads), order)
    source, pads = padded(g, x.value, op.padding, window, strides)
    if op.padding == "same" and keras.backend.backend() == "torch":
        source, pads = _repeated_border(g, x.value, source, pads)
        return Tensor(g.op("AveragePool", source, **windows, **pads), order)
    mean = g.op("AveragePool", source, **windows, **pads)
    if source is x.value:
        return Tensor(mean, order)
    ones = cast(g, elementwise(g, "Equal", x, x), str(x.dtype))  # what of a window is no padding
    source, pads = padded(g, ones.value, op.padding, window, strides)
    return elementwise(g, "Div", Tensor(mean, order), Tensor(g.op("AveragePool", source, **windows, **pads), order))


def _repeated_border(
    g: Builder, x: ir.Value, source: ir.Value, pads: dict[str, Any]
) -> tuple[ir.Value, dict[str, Any]]:
    """As Keras pads with PyTorch: evenly as everywhere, else by repeating the border, whose pixels are counted."""
    widths = pads.get("pads", [])
    half = len(widths) // 2
    if "auto_pad" in pads or source is not x:
        raise ConversionError(
            "average pooling of an unknown size with padding 'same' repeats the border with PyTorch where it is uneven",
            where=g.where,
            fix="give the input's sizes with --shapes",
        )
    if widths[:half] == widths[half:]:
        return x, pads
    border = np.asarray([0, 0, *widths[:half], 0, 0, *widths[half:]], np.int64)
    padded_value: ir.Value = g.op("Pad", x, border, mode="edge")
    return padded_value, {}


@lowers(nn.AdaptiveAveragePool, nn.AdaptiveMaxPool)
def adaptive_pool(g: Builder, op: Any, inputs: Tensor) -> Tensor:
    """Window i of n over a size goes from floor(i * size / n) to ceil((i + 1) * size / n).

    One pooling node where all windows of each axis are alike and equally far apart; else axis by axis: a pooling for
    each length of window, at every place, and a Gather of those that count.
    """
    op_type = "MaxPool" if isinstance(op, nn.AdaptiveMaxPool) else "AveragePool"
    order = layout.channels_first(inputs.rank, channel_axis(op, inputs.rank))
    x = g.arrange(inputs, order)
    spatial = order[2:]
    windows = []
    for size, count in zip((x.shape[axis] for axis in spatial), per_axis(op.output_size, len(spatial)), strict=True):
        if size is None:
            raise ConversionError(
                "adaptive pooling needs a known size", where=g.where, fix="give the input's sizes with --shapes"
            )
        windows.append([(i * size // count, -(-(i + 1) * size // count)) for i in range(count)])
    strides = [_stride(places) for places in windows]
    if None not in strides:
        kernel = [places[0][1] - places[0][0] for places in windows]
        return Tensor(g.op(op_type, x.value, kernel_shape=kernel, strides=strides), order)
    value = x.value
    for axis, places in enumerate(windows):
        value = _pool_axis(g, op_type, value, axis, len(spatial), places)
    return Tensor(value, order)


def _stride(places: Sequence[tuple[int, int]]) -> int | None:
    """How far apart windows of one length are that begin at 0, or None where they differ."""
    steps = {b[0] - a[0] for a, b in itertools.pairwise(places)} or {1}
    lengths = {end - start for start, end in places}
    return steps.pop() if len(steps) == len(lengths) == 1 else None


def _pool_axis(g: Builder, op_type: str, value: Any, axis: int, count: int, places: Sequence[tuple[int, int]]) -> Any:
    """Pools one spatial axis by windows of their own lengths."""
    size = value.shape[2 + axis]
    parts: list[Any] = []
    offsets: dict[int, int] = {}
    for length in sorted({end - start for start, end in places}):
        kernel = [length if a == axis else 1 for a in range(count)]
        offsets[length] = sum(part.shape[2 + axis] for part in parts)
        parts.append(g.op(op_type, value, kernel_shape=kernel, strides=[1] * count) if length > 1 else value)
    joined = g.op("Concat", *parts, axis=2 + axis) if len(parts) > 1 else parts[0]
    indices = [offsets[end - start] + start for start, end in places]
    if indices == list(range(size)):
        return joined
    return g.op("Gather", joined, np.asarray(indices, np.int64), axis=2 + axis)
