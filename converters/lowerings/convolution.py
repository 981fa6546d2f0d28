"""Convolutions of one to three dimensions: plain, grouped, depthwise, separable, transposed; both data formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from converters import layout
from converters.builder import Array, Builder, Tensor
from converters.keras_internals import nn
from converters.lowerings.broadcasting import Operand, cast
from converters.lowerings.padding import padded
from converters.registry import lowers
from deploy.errors import ConversionError


def channel_axis(op: Any, rank: int) -> int:
    """The logical channel axis of an operation with a ``data_format`` (Keras's global one unless given)."""
    return rank - 1 if (op.data_format or keras.config.image_data_format()) == "channels_last" else 1


def per_axis(value: int | Sequence[int], count: int) -> list[int]:
    """A stride, dilation or size for each spatial axis."""
    return [int(value)] * count if isinstance(value, int) else [int(v) for v in value]


def _spans(sizes: Sequence[int], dilations: Sequence[int]) -> list[int]:
    return [(size - 1) * dilation + 1 for size, dilation in zip(sizes, dilations, strict=True)]


def _weights(g: Builder, kernel: Operand, order: Sequence[int], dtype: str, name: str = "kernel") -> Any:
    """A kernel in ONNX's axis order: permuted now when constant, by a Transpose when computed."""
    if isinstance(kernel, Tensor):
        return g.arrange(cast(g, kernel, dtype), tuple(order)).value
    return g.constant(np.asarray(kernel, dtype).transpose(order), name)


def _convolve(g: Builder, op: Any, x: Tensor, kernel_shape: Sequence[int], weights: Any, groups: int) -> Tensor:
    rank = x.rank
    order = layout.channels_first(rank, channel_axis(op, rank))
    x = g.arrange(cast(g, x, g.out.dtype), order)
    strides, dilations = per_axis(op.strides, rank - 2), per_axis(op.dilation_rate, rank - 2)
    source, pads = padded(g, x.value, op.padding, _spans(kernel_shape, dilations), strides, dilations)
    value = g.op(
        "Conv",
        source,
        weights,
        kernel_shape=list(kernel_shape),
        strides=strides if set(strides) != {1} else None,
        dilations=dilations if set(dilations) != {1} else None,
        group=groups if groups > 1 else None,
        **pads,
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


def _depthwise_weights(g: Builder, kernel: Operand, dtype: str, name: str = "kernel") -> Any:
    """(spatial…, channels, multiplier) to (channels * multiplier, 1, spatial…)."""
    shape = _kernel_shape(g, kernel)
    count = len(shape) - 2
    axes, target = (count, count + 1, *range(count)), (shape[-2] * shape[-1], 1, *shape[:-2])
    if not isinstance(kernel, Tensor):
        return g.constant(np.asarray(kernel, dtype).transpose(axes).reshape(target), name)
    moved = Tensor(kernel.value, layout.transpose(kernel.order, axes))
    return g.identity(g.reshape(cast(g, moved, dtype), target)).value


def _kernel_shape(g: Builder, kernel: Operand) -> tuple[int, ...]:
    """The sizes of a kernel, which must be known of a computed one too."""
    shape = kernel.shape if isinstance(kernel, Tensor) else np.shape(kernel)
    sizes = tuple(int(size) for size in shape if size is not None)
    if len(sizes) < len(shape):
        raise ConversionError(
            "the size of a kernel is unknown", where=g.where, found=str(shape), fix="give unknown sizes with --shapes"
        )
    return sizes


@lowers(nn.DepthwiseConv)
def depthwise_conv(g: Builder, op: Any, inputs: Tensor, kernel: Operand) -> Tensor:
    shape = _kernel_shape(g, kernel)
    return _convolve(g, op, inputs, shape[:-2], _depthwise_weights(g, kernel, g.out.dtype), shape[-2])


@lowers(nn.SeparableConv)
def separable_conv(g: Builder, op: Any, inputs: Tensor, depthwise_kernel: Operand, pointwise_kernel: Operand) -> Tensor:
    """A depthwise convolution with the operation's strides and padding, then a 1x1 convolution."""
    shape = _kernel_shape(g, depthwise_kernel)
    weights = _depthwise_weights(g, depthwise_kernel, g.out.dtype, "depthwise_kernel")
    x = _convolve(g, op, inputs, shape[:-2], weights, shape[-2])
    rank = x.rank
    matrix = _weights(g, pointwise_kernel, (rank - 1, rank - 2, *range(rank - 2)), g.out.dtype, "pointwise_kernel")
    value = g.op("Conv", x.value, matrix, kernel_shape=[1] * (rank - 2))
    return Tensor(value, x.order)


@lowers(nn.ConvTranspose)
def conv_transpose(g: Builder, op: Any, inputs: Tensor, kernel: Operand) -> Tensor:
    """The gradient of a convolution, as TensorFlow has it.

    With L = stride * (size - 1) + span the full length and the output length that Keras gives: L - output is cut off,
    its smaller half in front for ``same``, all of it behind for ``valid``; a negative difference is output padding.
    """
    shape = _kernel_shape(g, kernel)
    rank = inputs.rank
    order = layout.channels_first(rank, channel_axis(op, rank))
    x = g.arrange(cast(g, inputs, g.out.dtype), order)
    strides, dilations = per_axis(op.strides, rank - 2), per_axis(op.dilation_rate, rank - 2)
    spans = _spans(shape[:-2], dilations)
    begin, end, extra = [], [], []
    for cut in _cuts(op, inputs, shape, order[2:], strides, spans):
        front = max(cut, 0) // 2 if op.padding == "same" else 0
        begin.append(front)
        end.append(max(cut, 0) - front)
        extra.append(max(-cut, 0))
    value = g.op(
        "ConvTranspose",
        x.value,
        _weights(g, kernel, (rank - 1, rank - 2, *range(rank - 2)), g.out.dtype),
        kernel_shape=list(shape[:-2]),
        strides=strides,
        dilations=dilations if set(dilations) != {1} else None,
        pads=[*begin, *end] if any(begin + end) else None,
        output_padding=extra if any(extra) else None,
    )
    return Tensor(value, order)


def _cuts(
    op: Any, inputs: Tensor, kernel: Sequence[int], axes: Sequence[int], strides: list[int], spans: list[int]
) -> list[int]:
    """How much longer the full transposed convolution is than Keras's output, by axis: the same for any size."""
    shape = tuple(64 if size is None else size for size in inputs.shape)
    output = op.compute_output_spec(KerasTensor(shape), KerasTensor(tuple(kernel))).shape
    full = [stride * (shape[axis] - 1) + span for axis, stride, span in zip(axes, strides, spans, strict=True)]
    return [length - int(output[axis]) for length, axis in zip(full, axes, strict=True)]


def _unknown_channels(g: Builder) -> ConversionError:
    return ConversionError(
        "the number of channels is unknown", where=g.where, fix="give the input's shape with --shapes"
    )
