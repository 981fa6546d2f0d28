"""Images sampled at computed places: affine and perspective transforms, map_coordinates, scale and translate.

The places are constants, and the sampling a few Gathers, where the transform is one. Rules are those of TensorFlow's
kernels, which Keras's TensorFlow backend calls.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import image
from converters.openings.common import cast, dtype_of, is_float, known
from converters.registry import opens


@opens(image.MapCoordinates)
def map_coordinates(op: Any, inputs: Any, coordinates: Any) -> Any:
    """The nearest element, or the 2^rank around a place weighted by their nearness."""
    sizes = [known(size, "the size of what is sampled") for size in inputs.shape]
    coordinates = cast(coordinates, "float32")
    parts = []
    for axis, size in enumerate(sizes):
        place = coordinates[axis]
        low = ops.round(place) if op.order == 0 else ops.floor(place)
        part = ops.subtract(place, low)
        choices = [(low, 1.0)] if op.order == 0 else [(low, ops.subtract(1.0, part)), (ops.add(low, 1.0), part)]
        parts.append([(*_inside(ops.cast(index, "int32"), size, op.fill_mode), weight) for index, weight in choices])
    flat, strides = ops.ravel(inputs), [int(np.prod(sizes[axis + 1 :])) for axis in range(len(sizes))]
    total: Any = 0.0
    for corner in itertools.product(*parts):
        index = _sum([ops.multiply(index, stride) for (index, _, _), stride in zip(corner, strides, strict=True)])
        value = ops.cast(ops.take(flat, index, axis=0), "float32")
        if op.fill_mode == "constant":
            value = ops.where(functools.reduce(ops.logical_and, [v for _, v, _ in corner]), value, float(op.fill_value))
        weight = functools.reduce(ops.multiply, [weight for _, _, weight in corner])
        total = ops.add(ops.multiply(value, weight), total)
    return ops.cast(total if is_float(inputs) else ops.round(total), dtype_of(inputs))


def _sum(values: list[Any]) -> Any:
    """The sum of tensors."""
    return functools.reduce(ops.add, values)


def _inside(index: Any, size: int, mode: str) -> tuple[Any, Any]:
    """An index that is in range by the rule of a fill mode, and where it was without one."""
    valid = ops.logical_and(ops.greater_equal(index, 0), ops.less(index, size))
    if mode == "wrap":
        index = ops.mod(index, size)
    elif mode in ("mirror", "reflect"):
        turn = ops.mod(ops.abs(index), 2 * size)
        back = ops.subtract(2 * size - (1 if mode == "reflect" else 0), turn)
        index = ops.where(ops.less(turn, size), turn, back)
    return ops.clip(index, 0, size - 1), valid


@opens(image.AffineTransform)
def affine_transform(op: Any, images: Any, transform: Any) -> Any:
    """Element (x, y) is the input's at ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), k = c0 x + c1 y + 1."""
    return _transformed(op, images, transform, op.fill_mode)


@opens(image.PerspectiveTransform)
def perspective_transform(op: Any, images: Any, start_points: Any, end_points: Any) -> Any:
    """The transform that takes four points to four others, the solution of eight equations."""
    start, end = (ops.reshape(cast(points, "float32"), (-1, 4, 2)) for points in (start_points, end_points))
    rows, targets = [], []
    for corner in range(4):
        x, y = end[:, corner, 0], end[:, corner, 1]
        one, zero = ops.ones_like(x), ops.zeros_like(x)
        for axis, point in enumerate(((x, y, one), (zero, zero, zero))):
            target = start[:, corner, axis]
            other = (zero, zero, zero) if axis == 0 else (x, y, one)
            tail = (ops.negative(ops.multiply(target, x)), ops.negative(ops.multiply(target, y)))
            rows.append(ops.stack([*point, *other, *tail], axis=-1))
            targets.append(target)
    transform = ops.solve(ops.stack(rows, axis=1), ops.expand_dims(ops.stack(targets, axis=-1), -1))
    return _transformed(op, images, ops.reshape(transform, (-1, 8)), "constant")


def _transformed(op: Any, images: Any, transform: Any, mode: str) -> Any:
    single = len(images.shape) == 3
    x = ops.expand_dims(images, 0) if single else images
    first = op.data_format == "channels_first"
    x = ops.transpose(x, (0, 2, 3, 1)) if first else x
    height, width, channels = (known(size, "a size of the image") for size in x.shape[1:])
    column = np.tile(np.arange(width, dtype=np.float32), height)
    row = np.repeat(np.arange(height, dtype=np.float32), width)
    transform = ops.reshape(cast(transform, "float32"), (-1, 8, 1))
    a0, a1, a2, b0, b1, b2, c0, c1 = (transform[:, index] for index in range(8))

    def line(p: Any, q: Any, r: Any) -> Any:
        return ops.add(ops.add(ops.multiply(p, column), ops.multiply(q, row)), r)

    k = line(c0, c1, 1.0)
    across = _mapped(ops.divide(line(a0, a1, a2), k), width, mode)
    down = _mapped(ops.divide(line(b0, b1, b2), k), height, mode)
    flat = ops.reshape(x, (-1, height * width, channels))
    sample = functools.partial(_sampled, flat, width, height, float(op.fill_value))
    if op.interpolation == "nearest":
        y = sample(_half_away(across), _half_away(down))
    else:
        left, top = ops.floor(across), ops.floor(down)
        right, bottom = (ops.expand_dims(ops.subtract(a, b), -1) for a, b in ((across, left), (down, top)))
        upper, lower = (
            ops.add(
                ops.multiply(sample(left, line), ops.subtract(1.0, right)),
                ops.multiply(sample(ops.add(left, 1.0), line), right),
            )
            for line in (top, ops.add(top, 1.0))
        )
        y = ops.add(ops.multiply(upper, ops.subtract(1.0, bottom)), ops.multiply(lower, bottom))
    y = ops.cast(ops.reshape(y, (-1, height, width, channels)), dtype_of(images))
    y = ops.transpose(y, (0, 3, 1, 2)) if first else y
    return ops.squeeze(y, 0) if single else y


def _half_away(x: Any) -> Any:
    """Rounded, halves away from zero."""
    return ops.multiply(ops.sign(x), ops.floor(ops.add(ops.abs(x), 0.5)))


def _mapped(place: Any, size: int, mode: str) -> Any:
    """A place brought into the image by the rule of a fill mode; by none for ``constant``."""
    if mode == "constant":
        return place
    if mode == "reflect":  # d c b a | a b c d | d c b a
        shifted = ops.mod(place, 2.0 * size)
        place = ops.where(ops.less(shifted, size), shifted, ops.subtract(2.0 * size - 1.0, shifted))
    elif mode == "wrap" and size > 1:
        below = ops.multiply(ops.add(ops.floor(ops.divide(ops.negative(place), size - 1.0)), 1.0), float(size))
        above = ops.multiply(ops.floor(ops.divide(place, size - 1.0)), float(size))
        wrapped = ops.where(ops.greater(place, size - 1.0), ops.subtract(place, above), place)
        place = ops.where(ops.less(place, 0.0), ops.add(place, below), wrapped)
    return ops.clip(place, 0.0, size - 1.0)


def _sampled(flat: Any, width: int, height: int, fill: float, column: Any, row: Any) -> Any:
    """The pixels (batch, places, channels) in these columns and rows; the fill value outside of the image."""
    inside = functools.reduce(
        ops.logical_and,
        [ops.greater_equal(column, 0.0), ops.less(column, width), ops.greater_equal(row, 0.0), ops.less(row, height)],
    )
    column, row = ops.clip(column, 0.0, width - 1.0), ops.clip(row, 0.0, height - 1.0)
    index = ops.cast(ops.add(ops.multiply(row, float(width)), column), "int32")
    if index.shape[0] == 1:
        pixels = ops.take(flat, ops.reshape(index, (-1,)), axis=1)
    else:
        pixels = ops.take_along_axis(flat, ops.expand_dims(index, -1), axis=1)
    return ops.where(ops.expand_dims(inside, -1), ops.cast(pixels, "float32"), fill)


@opens(image.ScaleAndTranslate)
def scale_and_translate(op: Any, images: Any, output_shape: Any, scale: Any, translation: Any) -> Any:
    """Along each axis a product with the kernel's weights around each new element."""
    scale, translation = (cast(value, "float32") for value in (scale, translation))
    x = images if is_float(images) else ops.cast(images, "float32")
    for index, axis in enumerate(axis % len(images.shape) for axis in op.spatial_dims):
        old = known(images.shape[axis], "the size of a scaled axis")
        weights = _weights(op, old, int(output_shape[axis]), scale[index], translation[index])
        x = ops.moveaxis(ops.matmul(ops.moveaxis(x, axis, -1), ops.cast(weights, dtype_of(x))), -1, axis)
    if is_float(images):
        return x
    low, high = (ops.cast(f(images), "float32") for f in (ops.min, ops.max))
    return ops.cast(ops.minimum(ops.maximum(ops.round(x), low), high), dtype_of(images))


def _weights(op: Any, old: int, new: int, scale: Any, translation: Any) -> Any:
    inverse = ops.divide(1.0, scale)
    stretch = ops.maximum(inverse, 1.0) if op.antialias else 1.0
    centres = np.arange(new, dtype=np.float32) + np.float32(0.5)
    place = ops.subtract(ops.multiply(ops.subtract(centres, translation), inverse), 0.5)
    distance = ops.abs(ops.subtract(place, np.arange(old, dtype=np.float32)[:, None]))
    rows = _kernel(op.method, ops.divide(distance, stretch))
    total = ops.sum(rows, axis=0, keepdims=True)
    large = ops.greater(ops.abs(total), 1000.0 * float(np.finfo(np.float32).eps))
    rows = ops.where(large, ops.divide(rows, ops.where(ops.equal(total, 0), 1.0, total)), 0.0)
    return ops.where(ops.logical_and(ops.greater_equal(place, -0.5), ops.less_equal(place, old - 0.5)), rows, 0.0)


def _kernel(method: str, x: Any) -> Any:
    if method in ("linear", "bilinear", "trilinear", "triangle"):
        return ops.relu(ops.subtract(1.0, x))
    if method in ("cubic", "bicubic", "tricubic"):
        near = ((1.5 * x - 2.5) * x) * x + 1.0
        far = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
        return ops.where(ops.less(x, 1.0), near, ops.where(ops.less(x, 2.0), far, 0.0))
    radius = float(method[-1])
    wave = ops.multiply(ops.sinc(x), ops.sinc(ops.divide(x, radius)))
    return ops.where(ops.greater(x, radius), 0.0, wave)
