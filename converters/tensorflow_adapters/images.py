"""Adapters of `tf.image` functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import KerasTensor, layers, ops

from converters.keras_internals import image as image_operations
from converters.tensorflow_adapters import Adapter
from converters.tracing.unknown_sizes import Size


def resize(
    images: Any, size: Any, method: Any = "bilinear", preserve_aspect_ratio: bool = False, antialias: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """The result is a float32 image, but for the nearest neighbour."""
    if preserve_aspect_ratio:
        raise NotImplementedError("tf.image.resize with preserve_aspect_ratio")
    x = images if method == "nearest" else ops.cast(images, "float32")
    times = [_times(images, axis, n) for axis, n in zip((-3, -2), size, strict=True)]
    if all(times) and method in ("nearest", "bilinear") and not antialias and len(images.shape) == 4:
        return layers.UpSampling2D(times, "channels_last", method, name="resize")(x)
    if any(isinstance(n, Size | KerasTensor) for n in size):  # which the function would compare with 0
        return image_operations.Resize(
            tuple(size), interpolation=method, antialias=antialias, data_format="channels_last"
        ).symbolic_call(x)
    return ops.image.resize(x, tuple(size), interpolation=method, antialias=antialias, data_format="channels_last")


def _times(images: Any, axis: int, size: Any) -> int | None:
    """How many times the unknown size of an axis of the images a size is; None where it is anything else."""
    own = isinstance(size, Size) and size.tensor is images and size.axis == axis % len(images.shape)
    return size.times if own and isinstance(size.times, int) else None


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
    _require_float(image, "adjust_brightness")
    return ops.add(image, delta)


def per_image_standardization(image: Any) -> Any:
    x = ops.cast(image, "float32")
    axes = (-3, -2, -1)
    least = 1.0 / math.sqrt(math.prod(image.shape[-3:]))
    deviation = ops.maximum(ops.std(x, axes, keepdims=True), least)
    return ops.divide(ops.subtract(x, ops.mean(x, axes, keepdims=True)), deviation)


def adjust_contrast(images: Any, contrast_factor: float) -> Any:
    _require_float(images, "adjust_contrast")
    mean = ops.mean(images, (-3, -2), keepdims=True)
    return ops.add(ops.multiply(ops.subtract(images, mean), contrast_factor), mean)


def adjust_gamma(image: Any, gamma: float = 1, gain: float = 1) -> Any:
    _require_float(image, "adjust_gamma")
    return ops.multiply(gain, ops.power(image, gamma))


def adjust_saturation(image: Any, saturation_factor: float, name: str | None = None) -> Any:
    _require_float(image, "adjust_saturation")
    hue, saturation, value = ops.split(ops.image.rgb_to_hsv(image, data_format="channels_last"), 3, axis=-1)
    saturation = ops.clip(ops.multiply(saturation, saturation_factor), 0.0, 1.0)
    return ops.image.hsv_to_rgb(ops.concatenate([hue, saturation, value], axis=-1), data_format="channels_last")


def pad_to_bounding_box(
    image: Any, offset_height: int, offset_width: int, target_height: int, target_width: int
) -> Any:
    height, width = image.shape[-3:-1]
    before = [(0, 0)] * (len(image.shape) - 3)
    after = (
        (offset_height, target_height - height - offset_height),
        (offset_width, target_width - width - offset_width),
    )
    return ops.pad(image, [*before, *after, (0, 0)])


def resize_with_crop_or_pad(image: Any, target_height: int, target_width: int) -> Any:
    height, width = image.shape[-3:-1]
    rows, columns = min(height, target_height), min(width, target_width)
    part = crop(image, (height - rows) // 2, (width - columns) // 2, rows, columns)
    return pad_to_bounding_box(
        part, (target_height - rows) // 2, (target_width - columns) // 2, target_height, target_width
    )


def rot90(image: Any, k: int = 1, name: str | None = None) -> Any:
    return ops.rot90(image, int(k), axes=(-3, -2)) if k % 4 != 2 else ops.flip(image, (-3, -2))


def transpose(image: Any, name: str | None = None) -> Any:
    return ops.swapaxes(image, -3, -2)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Any:
    return ops.repeat(images, 3, axis=-1)


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Any:
    """Whole numbers become fractions of their largest one."""
    name = getattr(dtype, "name", dtype)
    if "float" not in name:
        raise NotImplementedError("tf.image.convert_image_dtype to whole numbers")
    if "float" in image.dtype:
        return ops.cast(image, name)
    return ops.multiply(ops.cast(image, name), 1.0 / np.iinfo(image.dtype).max)


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None) -> Any:
    return ops.image.extract_patches(
        images, tuple(sizes[1:3]), tuple(strides[1:3]), dilation_rate=tuple(rates[1:3]), padding=padding.lower(),
        data_format="channels_last",
    )  # fmt: skip


def rgb_to_yuv(images: Any) -> Any:
    return ops.tensordot(images, np.asarray(_YUV, np.float32), axes=[[-1], [0]])


def _require_float(image: Any, name: str) -> None:
    if "float" not in image.dtype:
        raise NotImplementedError(f"tf.image.{name} of whole numbers")


_YUV = ((0.299, -0.14714119, 0.61497538), (0.587, -0.28886916, -0.51496512), (0.114, 0.43601035, -0.10001026))
"""TensorFlow's numbers (image_ops_impl, from ITU-R BT.601)."""
