"""A MobileNetV3-like and an EfficientNet-like network for 8x8 digits, in Keras.

Both stack one block (`inverted_residual`): 1x1 to more channels, depthwise, squeeze-and-excitation, 1x1 to fewer, and
an addition where the shapes agree (Sandler et al. 2018, arXiv 1801.04381; Hu et al. 2017, arXiv 1709.01507).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def _norm(x: Any, name: str, activation: str | None = None) -> Any:
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.9, name=f"{name}_bn")(x)
    return layers.Activation(activation, name=f"{name}_{activation}")(x) if activation else x


def _excite(x: Any, squeezed: int, inner: str, gate: str, name: str) -> Any:
    """Scales each channel by a gate of all channels' means (Hu et al. 2017, figure 3)."""
    weights = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze")(x)
    weights = layers.Conv2D(squeezed, 1, activation=inner, name=f"{name}_reduce")(weights)
    weights = layers.Conv2D(x.shape[-1], 1, activation=gate, name=f"{name}_expand")(weights)
    return layers.Multiply(name=f"{name}_scale")([x, weights])


def inverted_residual(
    x: Any,
    filters: int,
    *,
    expansion: int,
    kernel_size: int,
    stride: int,
    activation: str,
    gate: str | None,
    squeezed: int = 0,
    inner: str = "relu",
    name: str,
) -> Any:
    """``expansion`` times the channels, depthwise convolution with the stride, gate, ``filters`` channels, addition.

    ``gate``: the activation of the squeeze-and-excitation gate, whose hidden layer has ``squeezed`` channels and the
    activation ``inner``; none where it is None.
    """
    source, channels = x, x.shape[-1]
    if expansion > 1:
        x = layers.Conv2D(expansion * channels, 1, use_bias=False, name=f"{name}_expand_conv")(x)
        x = _norm(x, f"{name}_expand", activation)
    x = layers.DepthwiseConv2D(kernel_size, stride, padding="same", use_bias=False, name=f"{name}_depthwise_conv")(x)
    x = _norm(x, f"{name}_depthwise", activation)
    if gate:
        x = _excite(x, squeezed, inner, gate, f"{name}_se")
    x = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")(x)
    x = _norm(x, f"{name}_project")
    return layers.Add(name=f"{name}_add")([source, x]) if stride == 1 and channels == filters else x


def mobilenet() -> keras.Model:
    """After MobileNetV3-Small (Howard et al. 2019, arXiv 1905.02244, table 2): hard-swish, hard-sigmoid gates.

    Input ``image``: (batch, 8, 8, 1), 0 to 1; output ``logits``: (batch, 10).
    """
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _norm(x, "stem", "hard_swish")
    blocks = (  # filters, expansion, kernel, stride, activation, gate
        (16, 1, 3, 1, "relu", "hard_sigmoid"),
        (16, 3, 3, 1, "relu", None),
        (24, 4, 3, 2, "hard_swish", "hard_sigmoid"),
        (24, 4, 5, 1, "hard_swish", "hard_sigmoid"),
        (32, 4, 3, 2, "hard_swish", "hard_sigmoid"),
        (32, 4, 3, 1, "hard_swish", "hard_sigmoid"),
    )
    for i, (filters, expansion, kernel_size, stride, activation, gate) in enumerate(blocks):
        squeezed = max(4, expansion * x.shape[-1] // 4)
        x = inverted_residual(
            x, filters, expansion=expansion, kernel_size=kernel_size, stride=stride, activation=activation, gate=gate,
            squeezed=squeezed, name=f"block{i}",
        )  # fmt: skip
    x = layers.Conv2D(96, 1, use_bias=False, name="top_conv")(x)
    x = _norm(x, "top", "hard_swish")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(64, activation="hard_swish", name="hidden")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(inputs, x, name="digits_mobilenet")


def efficientnet() -> keras.Model:
    """After EfficientNet-B0 (Tan and Le 2019, arXiv 1905.11946, table 1): swish, sigmoid gates of the block's input.

    Input ``image``: (batch, 8, 8, 1), 0 to 1; output ``logits``: (batch, 10).
    """
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, name="stem_conv")(inputs)
    x = _norm(x, "stem", "swish")
    stages = ((12, 1, 3, 1, 1), (16, 4, 3, 1, 2), (24, 4, 5, 2, 2), (32, 4, 3, 2, 2))
    for i, (filters, expansion, kernel_size, stride, repeats) in enumerate(stages):
        for j in range(repeats):
            x = inverted_residual(
                x, filters, expansion=expansion, kernel_size=kernel_size, stride=stride if j == 0 else 1,
                activation="swish", gate="sigmoid", squeezed=max(2, x.shape[-1] // 4), inner="swish",
                name=f"block{i}{'ab'[j]}",
            )  # fmt: skip
    x = layers.Conv2D(96, 1, use_bias=False, name="top_conv")(x)
    x = _norm(x, "top", "swish")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(inputs, x, name="digits_efficientnet")
