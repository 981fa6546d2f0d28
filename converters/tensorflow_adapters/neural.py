"""Adapters of `tf.nn` functions over images: convolutions, pooling, normalization."""

from __future__ import annotations

from typing import Any

from keras import ops

from converters.tensorflow_adapters import Adapter


def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: float, name: str | None = None
) -> Any:
    factor = ops.rsqrt(ops.add(variance, variance_epsilon))
    factor = factor if scale is None else ops.multiply(factor, scale)
    y = ops.multiply(ops.subtract(x, mean), factor)
    return y if offset is None else ops.add(y, offset)


def _channels(data_format: str | None) -> str:
    return "channels_first" if data_format and data_format.startswith("NC") else "channels_last"


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
    if _channels(data_format) == "channels_first":
        bias = ops.reshape(bias, (-1,) + (1,) * (len(value.shape) - 2))
    return ops.add(value, bias)


def _spatial(value: Any, count: int, data_format: str | None) -> tuple[int, ...]:
    """A window or stride for the spatial axes, of a number, one for each of them, or one for each axis."""
    sizes = [value] if isinstance(value, int) else list(value)
    if len(sizes) == count + 2:
        sizes = sizes[2:] if _channels(data_format) == "channels_first" else sizes[1:-1]
    return tuple(int(size) for size in (sizes * count if len(sizes) == 1 else sizes))


def _padded(x: Any, padding: Any) -> tuple[Any, str]:
    """The value and Keras's name of a padding; an explicit one is a Pad."""
    if isinstance(padding, str):
        return x, padding.lower()
    return ops.pad(x, [tuple(pair) for pair in padding]), "valid"


def _convolution(function: Adapter, x: Any, kernel: Any, strides: Any, padding: Any, form: Any, dilations: Any) -> Any:
    count = len(x.shape) - 2
    x, padding = _padded(x, padding)
    return function(
        x, kernel, strides=_spatial(strides, count, form), padding=padding, data_format=_channels(form),
        dilation_rate=_spatial(1 if dilations is None else dilations, count, form),
    )  # fmt: skip


def conv2d(
    input: Any, filters: Any, strides: Any, padding: Any, data_format: Any = "NHWC", dilations: Any = None,
    name: Any = None,
) -> Any:  # fmt: skip
    return _convolution(ops.conv, input, filters, strides, padding, data_format, dilations)


def conv1d(
    input: Any, filters: Any, stride: Any, padding: Any, data_format: Any = "NWC", dilations: Any = None,
    name: Any = None,
) -> Any:  # fmt: skip
    return _convolution(ops.conv, input, filters, stride, padding, data_format, dilations)


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: Any = None, dilations: Any = None,
    name: Any = None,
) -> Any:  # fmt: skip
    return _convolution(ops.depthwise_conv, input, filter, strides, padding, data_format, dilations)


def pool(function: Adapter) -> Adapter:
    def windows(input: Any, ksize: Any, strides: Any, padding: str, data_format: Any = None, name: Any = None) -> Any:
        count = len(input.shape) - 2
        sizes = (_spatial(value, count, data_format) for value in (ksize, strides))
        return function(input, *sizes, padding=padding.lower(), data_format=_channels(data_format))

    return windows


def blocks(function: Adapter) -> Adapter:
    def moved(input: Any, block_size: int, data_format: str = "NHWC", name: str | None = None) -> Any:
        return function(input, block_size, data_format=_channels(data_format))

    return moved


def transposed_convolution(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME", data_format: Any = None,
    dilations: Any = None, name: Any = None,
) -> Any:  # fmt: skip
    """Only to the sizes that Keras gives: of those that a stride makes possible TensorFlow takes any."""
    count = len(input.shape) - 2
    rate = _spatial(1 if dilations is None else dilations, count, data_format)
    y = ops.conv_transpose(
        input, filters, _spatial(strides, count, data_format), padding.lower(),
        data_format=_channels(data_format), dilation_rate=rate,
    )  # fmt: skip
    asked, found = (_spatial(sizes, count, data_format) for sizes in (list(output_shape)[-count - 2 :], y.shape))
    if asked != found:
        raise NotImplementedError(f"a transposed convolution to {asked}, not to {found}")
    return y


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, data_format: Any = None,
    dilations: Any = None, name: Any = None,
) -> Any:  # fmt: skip
    y = depthwise_conv2d(input, depthwise_filter, strides, padding, data_format, dilations)
    return _convolution(ops.conv, y, pointwise_filter, 1, "VALID", data_format, None)


def convolution(
    input: Any, filters: Any, strides: Any = 1, padding: Any = "VALID", data_format: Any = None, dilations: Any = None,
    name: Any = None,
) -> Any:  # fmt: skip
    return _convolution(ops.conv, input, filters, 1 if strides is None else strides, padding, data_format, dilations)


def crelu(features: Any, axis: int = -1, name: str | None = None) -> Any:
    return ops.relu(ops.concatenate([features, ops.negative(features)], axis=axis))
