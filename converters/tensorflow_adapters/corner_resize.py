"""Bilinear resizing as TensorFlow 1 has it, which `keras.ops` has not: the corners' centres or edges stay in place."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor


class CornerResize(keras.Operation):  # type: ignore[misc]  # Keras has no type information
    """Images (batch, height, width, channel) to a size; float32.

    ``aligned``: the centres of the corner pixels stay in place (``align_corners=True``), else the upper left edge does.
    """

    def __init__(self, size: tuple[int, int], *, aligned: bool) -> None:
        super().__init__()
        self.size, self.aligned = size, aligned

    def call(self, images: Any) -> Any:
        import tensorflow as tf

        return tf.compat.v1.image.resize(images, self.size, align_corners=self.aligned)

    def compute_output_spec(self, images: Any) -> KerasTensor:
        batch, _, _, channels = images.shape
        return KerasTensor((batch, *self.size, channels), "float32")


def resize(
    images: Any, size: Any, method: Any = "bilinear", align_corners: bool = False, preserve_aspect_ratio: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """``tf.compat.v1.image.resize`` of a batch of images."""
    bilinear = getattr(method, "value", method) in ("bilinear", 0)
    if not bilinear or preserve_aspect_ratio or len(images.shape) != 4:
        raise NotImplementedError("tf.compat.v1.image.resize other than bilinear, of a batch, to a given size")
    height, width = (int(n) for n in size)
    return CornerResize((height, width), aligned=align_corners).symbolic_call(images)


def resize_bilinear(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None, half_pixel_centers: bool = False
) -> Any:
    if half_pixel_centers:
        return keras.ops.image.resize(images, tuple(size), data_format="channels_last")
    return resize(images, size, align_corners=align_corners)
