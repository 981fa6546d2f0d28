"""Attention layers of CBAM, the Convolutional Block Attention Module (Woo et al., ECCV 2018, arXiv 1807.06521).

Written in Keras layers and `keras.ops` alone, so they run on every Keras backend and open to plain operations. Models
that were saved with them load once this module has been imported.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


def _positive_int(layer: keras.layers.Layer, argument: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{type(layer).__name__}: `{argument}` must be a positive integer, found {value!r}")
    return value


class _Attention(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """What the layers here share: a feature map of rank 4 in either data format, and an output of the input's shape."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = keras.config.image_data_format() if data_format is None else data_format
        if self.data_format not in ("channels_last", "channels_first"):
            raise ValueError(
                f"{type(self).__name__}: `data_format` must be 'channels_last' or 'channels_first', "
                f"found {data_format!r}"
            )
        self.channel_axis = 3 if self.data_format == "channels_last" else 1
        self.spatial_axes = (1, 2) if self.data_format == "channels_last" else (2, 3)

    def channels(self, input_shape: Shape) -> int:
        """The channel count of a feature map's shape. Raises ValueError for another rank, or an unknown count."""
        channels = input_shape[self.channel_axis] if len(input_shape) == 4 else None
        if channels is None:
            raise ValueError(
                f"{type(self).__name__}: expects a feature map of rank 4 ({self.data_format}) with a known number of "
                f"channels, found shape {tuple(input_shape)}"
            )
        return channels

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


@keras.saving.register_keras_serializable(package="kerasrt")
class ChannelAttention(_Attention):
    """Scales every channel by a gate in (0, 1): equation 2, M_c(F) = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F))).

    The MLP is `W1(relu(W0(v)))`; both pooled vectors go through it as the two positions of one map. Input and output:
    (batch, height, width, channels), or (batch, channels, height, width) with ``data_format="channels_first"``.

    ``reduction_ratio``: the hidden layer has ``max(1, channels // reduction_ratio)`` units; ``use_bias``: of both
    Dense layers.
    """

    def __init__(
        self, reduction_ratio: int = 16, use_bias: bool = True, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.reduction_ratio = _positive_int(self, "reduction_ratio", reduction_ratio)
        self.use_bias = use_bias

    def build(self, input_shape: Shape) -> None:
        channels = self.channels(input_shape)
        hidden = max(1, channels // self.reduction_ratio)
        dense = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.reduce = keras.layers.Dense(hidden, activation="relu", name="reduce", **dense)
        self.expand = keras.layers.Dense(channels, name="expand", **dense)
        self.reduce.build((None, 2, 1, channels))
        self.expand.build((None, 2, 1, hidden))

    def call(self, inputs: Any) -> Any:
        pooled = ops.concatenate(
            [
                ops.mean(inputs, axis=self.spatial_axes, keepdims=True),
                ops.max(inputs, axis=self.spatial_axes, keepdims=True),
            ],
            axis=self.spatial_axes[0],
        )
        if self.data_format == "channels_first":
            pooled = ops.transpose(pooled, (0, 2, 3, 1))
        gate = ops.sigmoid(ops.sum(self.expand(self.reduce(pooled)), axis=1, keepdims=True))
        if self.data_format == "channels_first":
            gate = ops.transpose(gate, (0, 3, 1, 2))
        return ops.multiply(inputs, gate)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "reduction_ratio": self.reduction_ratio, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(package="kerasrt")
class SpatialAttention(_Attention):
    """Scales every position by a gate in (0, 1): equation 3, M_s(F) = sigmoid(conv([AvgPool(F); MaxPool(F)])).

    Here the pools are over channels. Input and output: (batch, height, width, channels), or (batch, channels, height,
    width) with ``data_format="channels_first"``.

    ``kernel_size``: of the convolution, odd (the paper's choice is 7); ``use_bias``: of the convolution.
    """

    def __init__(
        self, kernel_size: int = 7, use_bias: bool = False, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = _positive_int(self, "kernel_size", kernel_size)
        if self.kernel_size % 2 == 0:
            raise ValueError(f"{type(self).__name__}: `kernel_size` must be odd, found {kernel_size!r}")
        self.use_bias = use_bias

    def build(self, input_shape: Shape) -> None:
        self.channels(input_shape)
        self.conv = keras.layers.Conv2D(
            1,
            self.kernel_size,
            padding="same",
            use_bias=self.use_bias,
            data_format=self.data_format,
            name="conv",
            dtype=self.dtype_policy,
        )
        shape = list(input_shape)
        shape[self.channel_axis] = 2
        self.conv.build(tuple(shape))

    def call(self, inputs: Any) -> Any:
        pooled = ops.concatenate(
            [
                ops.mean(inputs, axis=self.channel_axis, keepdims=True),
                ops.max(inputs, axis=self.channel_axis, keepdims=True),
            ],
            axis=self.channel_axis,
        )
        return ops.multiply(inputs, ops.sigmoid(self.conv(pooled)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kernel_size": self.kernel_size, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(package="kerasrt")
class CBAM(_Attention):
    """Channel attention, then spatial attention: equation 1, F' = M_c(F) * F and F'' = M_s(F') * F'.

    Input and output: (batch, height, width, channels), or (batch, channels, height, width) with
    ``data_format="channels_first"``. ``reduction_ratio`` goes to `ChannelAttention`, ``kernel_size`` to
    `SpatialAttention`; the sublayers are named ``channel`` and ``spatial``.
    """

    def __init__(
        self, reduction_ratio: int = 16, kernel_size: int = 7, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        shared = {"data_format": self.data_format, "dtype": self.dtype_policy}
        self.channel = ChannelAttention(reduction_ratio, name="channel", **shared)
        self.spatial = SpatialAttention(kernel_size, name="spatial", **shared)

    def build(self, input_shape: Shape) -> None:
        self.channel.build(input_shape)
        self.spatial.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.spatial(self.channel(inputs))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "reduction_ratio": self.channel.reduction_ratio,
            "kernel_size": self.spatial.kernel_size,
        }
