"""Resizing images: one Resize where ONNX has Keras's rule, else a product with the weights of each axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx_ir as ir

from converters import layout
from converters.builder import Array, Builder, Tensor
from converters.keras_internals import image
from converters.lowerings.broadcasting import cast, unary
from converters.lowerings.convolution import channel_axis
from converters.registry import lowers
from converters.tensorflow_adapters.corner_resize import CornerResize
from deploy.errors import ConversionError

_NEAREST: dict[str, Any] = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@lowers(image.Resize)
def resize(g: Builder, op: Any, images: Tensor) -> Tensor:
    """As tf.image.resize has it, with half-pixel centres; cropped or padded to the aspect ratio first.

    Integers are rounded to the nearest even one and saturated, as Keras does.
    """
    rank, whole = images.rank, images.dtype.kind in "iu"
    if whole and images.dtype.itemsize < 4:  # TensorRT moves no bytes
        images = cast(g, images, "float32")
    last = channel_axis(op, rank) == rank - 1
    x = images if rank == 4 else g.reshape(images, (1, *images.shape))
    order = layout.channels_first(4, 3 if last else 1)
    x, dtype, size = g.arrange(x, order), g.out.dtype, (int(op.size[0]), int(op.size[1]))
    if op.crop_to_aspect_ratio or op.pad_to_aspect_ratio:
        x = _to_aspect_ratio(g, op, x, size)
    if op.interpolation == "nearest":
        y = _nearest(g, x, size)
    elif op.interpolation == "bilinear" and not op.antialias and whole:
        y = _between(g, _between(g, cast(g, x, "float32"), 3, size[1]), 2, size[0])
    else:
        y = _interpolated(g, x if x.dtype == np.float64 else cast(g, x, "float32"), size, op)
    if op.interpolation != "nearest" and np.dtype(dtype).kind in "iu":
        info = np.iinfo(dtype)
        y = Tensor(g.op("Clip", unary(g, "Round", y).value, g.scalar(info.min, y), g.scalar(info.max, y)), y.order)
    y = cast(g, y, dtype)
    return y if rank == 4 else g.reshape(y, y.shape[1:])


@lowers(CornerResize)
def corner_resize(g: Builder, op: CornerResize, images: Tensor) -> Tensor:
    x = cast(g, g.arrange(images, layout.channels_first(4, 3)), "float32")
    return linear(g, x, *_to_size(g, x, op.size), mode="align_corners" if op.aligned else "asymmetric")


def _has_open_sizes(layer: Any, x: Any) -> bool:
    rows = 1 if layer.data_format == "channels_last" else 2
    return layer.interpolation == "bilinear" and None in x.shape[rows : rows + 2]


@lowers(keras.layers.UpSampling2D, when=_has_open_sizes)
def upsampling(g: Builder, layer: Any, x: Tensor) -> Tensor:
    """Bilinear upsampling of unknown sizes, by the factors alone; any other is opened."""
    x = g.arrange(x, layout.channels_first(4, channel_axis(layer, 4)))
    return linear(g, x, np.asarray([1, 1, *layer.size], np.float32), None)


def repeated(g: Builder, value: ir.Value, scales: Array) -> ir.Value:
    """Each element of a value ``scales`` times along its axes: one Resize, together with one that made the value."""
    producer = value.producer()
    if producer is not None and producer.op_type == "Resize" and len(producer.inputs) == 3:
        attributes = {name: attribute.value for name, attribute in producer.attributes.items()}
        before = producer.inputs[2].const_value if producer.inputs[2] is not None else None
        if before is not None and attributes == _NEAREST and producer.inputs[0] is not None:
            value, scales = producer.inputs[0], scales * before.numpy()
    result: ir.Value = g.op("Resize", value, None, scales.astype(np.float32), **_NEAREST)
    return result


def _sizes(g: Builder, x: Tensor) -> list[int]:
    """Height and width. Raises ConversionError where one is unknown."""
    known = [size for size in layout.physical(x.shape, x.order)[2:] if size is not None]
    if len(known) < 2:
        raise ConversionError("this way of resizing needs a known size", where=g.where, fix="give it with --shapes")
    return known


def _to_aspect_ratio(g: Builder, op: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
    """The largest part in the middle with the target's ratio of sides, or the image in the middle of a border.

    Sizes are truncated as Keras does in float32.
    """
    old = _sizes(g, x)
    ideal = [int(np.float32(old[1 - i] * size[i]) / np.float32(size[1 - i])) for i in (0, 1)]
    axes = np.asarray([2, 3], np.int64)
    if op.crop_to_aspect_ratio:
        kept = [max(min(a, b), 1) for a, b in zip(old, ideal, strict=True)]
        starts = np.asarray([(a - b) // 2 for a, b in zip(old, kept, strict=True)], np.int64)
        return Tensor(g.op("Slice", x.value, starts, starts + np.asarray(kept, np.int64), axes), x.order)
    borders = [(max(b - a, 0)) // 2 for a, b in zip(old, ideal, strict=True)]
    if not any(borders):
        return x
    widths = np.asarray([0, 0, *borders] * 2, np.int64)
    fill = g.scalar(op.fill_value, x) if op.fill_value else None
    return Tensor(g.op("Pad", x.value, widths, fill), x.order)


def _interpolated(g: Builder, x: Tensor, size: tuple[int, int], op: Any) -> Tensor:
    if op.interpolation == "bilinear" and not op.antialias:
        return linear(g, x, *_to_size(g, x, size))
    height, width = (weights(a, b, op.interpolation, op.antialias) for a, b in zip(_sizes(g, x), size, strict=True))
    value = g.op("MatMul", g.constant(height.astype(x.dtype), "height"), x.value)
    return Tensor(g.op("MatMul", value, g.constant(width.T.astype(x.dtype), "width")), x.order)


def _to_size(g: Builder, x: Tensor, size: tuple[int, int]) -> tuple[Array | None, ir.Value | None]:
    """The scales of a Resize where height and width are known, else the sizes."""
    known = [s for s in layout.physical(x.shape, x.order)[2:] if s is not None]
    if len(known) == 2:
        return np.asarray([1, 1, *(_factor(a, b) for a, b in zip(known, size, strict=True))], np.float32), None
    return None, g.op("Concat", g.op("Shape", x.value, start=0, end=2), np.asarray(size, np.int64), axis=0)


def linear(g: Builder, x: Tensor, scales: Array | None, sizes: ir.Value | None, mode: str = "half_pixel") -> Tensor:
    """A value in the order of convolutions, bilinearly resized by ``scales`` or to ``sizes`` of all of its axes."""
    value: ir.Value = g.op("Resize", x.value, None, scales, sizes, mode="linear", coordinate_transformation_mode=mode)
    return Tensor(value, x.order)


def _between(g: Builder, x: Tensor, axis: int, new: int) -> Tensor:
    """Bilinear interpolation along one axis in TensorFlow's own steps, so that halves are rounded to the same side."""
    old = _sizes(g, x)[axis - 2]
    place = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(old / new) - np.float32(0.5)
    low, high = (np.clip(f(place), 0, old - 1).astype(np.int64) for f in (np.floor, np.ceil))
    a, b = (Tensor(g.op("Gather", x.value, index, axis=axis), x.order) for index in (low, high))
    part = (place - np.floor(place)).reshape((-1,) + (1,) * (3 - axis))
    step = g.op("Mul", g.op("Sub", b.value, a.value), part)
    return Tensor(g.op("Add", a.value, step), x.order)


def _factor(old: int, new: int) -> np.float32:
    """A float32 scale for which ONNX's rule, floor(old * scale), gives the new size in every precision."""
    factor = np.float32(new / old)
    while old * float(factor) < new:
        factor = np.nextafter(factor, np.float32(np.inf), dtype=np.float32)
    return factor


def weights(old: int, new: int, interpolation: str, antialias: bool) -> Array:
    """What each old element adds to each new one, (new, old), by the rules of TensorFlow's kernels.

    Every row is a kernel around the new element's centre, stretched by old / new with antialiasing; taps outside are
    left out and the row is scaled to the sum 1.
    """
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    if interpolation == "area":
        low = np.maximum(np.arange(old), (centres - scale / 2)[:, None])
        high = np.minimum(np.arange(1, old + 1), (centres + scale / 2)[:, None])
        return _scaled(np.maximum(high - low, 0))
    distance = np.abs(np.arange(old) + 0.5 - centres[:, None])
    if interpolation == "bicubic" and not antialias and keras.backend.backend() == "tensorflow":
        return _scaled(_keys(_tabled(distance, centres)))
    if interpolation == "bicubic" and not antialias and keras.backend.backend() == "torch":
        return _clamped(centres, old)
    return _scaled(_kernel(interpolation)(distance / (max(scale, 1.0) if antialias else 1.0)))


def _scaled(rows: Array) -> Array:
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


def _tabled(distance: Array, centres: Array) -> Array:
    """Distances as TensorFlow's bicubic kernel has them: a centre's place between two elements in steps of 1 / 1024."""
    place = centres.astype(np.float32) - np.float32(0.5)
    moved = np.round((place - np.floor(place)) * 1024) / 1024 + np.floor(place)
    return np.asarray(abs(np.arange(distance.shape[1]) - moved[:, None]))


def _clamped(centres: Array, old: int) -> Array:
    """PyTorch's bicubic kernel, with a = -0.75, whose taps outside are those of the border."""
    rows = np.zeros((len(centres), old))
    first = np.floor(centres - 0.5).astype(np.int64) - 1
    for tap in range(4):
        place = first + tap
        far = _keys(np.abs(place + 0.5 - centres), -0.75)
        np.add.at(rows, (np.arange(len(centres)), np.clip(place, 0, old - 1)), far)
    return np.asarray(rows, np.float32)


def _kernel(interpolation: str) -> Any:
    kernels = {"bilinear": _triangle, "bicubic": _keys, "lanczos3": _lanczos(3), "lanczos5": _lanczos(5)}
    return kernels[interpolation]


def _triangle(x: Array) -> Array:
    return np.clip(1.0 - x, 0.0, None)


def _keys(x: Array, a: float = -0.5) -> Array:
    """Keys 1981."""
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a
    return np.where(x < 1.0, near, far) * (x < 2.0)


def _lanczos(radius: int) -> Any:
    def kernel(x: Array) -> Array:
        return np.where(x <= radius, np.sinc(x) * np.sinc(x / radius), 0.0)

    return kernel


def _nearest(g: Builder, x: Tensor, size: Sequence[int]) -> Tensor:
    """Element floor((i + 0.5) * old / new), in float32 as TensorFlow computes it.

    A Resize where that repeats each element equally often, else a Gather of these indices: a Resize rounds differently
    where i + 0.5 falls close to the border of two elements.
    """
    scales, value = np.ones(4, np.float32), x.value
    for axis, old, new in zip((2, 3), _sizes(g, x), size, strict=True):
        centres = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(np.float32(old) / np.float32(new))
        indices = np.minimum(np.floor(centres).astype(np.int64), old - 1)
        if new % old == 0 and (indices == np.arange(new) // (new // old)).all():
            scales[axis] = new // old
        else:
            value = g.op("Gather", value, indices, axis=axis)
    return Tensor(repeated(g, value, scales) if math.prod(scales) != 1 else value, x.order)
