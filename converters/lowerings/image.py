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
    """Bilinear, nearest and bicubic with half-pixel centres, as tf.image.resize has them; the rest is refused."""
    unsupported = [name for name in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio") if getattr(op, name)]
    if op.interpolation not in ("bilinear", "nearest", "bicubic") or unsupported:
        raise ConversionError(
            f"resizing with interpolation '{op.interpolation}' {' '.join(unsupported)}".strip() + " has no lowering",
            where=f"layer '{g.path}'",
            expected="nearest, bilinear or bicubic, without antialiasing, cropping and padding",
        )
    rank = images.rank
    last = channel_axis(op, rank) == rank - 1
    x = images if rank == 4 else g.reshape(images, (1, *images.shape))
    order = layout.channels_first(4, 3 if last else 1)
    dtype = g.out.dtype
    x = g.arrange(cast(g, x, dtype if np.dtype(dtype).kind == "f" else "float32"), order)
    value = g.op(
        "Resize",
        x.value,
        None,
        None,
        np.asarray(op.size, np.int64),
        mode={"bilinear": "linear", "bicubic": "cubic", "nearest": "nearest"}[op.interpolation],
        coordinate_transformation_mode="half_pixel",
        cubic_coeff_a=-0.5 if op.interpolation == "bicubic" else None,
        exclude_outside=1 if op.interpolation == "bicubic" else None,
        nearest_mode="round_prefer_ceil" if op.interpolation == "nearest" else None,
        axes=[2, 3],
    )
    y = cast(g, Tensor(value, order), dtype)
    return y if rank == 4 else g.reshape(y, y.shape[1:])


@lowers(nn.DepthToSpace, nn.SpaceToDepth)
def depth_space(g: Builder, op: Any, x: Tensor) -> Tensor:
    """ONNX's DCR mode is TensorFlow's order of channels."""
    order = layout.channels_first(4, channel_axis(op, 4))
    x = g.arrange(x, order)
    if isinstance(op, nn.DepthToSpace):
        return Tensor(g.op("DepthToSpace", x.value, blocksize=int(op.block_size), mode="DCR"), order)
    return Tensor(g.op("SpaceToDepth", x.value, blocksize=int(op.block_size)), order)
