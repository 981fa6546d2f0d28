"""Images: colours, crops, filters, patches; written by their own formulas, the same for both data formats."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from converters.keras_internals import image, nn
from converters.openings.common import dtype_of, floats, known
from converters.registry import opens


@opens(image.SSIM, image.CropImages, image.PadImages)
def own_code(op: Any, *images: Any) -> Any:
    """Keras writes these in other operations itself."""
    return op.call(*images)


@opens(image.ExtractPatches)
def extract_patches(op: Any, images: Any) -> Any:
    """Keras's own code is a convolution with an identity matrix; of large patches that is more than what it moves.

    Those are gathered: the rows of all patches, then their columns.
    """
    axis = _channel(op)
    height, width = images.shape[axis - 2 : axis] if axis == -1 else images.shape[-2:]
    if op.is_3d or math.prod(op.size) * images.shape[axis] <= LARGE or None in (height, width):
        return op.call(images)
    x = images if axis == -1 else ops.moveaxis(images, axis, -1)
    for place, (size, count) in enumerate(zip((height, width), op.size, strict=True)):
        stride, rate = (value if isinstance(value, int) else value[place] for value in (op.strides, op.dilation_rate))
        reach = (count - 1) * rate + 1
        number = -(-size // stride) if op.padding == "same" else (size - reach) // stride + 1
        missing = max((number - 1) * stride + reach - size, 0) if op.padding == "same" else 0
        around = [(0, 0)] * len(x.shape)
        around[place - 3] = missing // 2, missing - missing // 2
        x = ops.pad(x, around)
        places = np.arange(number)[:, None] * stride + np.arange(count) * rate
        x = ops.take(x, places, axis=place - 3)
    patches = ops.swapaxes(x, -4, -3)  # rows, columns, and in each patch its rows, columns and channels
    patches = ops.reshape(patches, (*(size or -1 for size in patches.shape[:-3]), math.prod(patches.shape[-3:])))
    return patches if axis == -1 else ops.moveaxis(patches, -1, -3)


LARGE = 4096
"""Values of a patch, from which on it is gathered: the identity matrix has 64 MiB then."""


def _channel(op: Any) -> int:
    return -1 if op.data_format == "channels_last" else -3


@opens(image.RGBToGrayscale)
def rgb_to_grayscale(op: Any, images: Any) -> Any:
    """The weights of ITU-R BT.601."""
    axis = _channel(op)
    if images.shape[axis] == 1:
        return images
    (x,) = floats(images)
    weights = np.asarray([0.2989, 0.5870, 0.1140], np.float32).reshape((3,) + (1,) * (-1 - axis))
    gray = ops.sum(ops.multiply(x, ops.cast(weights, dtype_of(x))), axis=axis, keepdims=True)
    return ops.cast(gray, dtype_of(images))


@opens(image.RGBToHSV)
def rgb_to_hsv(op: Any, images: Any) -> Any:
    """Hue from the largest channel (in sixths of a turn), saturation and value (Smith 1978)."""
    axis = _channel(op)
    r, g, b = ops.split(images, 3, axis=axis)
    value = ops.maximum(ops.maximum(r, g), b)
    span = ops.subtract(value, ops.minimum(ops.minimum(r, g), b))
    saturation = ops.where(ops.greater(value, 0), ops.divide(span, value), 0.0)
    sixth = ops.divide(1.0, ops.multiply(span, 6.0))
    red = ops.multiply(ops.subtract(g, b), sixth)
    green = ops.add(ops.multiply(ops.subtract(b, r), sixth), 2.0 / 6.0)
    blue = ops.add(ops.multiply(ops.subtract(r, g), sixth), 4.0 / 6.0)
    hue = ops.where(ops.equal(r, value), red, ops.where(ops.equal(g, value), green, blue))
    hue = ops.where(ops.greater(span, 0), hue, 0.0)
    hue = ops.where(ops.less(hue, 0), ops.add(hue, 1.0), hue)
    return ops.concatenate([hue, saturation, value], axis=axis)


@opens(image.HSVToRGB)
def hsv_to_rgb(op: Any, images: Any) -> Any:
    """Each channel is a trapezoid over the hue, scaled by saturation and value."""
    axis = _channel(op)
    hue, saturation, value = ops.split(images, 3, axis=axis)
    turns = ops.multiply(hue, 6.0)
    red = ops.subtract(ops.abs(ops.subtract(turns, 3.0)), 1.0)
    green = ops.subtract(2.0, ops.abs(ops.subtract(turns, 2.0)))
    blue = ops.subtract(2.0, ops.abs(ops.subtract(turns, 4.0)))
    shades = ops.clip(ops.concatenate([red, green, blue], axis=axis), 0.0, 1.0)
    mixed = ops.add(ops.subtract(1.0, saturation), ops.multiply(saturation, shades))
    return ops.multiply(mixed, value)


def _filtered(x: Any, kernel: Any, axis: int, padding: str) -> Any:
    """A depthwise convolution of each channel with one kernel of rank 2 (or several, stacked last)."""
    channels = known(x.shape[axis], "the number of channels")
    kernel = np.asarray(kernel, np.float32)
    kernel = kernel.reshape((*kernel.shape[:2], 1, -1))
    return ops.depthwise_conv(
        x,
        np.tile(kernel, (1, 1, channels, 1)),
        padding=padding,
        data_format="channels_last" if axis == -1 else "channels_first",
    )


@opens(image.GaussianBlur)
def gaussian_blur(op: Any, images: Any) -> Any:
    """One depthwise convolution with exp(-(x / sigma)^2 / 2), scaled to the sum 1."""
    rank = len(images.shape)
    x = images if rank == 4 else ops.expand_dims(images, 0)

    def bell(size: int, sigma: float) -> Any:
        y = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / sigma) ** 2)
        return y / y.sum()

    size, sigma = (tuple(np.broadcast_to(v, 2)) for v in (op.kernel_size, op.sigma))
    kernel = np.outer(bell(int(size[1]), float(sigma[1])), bell(int(size[0]), float(sigma[0])))
    y = _filtered(x, kernel.reshape(int(size[0]), int(size[1])), _channel(op), "same")
    return y if rank == 4 else ops.squeeze(y, 0)


@opens(image.SobelEdges)
def sobel_edges(op: Any, images: Any) -> Any:
    """Differences down and across (Sobel 1968) over a border: mirrored pixels in TensorFlow, zeros elsewhere."""
    axis = _channel(op)
    down = np.asarray([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], np.float32)
    widths = [(0, 0), (1, 1), (1, 1), (0, 0)] if axis == -1 else [(0, 0), (0, 0), (1, 1), (1, 1)]
    padded = ops.pad(images, widths, mode="reflect" if keras.backend.backend() == "tensorflow" else "constant")
    return ops.stack([_filtered(padded, kernel, axis, "valid") for kernel in (down, down.T)], axis=-1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _places(op: Any, sizes: tuple[int, int]) -> list[Any]:
    """For rows and columns, the places (kernel, windows) that each element of the sliding windows has in the image."""
    options = (_pair(value) for value in (op.kernel_size, op.dilation, op.padding, op.stride))
    found = []
    for size, kernel, dilation, padding, stride in zip(sizes, *options, strict=True):
        windows = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        found.append(np.arange(kernel)[:, None] * dilation + np.arange(windows)[None, :] * stride)
    return found


@opens(nn.Unfold)
def unfold(op: Any, x: Any) -> Any:
    """The sliding windows of (batch, channels, height, width) as columns: a Gather of rows and one of columns."""
    channels, height, width = (known(size, "a size of the image") for size in x.shape[1:])
    rows, columns = _places(op, (height, width))
    down, across = _pair(op.padding)
    x = ops.pad(x, [(0, 0), (0, 0), (down, down), (across, across)])
    x = ops.take(ops.take(x, rows.reshape(-1), axis=2), columns.reshape(-1), axis=3)
    x = ops.transpose(ops.reshape(x, (-1, channels, *rows.shape, *columns.shape)), (0, 1, 2, 4, 3, 5))
    return ops.reshape(x, (-1, channels * rows.shape[0] * columns.shape[0], rows.shape[1] * columns.shape[1]))


@opens(nn.Fold)
def fold(op: Any, x: Any) -> Any:
    """Each window's elements added up at their places: a product with 0 and 1 for the rows, one for the columns."""
    size = _pair(op.output_size)
    rows, columns = _places(op, size)
    channels = known(x.shape[1], "the number of channels") // (rows.shape[0] * columns.shape[0])
    x = ops.reshape(x, (-1, channels, rows.shape[0], columns.shape[0], rows.shape[1], columns.shape[1]))
    x = ops.reshape(ops.transpose(x, (0, 1, 2, 4, 3, 5)), (-1, channels, rows.size, columns.size))
    inside = [np.arange(n) + padding for n, padding in zip(size, _pair(op.padding), strict=True)]
    down, across = (
        (own[:, None] == places.reshape(-1)).astype(dtype_of(x))
        for own, places in zip(inside, (rows, columns), strict=True)
    )
    return ops.matmul(down, ops.matmul(x, across.T))
