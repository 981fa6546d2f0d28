"""Convolutions of one to three dimensions: plain, grouped, depthwise, separable, transposed; both data formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from converters import layout
from converters.keras_internals import nn
from converters.lowering import Array, Builder, Tensor
from converters.lowerings.broadcasting import Operand, cast
from converters.registry import lowers
from deploy.errors import ConversionError


def channel_axis(op: Any, rank: int) -> int:
    """The logical channel axis of an operation with a ``data_format`` (Keras's global one unless given)."""
    return rank - 1 if (op.data_format or keras.config.image_data_format()) == "channels_last" else 1


def per_axis(value: int | Sequence[int], count: int) -> list[int]:
    """A stride, dilation or size for each spatial axis."""
    return [int(value)] * count if isinstance(value, int) else [int(v) for v in value]


def padding(
    g: Builder,
    mode: str,
    sizes: Sequence[int | None],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int] = (),
) -> dict[str, Any]:
    """ONNX attributes for Keras's ``valid`` and ``same``; explicit pads where the sizes or the strides allow it.

    TensorFlow's rule for ``same``: output = ceil(size / stride), and the smaller half of the padding comes first.
    ``window`` is the dilated kernel size. Raises ConversionError for a padding that depends on an unknown size in a way
    that ONNX's ``auto_pad`` (as ONNX Runtime has it) cannot express: dilation, or a stride above the window.
    """
    if mode == "valid":
        return {}
    totals = [
        max(span - 1, 0) if stride == 1 else 0 if span == 1 else None if size is None else _total(size, span, stride)
        for size, span, stride in zip(sizes, window, strides, strict=True)
    ]
    if None in totals:
        if set(dilations) - {1} or any(span < stride for span, stride in zip(window, strides, strict=True)):
            raise ConversionError(
                "the padding depends on an unknown size",
                where=g.where,
                found=f"sizes {tuple(sizes)}, window {tuple(window)}, strides {tuple(strides)}",
                fix="give the input's sizes with --shapes",
            )
        return {"auto_pad": "SAME_UPPER"}
    begin = [(total or 0) // 2 for total in totals]
    end = [(total or 0) - front for total, front in zip(totals, begin, strict=True)]
    return {"pads": [*begin, *end]} if any(begin + end) else {}


def _total(size: int, span: int, stride: int) -> int:
    """How much ``same`` pads an axis."""
    return max((-(-size // stride) - 1) * stride + span - size, 0)


def _spans(sizes: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]


def _weights(g: Builder, kernel: Operand, order: Sequence[int], dtype: str) -> Any:
    """A kernel in ONNX's axis order: permuted now when constant, by a Transpose when computed."""
    if isinstance(kernel, Tensor):
        return g.arrange(cast(g, kernel, dtype), tuple(order)).value
    return g.constant(np.asarray(kernel, dtype).transpose(order), "kernel")


def _convolve(g: Builder, op: Any, x: Tensor, kernel_shape: Sequence[int], weights: Any, groups: int) -> Tensor:
    rank = x.rank
    order = layout.channels_first(rank, channel_axis(op, rank))
    x = g.arrange(cast(g, x, g.out.dtype), order)
    strides, dilations = per_axis(op.strides, rank - 2), per_axis(op.dilation_rate, rank - 2)
    spatial = [x.shape[axis] for axis in order[2:]]
    value = g.op(
        "Conv",
        x.value,
        weights,
        kernel_shape=list(kernel_shape),
        strides=strides if set(strides) != {1} else None,
        dilations=dilations if set(dilations) != {1} else None,
        group=groups if groups > 1 else None,
        **padding(g, op.padding, spatial, _spans(kernel_shape, dilations), strides, dilations),
    )
    return Tensor(value, order)


@lowers(nn.Conv)
def conv(g: Builder, op: Any, inputs: Tensor, kernel: Tensor | Array) -> Tensor:
    """Keras kernels are (spatial…, input channels / groups, filters); ONNX's have the last two in front, swapped."""
    shape = kernel.shape
    rank = inputs.rank
    channels, per_group = inputs.shape[channel_axis(op, rank)], shape[-2]
    if channels is None or per_group is None:
        raise _unknown_channels(g)
    weights = _weights(g, kernel, (rank - 1, rank - 2, *range(rank - 2)), g.out.dtype)
    return _convolve(g, op, inputs, [int(s or 0) for s in shape[:-2]], weights, channels // per_group)


def _depthwise_weights(kernel: Array, dtype: str) -> Array:
    """(spatial…, channels, multiplier) to (channels * multiplier, 1, spatial…)."""
    spatial = kernel.ndim - 2
    moved = kernel.astype(dtype, copy=False).transpose(spatial, spatial + 1, *range(spatial))
    return moved.reshape(-1, 1, *kernel.shape[:-2])


@lowers(nn.DepthwiseConv)
def depthwise_conv(g: Builder, op: Any, inputs: Tensor, kernel: Operand) -> Tensor:
    array = _constant_kernel(g, kernel)
    weights = g.constant(_depthwise_weights(array, g.out.dtype), "kernel")
    return _convolve(g, op, inputs, array.shape[:-2], weights, array.shape[-2])


@lowers(nn.SeparableConv)
def separable_conv(g: Builder, op: Any, inputs: Tensor, depthwise_kernel: Operand, pointwise_kernel: Operand) -> Tensor:
    """A depthwise convolution with the operation's strides and padding, then a 1x1 convolution."""
    depthwise, pointwise = _constant_kernel(g, depthwise_kernel), _constant_kernel(g, pointwise_kernel)
    weights = g.constant(_depthwise_weights(depthwise, g.out.dtype), "depthwise_kernel")
    x = _convolve(g, op, inputs, depthwise.shape[:-2], weights, depthwise.shape[-2])
    rank = x.rank
    matrix = pointwise.astype(g.out.dtype, copy=False).transpose(rank - 1, rank - 2, *range(rank - 2))
    value = g.op("Conv", x.value, g.constant(matrix, "pointwise_kernel"), kernel_shape=[1] * (rank - 2))
    return Tensor(value, x.order)


@lowers(nn.ConvTranspose)
def conv_transpose(g: Builder, op: Any, inputs: Tensor, kernel: Operand) -> Tensor:
    """The gradient of a convolution, as TensorFlow has it.

    With L = stride * (size - 1) + span the full length and the output length that Keras gives: L - output is cut off,
    its smaller half in front for ``same``, all of it behind for ``valid``; a negative difference is output padding.
    """
    array = _constant_kernel(g, kernel)
    rank = inputs.rank
    order = layout.channels_first(rank, channel_axis(op, rank))
    x = g.arrange(cast(g, inputs, g.out.dtype), order)
    strides, dilations = per_axis(op.strides, rank - 2), per_axis(op.dilation_rate, rank - 2)
    spans = _spans(array.shape[:-2], dilations)
    begin, end, extra = [], [], []
    for cut in _cuts(op, inputs, array, order[2:], strides, spans):
        front = max(cut, 0) // 2 if op.padding == "same" else 0
        begin.append(front)
        end.append(max(cut, 0) - front)
        extra.append(max(-cut, 0))
    weights = array.astype(g.out.dtype, copy=False).transpose(rank - 1, rank - 2, *range(rank - 2))
    value = g.op(
        "ConvTranspose",
        x.value,
        g.constant(weights, "kernel"),
        kernel_shape=list(array.shape[:-2]),
        strides=strides,
        dilations=dilations if set(dilations) != {1} else None,
        pads=[*begin, *end] if any(begin + end) else None,
        output_padding=extra if any(extra) else None,
    )
    return Tensor(value, order)


def _cuts(
    op: Any, inputs: Tensor, kernel: Array, axes: Sequence[int], strides: list[int], spans: list[int]
) -> list[int]:
    """How much longer the full transposed convolution is than Keras's output, by axis: the same for any size."""
    shape = tuple(64 if size is None else size for size in inputs.shape)
    output = op.compute_output_spec(KerasTensor(shape), KerasTensor(kernel.shape)).shape
    full = [stride * (shape[axis] - 1) + span for axis, stride, span in zip(axes, strides, spans, strict=True)]
    return [length - int(output[axis]) for length, axis in zip(full, axes, strict=True)]


def _constant_kernel(g: Builder, kernel: Operand) -> Array:
    if isinstance(kernel, Tensor):
        raise ConversionError(
            "a depthwise or transposed convolution with a computed kernel cannot be converted",
            where=g.where,
            expected="a kernel that is a weight",
        )
    return np.asarray(kernel)


def _unknown_channels(g: Builder) -> ConversionError:
    return ConversionError(
        "the number of channels is unknown", where=g.where, fix="give the input's shape with --shapes"
    )
