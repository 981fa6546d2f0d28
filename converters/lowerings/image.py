"""Image operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.keras_internals import image, nn
from converters.lowering import Builder, Tensor
from converters.lowerings.broadcasting import cast
from converters.lowerings.convolution import channel_axis
from converters.registry import lowers
from deploy.errors import ConversionError


@lowers(image.Resize)
def resize(g: Builder, op: Any, images: Tensor) -> Tensor:
    """Bilinear, nearest and bicubic with half-pixel centres, as tf.image.resize has them; the rest is refused.

    Bicubic is Keys's kernel with a = -0.5, exact; TensorFlow reads it from a table of 1024 entries, which is off by up
    to 1e-3 of the values' range.
    """
    unsupported = [name for name in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio") if getattr(op, name)]
    if op.interpolation not in ("bilinear", "nearest", "bicubic") or unsupported:
        raise ConversionError(
            f"resizing with interpolation '{op.interpolation}' {' '.join(unsupported)}".strip() + " has no lowering",
            where=g.where,
            expected="nearest, bilinear or bicubic, without antialiasing, cropping and padding",
        )
    rank = images.rank
    last = channel_axis(op, rank) == rank - 1
    x = images if rank == 4 else g.reshape(images, (1, *images.shape))
    order = layout.channels_first(4, 3 if last else 1)
    x, dtype, size = g.arrange(x, order), g.out.dtype, (int(op.size[0]), int(op.size[1]))
    y = _nearest(g, x, size) if op.interpolation == "nearest" else _interpolated(g, x, size, op.interpolation)
    y = cast(g, y, dtype)
    return y if rank == 4 else g.reshape(y, y.shape[1:])


def _interpolated(g: Builder, x: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    x = x if x.dtype.kind == "f" else cast(g, x, "float32")
    known = [s for s in layout.physical(x.shape, x.order)[2:] if s is not None]
    scales: Any = None
    sizes: Any = None
    if len(known) == 2:
        scales = np.asarray([1, 1, *(_factor(a, b) for a, b in zip(known, size, strict=True))], np.float32)
    else:
        sizes = g.op("Concat", g.op("Shape", x.value, start=0, end=2), np.asarray(size, np.int64), axis=0)
    cubic = interpolation == "bicubic"
    value = g.op(
        "Resize",
        x.value,
        None,
        scales,
        sizes,
        mode="cubic" if cubic else "linear",
        coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=-0.5 if cubic else None,
        exclude_outside=1 if cubic else None,
    )
    return Tensor(value, x.order)


def _factor(old: int, new: int) -> np.float32:
    """A float32 scale for which ONNX's rule, floor(old * scale), gives the new size in every precision."""
    factor = np.float32(new / old)
    while old * float(factor) < new:
        factor = np.nextafter(factor, np.float32(np.inf), dtype=np.float32)
    return factor


def _nearest(g: Builder, x: Tensor, size: tuple[int, int]) -> Tensor:
    """Element floor((i + 0.5) * old / new), in float32 as TensorFlow computes it.

    A Resize where that repeats each element equally often, else a Gather of these indices: a Resize rounds differently
    where i + 0.5 falls close to the border of two elements.
    """
    scales, value = np.ones(4, np.float32), x.value
    for axis, new in zip((2, 3), size, strict=True):
        old = layout.physical(x.shape, x.order)[axis]
        if old is None:
            raise ConversionError(
                "resizing an unknown size to the nearest neighbour", where=g.where, fix="give the size with --shapes"
            )
        centres = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * np.float32(np.float32(old) / np.float32(new))
        indices = np.minimum(np.floor(centres).astype(np.int64), old - 1)
        if new % old == 0 and (indices == np.arange(new) // (new // old)).all():
            scales[axis] = new // old
        else:
            value = g.op("Gather", value, indices, axis=axis)
    if (scales != 1).any():
        value = g.op(
            "Resize",
            value,
            None,
            scales,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
    return Tensor(value, x.order)


@lowers(nn.DepthToSpace, nn.SpaceToDepth)
def depth_space(g: Builder, op: Any, x: Tensor) -> Tensor:
    """ONNX's DCR mode is TensorFlow's order of channels."""
    order = layout.channels_first(4, channel_axis(op, 4))
    x = g.arrange(x, order)
    if isinstance(op, nn.DepthToSpace):
        return Tensor(g.op("DepthToSpace", x.value, blocksize=int(op.block_size), mode="DCR"), order)
    return Tensor(g.op("SpaceToDepth", x.value, blocksize=int(op.block_size)), order)
