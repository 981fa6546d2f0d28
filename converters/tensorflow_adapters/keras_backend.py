"""Adapters of the `K.*` names that look at what a KerasTensor has not."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from converters.tensorflow_adapters import Adapter


def batch_flatten(x: Any) -> Any:
    return ops.reshape(x, (-1, math.prod(x.shape[1:])))


def arg(function: Adapter) -> Adapter:
    def extreme(x: Any, axis: int = -1) -> Any:
        return ops.cast(function(x, axis=axis), "int64")

    return extreme


def resize_images(
    x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest"
) -> Any:
    height, width = x.shape[1:3] if data_format == "channels_last" else x.shape[2:4]
    size = (height * height_factor, width * width_factor)
    return ops.image.resize(x, size, interpolation=interpolation, data_format=data_format)


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    then, other = (x() if callable(x) else x for x in (then_expression, else_expression))
    missing = len(then.shape) - len(condition.shape)
    condition = ops.reshape(condition, (*(size or -1 for size in condition.shape), *(1 for _ in range(missing))))
    return ops.where(condition, then, other)
