"""MEAN_Spot and MEAN_Spot with CBAM, in Keras.

The spotting network of MEAN, the Micro-Expression Analysis Network (Liong, See, Chan, "Spot-then-recognize", Signal
Processing: Image Communication 110, 2023), in the lineage of SOFTNet (Liong et al. 2021, arXiv 2106.06489): three
shallow streams score one frame from the optical flow to a later frame.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from converters.layers import CBAM

SIZE = 42
STREAMS = {"u": 3, "v": 3, "strain": 8}
"""Filters of each stream: horizontal flow, vertical flow, optical strain."""


def _stream(name: str, filters: int) -> tuple[Any, Any]:
    """One stream: (batch, 42, 42, 1) to (batch, 14, 14, filters). Returns its input and its output."""
    inputs = keras.Input((SIZE, SIZE, 1), name=name)
    x = layers.Conv2D(
        filters,
        5,
        padding="same",
        activation="relu",
        kernel_regularizer=keras.regularizers.L2(1e-4),
        name=f"{name}_conv",
    )(inputs)
    x = layers.BatchNormalization(name=f"{name}_bn")(x)
    x = layers.MaxPooling2D(3, strides=3, padding="same", name=f"{name}_pool")(x)
    return inputs, layers.Dropout(0.2, name=f"{name}_dropout")(x)


def cbam_residual(x: Any, name: str = "residual") -> Any:
    """A residual block with CBAM on its branch, before the addition (Woo et al. 2018, figure 3). Keeps the shape."""
    filters = x.shape[-1]
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_1_conv")(x)
    y = layers.BatchNormalization(name=f"{name}_1_bn")(y)
    y = layers.Activation("relu", name=f"{name}_1_relu")(y)
    y = layers.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(y)
    y = layers.BatchNormalization(name=f"{name}_2_bn")(y)
    y = CBAM(reduction_ratio=4, name=f"{name}_cbam")(y)
    y = layers.Add(name=f"{name}_add")([x, y])
    return layers.Activation("relu", name=f"{name}_out")(y)


def mean_spot(attention: str | None = None) -> keras.Model:
    """The untrained model. Inputs ``u``, ``v``, ``strain``: (batch, 42, 42, 1), pixels; output ``spot``: (batch, 1).

    ``attention``: None for MEAN_Spot, ``"cbam"`` for the same with a CBAM-ResNet module after the merge.
    """
    if attention not in (None, "cbam"):
        raise ValueError(f"`attention` must be None or 'cbam', found {attention!r}")
    streams = [_stream(name, filters) for name, filters in STREAMS.items()]
    x = layers.Concatenate(name="merge")([output for _, output in streams])
    if attention == "cbam":
        x = cbam_residual(x)
    x = layers.Conv2D(8, 5, padding="same", activation="relu", name="conv")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(1, name="spot")(x)
    return keras.Model([inputs for inputs, _ in streams], x, name="mean_spot_cbam" if attention else "mean_spot")
