"""Bottleneck ResNets with optional CBAM, in Keras.

`block1` and `stack1` build the layers that `keras.applications.resnet` builds (He et al. 2015, arXiv 1512.03385), with
a CBAM layer before the addition where ``attention="cbam"`` (Woo et al. 2018, figure 3).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from converters.layers import CBAM

EPSILON = 1.001e-5
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Blocks of each of the four stacks, by depth."""


def _batch_norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(epsilon=EPSILON, name=name)(x)


def block1(
    x: Any,
    filters: int,
    *,
    kernel_size: int = 3,
    stride: int = 1,
    conv_shortcut: bool = True,
    attention: str | None = None,
    reduction_ratio: int = 16,
    name: str,
) -> Any:
    """A bottleneck block: 1x1 with the stride, ``kernel_size``, 1x1 to ``4 * filters`` channels, CBAM, addition, ReLU.

    ``conv_shortcut``: the other operand of the addition is a 1x1 convolution of the input, else the input itself.
    """
    if attention not in (None, "cbam"):
        raise ValueError(f"`attention` must be None or 'cbam', found {attention!r}")
    shortcut = x
    if conv_shortcut:
        shortcut = layers.Conv2D(4 * filters, 1, strides=stride, name=f"{name}_0_conv")(x)
        shortcut = _batch_norm(shortcut, f"{name}_0_bn")
    x = layers.Conv2D(filters, 1, strides=stride, name=f"{name}_1_conv")(x)
    x = _batch_norm(x, f"{name}_1_bn")
    x = layers.Activation("relu", name=f"{name}_1_relu")(x)
    x = layers.Conv2D(filters, kernel_size, padding="same", name=f"{name}_2_conv")(x)
    x = _batch_norm(x, f"{name}_2_bn")
    x = layers.Activation("relu", name=f"{name}_2_relu")(x)
    x = layers.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x)
    x = _batch_norm(x, f"{name}_3_bn")
    if attention == "cbam":
        x = CBAM(reduction_ratio, name=f"{name}_cbam")(x)
    x = layers.Add(name=f"{name}_add")([shortcut, x])
    return layers.Activation("relu", name=f"{name}_out")(x)


def stack1(x: Any, filters: int, blocks: int, *, stride1: int = 2, name: str, **options: Any) -> Any:
    """``blocks`` bottleneck blocks, the first with ``stride1`` and a convolution shortcut; ``options``: of `block1`."""
    x = block1(x, filters, stride=stride1, name=f"{name}_block1", **options)
    for i in range(2, blocks + 1):
        x = block1(x, filters, conv_shortcut=False, name=f"{name}_block{i}", **options)
    return x


def resnet(
    depth: int = 50,
    attention: str | None = None,
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 1000,
) -> keras.Model:
    """An untrained ResNet. Input ``image``: (batch, *input_shape); output ``logits``: (batch, classes).

    Raises ValueError for a depth other than 50, 101 and 152.
    """
    if depth not in BLOCKS:
        raise ValueError(f"`depth` must be one of {sorted(BLOCKS)}, found {depth!r}")
    inputs = keras.Input(input_shape, name="image")
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(64, 7, strides=2, name="conv1_conv")(x)
    x = _batch_norm(x, "conv1_bn")
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)
    x = layers.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, blocks in enumerate(BLOCKS[depth]):
        stride = 1 if stage == 0 else 2
        x = stack1(x, 64 * 2**stage, blocks, stride1=stride, name=f"conv{stage + 2}", attention=attention)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, x, name=f"{'cbam_' if attention else ''}resnet{depth}")


def digits(attention: str | None = "cbam") -> keras.Model:
    """A small ResNet for 8x8 digits. Input ``image``: (batch, 8, 8, 1), 0 to 1; output ``logits``: (batch, 10)."""
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="conv1_conv")(inputs)
    x = _batch_norm(x, "conv1_bn")
    x = layers.Activation("relu", name="conv1_relu")(x)
    x = stack1(x, 16, 2, stride1=1, name="conv2", attention=attention, reduction_ratio=8)
    x = stack1(x, 32, 2, stride1=2, name="conv3", attention=attention, reduction_ratio=8)
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(10, name="logits")(x)
    return keras.Model(inputs, x, name="digits")


def calibrate_batch_norm(model: keras.Model, images: NDArray[np.float32], seed: int = 0) -> None:
    """Gives an untrained model the statistics and the spread of weights that a trained one has.

    Gamma, beta and every bias are drawn at random, then one forward pass in training mode at momentum 0 sets every
    BatchNormalization's moving mean and variance to those of ``images``. The last gamma of a residual branch is small,
    as it is in trained ResNets, where it starts at zero (Goyal et al. 2017, arXiv 1706.02677, section 5.1). Without
    both an untrained network amplifies rounding noise layer by layer, and comparing its outputs would say nothing.
    """
    rng = np.random.default_rng(seed)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for variable in model.trainable_variables:
        shape = tuple(variable.shape)
        if variable.name == "gamma":
            branch_end = "_3_bn/" in variable.path
            variable.assign(rng.uniform(0.1, 0.3, shape) if branch_end else rng.uniform(0.5, 1.5, shape))
        elif variable.name in ("beta", "bias"):
            variable.assign(rng.normal(0.0, 0.1, shape))
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    model(images, training=True)
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
