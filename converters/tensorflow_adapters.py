"""Adapters: what a `tf.*` function means in `keras.ops`, with the argument names that TensorFlow 2.20 gives it.

Arguments that say nothing at inference are left out. `converters.tensorflow_functions` is the table of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from keras import ops

Adapter = Callable[..., Any]


class TopK(NamedTuple):
    """What tf.nn.top_k gives."""

    values: Any
    indices: Any


def reduction(function: Adapter) -> Adapter:
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
        return function(input_tensor, axis=axis, keepdims=keepdims)

    return reduce


def unary(function: Adapter) -> Adapter:
    def unary(x: Any = None, name: str | None = None, **named: Any) -> Any:
        (value,) = [x] if x is not None else named.values()  # tf.nn.relu calls it features, tf.math.sigmoid x
        return function(value)

    return unary


def binary(function: Adapter) -> Adapter:
    def binary(x: Any, y: Any, name: str | None = None) -> Any:
        return function(x, y)

    return binary


def softmax(function: Adapter) -> Adapter:
    def softmax(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
        return function(logits, axis=-1 if axis is None else axis)

    return softmax


def axis_of(function: Adapter) -> Adapter:
    def along(input: Any, axis: Any = None, name: str | None = None) -> Any:
        return function(input, axis=axis)

    return along


def concat(values: Any, axis: int, name: str = "concat") -> Any:
    return ops.concatenate(values, axis=axis)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Any:
    return ops.stack(values, axis=axis)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    return ops.reshape(tensor, list(shape))


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.zeros(list(shape), getattr(dtype, "name", dtype))


def ones(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.ones(list(shape), getattr(dtype, "name", dtype))


def fill(dims: Any, value: Any, name: str | None = None, layout: Any = None) -> Any:
    return ops.full(list(dims), value, getattr(value, "dtype", "float32" if isinstance(value, float) else "int32"))


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    return ops.broadcast_to(input, list(shape))


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    start, limit = (0, start) if limit is None else (start, limit)
    return ops.arange(start, limit, delta, getattr(dtype, "name", dtype))


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Any:
    return ops.transpose(a, perm)


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    return ops.cast(x, getattr(dtype, "name", dtype))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None) -> Any:
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def clip(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def shape(input: Any, out_type: Any = None, name: str | None = None) -> Any:
    return ops.shape(input)


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None) -> Any:
    widths = [tuple(int(width) for width in pair) for pair in paddings]
    if mode.upper() != "CONSTANT":
        return ops.pad(tensor, widths, mode=mode.lower())
    return ops.pad(tensor, widths, constant_values=constant_values)


def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    return ops.tile(input, multiples)


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: str = "split") -> Any:
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis=axis)
    places = [sum(num_or_size_splits[: index + 1]) for index in range(len(num_or_size_splits) - 1)]
    return ops.split(value, places, axis=axis)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    return ops.leaky_relu(features, alpha)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    return ops.gelu(features, approximate)


def same(x: Any, shape: Any = None, name: str | None = None) -> Any:
    return x


def convert(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    return value if dtype is None else ops.cast(value, getattr(dtype, "name", dtype))


def add_n(inputs: Any, name: str | None = None) -> Any:
    total = inputs[0]
    for value in inputs[1:]:
        total = ops.add(total, value)
    return total


def place(function: Adapter) -> Adapter:
    def extreme(input: Any, axis: Any = None, output_type: Any = "int64", name: str | None = None) -> Any:
        return ops.cast(function(input, axis=0 if axis is None else axis), getattr(output_type, "name", output_type))

    return extreme


def cumulative(function: Adapter, neutral: float) -> Adapter:
    def along(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
        axis %= len(x.shape)
        x = ops.flip(x, axis) if reverse else x
        if exclusive:  # one place further on
            index, widths = [slice(None)] * len(x.shape), [(0, 0)] * len(x.shape)
            index[axis], widths[axis] = slice(None, -1), (1, 0)
            x = ops.pad(x, widths, constant_values=neutral)[tuple(index)]
        y = function(x, axis=axis)
        return ops.flip(y, axis) if reverse else y

    return along


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    return ops.einsum(equation, *inputs)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    return ops.tensordot(a, b, axes)


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Any:
    return ops.swapaxes(a, -1, -2)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0, name: Any = None
) -> Any:
    if batch_dims:
        raise NotImplementedError("tf.gather with batch_dims")
    return ops.take(params, indices, axis=0 if axis is None else axis)


def embedding(params: Any, ids: Any, max_norm: Any = None, name: str | None = None) -> Any:
    if max_norm is not None:
        raise NotImplementedError("tf.nn.embedding_lookup with max_norm")
    return ops.take(params, ids, axis=0)


def one_hot(
    indices: Any, depth: int, on_value: Any = None, off_value: Any = None, axis: Any = None, dtype: Any = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    dtype = getattr(dtype, "name", dtype) or "float32"
    hit = ops.one_hot(indices, int(depth), axis=-1 if axis is None else axis, dtype="bool")
    on, off = (ops.cast(value, dtype) for value in (1 if on_value is None else on_value, off_value or 0))
    return ops.cast(hit, dtype) if on_value is None and off_value is None else ops.where(hit, on, off)


def like(function: Adapter) -> Adapter:
    def filled(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Any:
        return function(input, dtype=getattr(dtype, "name", dtype))

    return filled


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Any:
    return ops.repeat(input, repeats, axis=axis)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Any:
    return ops.flip(tensor, tuple(axis) if isinstance(axis, Sequence) else axis)


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Any:
    return ops.roll(input, shift, axis)


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Any:
    key = [slice(int(start), None if n == -1 else int(start + n)) for start, n in zip(begin, size, strict=True)]
    return input_[tuple(key)]


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    y = ops.sort(values, axis=axis)
    return ops.flip(y, axis) if direction == "DESCENDING" else y


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Any:
    return ops.argsort(ops.negative(values) if direction == "DESCENDING" else values, axis=axis)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> Any:
    return ops.unstack(value, num, axis)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    return ops.where(condition, x, y)


def top_k(input: Any, k: int = 1, sorted: bool = True, index_type: Any = None, name: str | None = None) -> Any:
    return TopK(*ops.top_k(input, k))


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: str | None = None) -> Any:
    if ord in ("euclidean", 2):
        return ops.sqrt(ops.sum(ops.square(tensor), axis=axis, keepdims=bool(keepdims)))
    return ops.norm(tensor, ord=ord, axis=axis, keepdims=bool(keepdims))


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Any:
    total = ops.sum(ops.square(x), axis=dim if axis is None else axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, epsilon)))


def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    return ops.moments(x, axes, keepdims)


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


def resize(
    images: Any, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """The result is a float32 image, but for the nearest neighbour."""
    if preserve_aspect_ratio:
        raise NotImplementedError("tf.image.resize with preserve_aspect_ratio")
    x = images if method == "nearest" else ops.cast(images, "float32")
    return ops.image.resize(x, tuple(size), interpolation=method, antialias=antialias, data_format="channels_last")


def image(function: Adapter) -> Adapter:
    def of_images(images: Any, name: str | None = None) -> Any:
        return function(images, data_format="channels_last")

    return of_images


def flip(axis: int) -> Adapter:
    def flipped(image: Any) -> Any:
        return ops.flip(image, axis)

    return flipped


def crop(image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int) -> Any:
    return image[..., offset_height : offset_height + target_height, offset_width : offset_width + target_width, :]


def central_crop(image: Any, central_fraction: float) -> Any:
    height, width = image.shape[-3:-1]
    top, left = (int((size - size * central_fraction) / 2) for size in (height, width))
    return crop(image, top, left, height - 2 * top, width - 2 * left)


def adjust_brightness(image: Any, delta: float) -> Any:
    if "float" not in image.dtype:
        raise NotImplementedError("tf.image.adjust_brightness of whole numbers")
    return ops.add(image, delta)


def k_batch_flatten(x: Any) -> Any:
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))


def k_arg(function: Adapter) -> Adapter:
    def extreme(x: Any, axis: int = -1) -> Any:
        return ops.cast(function(x, axis=axis), "int64")

    return extreme


def k_resize_images(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    height, width = x.shape[1:3] if data_format == "channels_last" else x.shape[2:4]
    size = (height * height_factor, width * width_factor)
    return ops.image.resize(x, size, interpolation=interpolation, data_format=data_format)


def k_switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    then, other = (x() if callable(x) else x for x in (then_expression, else_expression))
    missing = len(then.shape) - len(condition.shape)
    condition = ops.reshape(condition, (*(size or -1 for size in condition.shape), *(1 for _ in range(missing))))
    return ops.where(condition, then, other)
