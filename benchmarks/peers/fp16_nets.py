"""Small networks in which something must stay high, or no tool can turn everything into FP16: one structure each.

Weights are random, from one seed; every input has 64 samples. What each is for is its function's docstring.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import NDArray

Samples = dict[str, NDArray[Any]]
Net = tuple[keras.Model, Samples]

COUNT = 64
CLASSES = 10


def made(name: str) -> Net:
    """The network of that name, and samples of its inputs."""
    keras.utils.set_random_seed(0)
    return NETS[name]()


def _normal(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(COUNT, *shape)).astype(np.float32)


def _conv(x: Any, filters: int, name: str, activation: str | None = "relu") -> Any:
    return layers.Conv2D(filters, 3, padding="same", activation=activation, name=name)(x)


def _classifier(x: Any) -> Any:
    return layers.Dense(CLASSES, name="logits")(layers.GlobalAveragePooling2D()(x))


def _hostile() -> Net:
    """Activations of 1e5 between two convolutions, behind calm ones."""
    inputs = keras.Input((12, 12, 8), name="image")
    x = _conv(_conv(inputs, 16, "calm1"), 16, "huge")
    x = _conv(_conv(x, 16, "after_huge"), 16, "calm2")
    model = keras.Model(inputs, _classifier(x))
    for name, factor in (("huge", 3e5), ("after_huge", 1 / 3e5)):
        model.get_layer(name).kernel.assign(model.get_layer(name).kernel * factor)
    return model, {"image": _normal(12, 12, 8)}


def _two_large() -> Net:
    """Activations of 1e5 at two places that lie apart, each scaled down by an ordinary product."""
    inputs = keras.Input((12, 12, 8), name="image")
    x = _conv(inputs, 16, "first")
    for index in range(2):
        y = layers.Rescaling(2e5, name=f"up{index}")(x)
        y = layers.ReLU(name=f"relu{index}")(y)
        x = _conv(layers.Rescaling(1 / 2e5, name=f"down{index}")(y), 16, f"conv{index}")
    return keras.Model(inputs, _classifier(x)), {"image": _normal(12, 12, 8)}


class _Unit(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """x / (|x| + 1e-8)."""

    def call(self, x: Any) -> Any:
        return x / (ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True)) + 1e-8)


def _epsilon() -> Net:
    """Divisions that a small constant guards, with samples of zeros and of small values."""
    inputs = keras.Input((12, 12, 8), name="image")
    x = _conv(_Unit(name="unit")(_conv(inputs, 16, "first")), 16, "second")
    x = layers.UnitNormalization(name="normalized")(x)
    samples = _normal(12, 12, 8)
    samples[:4] *= np.array([0, 1e-2, 1e-3, 1e-4], np.float32)[:, None, None, None]
    return keras.Model(inputs, _classifier(_conv(x, 16, "third"))), {"image": samples}


def _convnext() -> Net:
    """Depthwise convolutions, LayerNormalization, GELU and LayerScale, as in ConvNeXt."""
    inputs = keras.Input((24, 24, 3), name="image")
    x = layers.LayerNormalization(epsilon=1e-6)(layers.Conv2D(32, 4, strides=4, name="stem")(inputs))
    for index in range(2):
        y = layers.DepthwiseConv2D(7, padding="same", name=f"depthwise{index}")(x)
        y = layers.LayerNormalization(epsilon=1e-6)(y)
        y = layers.Dense(32, name=f"narrow{index}")(layers.Dense(128, activation="gelu", name=f"wide{index}")(y))
        x = layers.Add()([x, y])
    x = layers.LayerNormalization(epsilon=1e-6)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x)), {"image": _normal(24, 24, 3)}


def _transformer() -> Net:
    """An encoder layer over tokens: Embedding, positions, a padding mask, attention, LayerNormalization."""
    tokens = keras.Input((16,), dtype="int32", name="tokens")
    x = layers.Embedding(50, 32, name="embedding")(tokens)
    mask = ops.not_equal(tokens, 0)
    y = layers.MultiHeadAttention(4, 8, name="attention")(x, x, attention_mask=mask[:, None, :])
    x = layers.LayerNormalization(name="norm1")(x + y)
    y = layers.Dense(32, name="narrow")(layers.Dense(64, activation="gelu", name="wide")(x))
    x = layers.LayerNormalization(name="norm2")(x + y)
    outputs = layers.Dense(CLASSES, activation="softmax", name="classes")(layers.GlobalAveragePooling1D()(x))
    samples = np.random.default_rng(0).integers(1, 50, (COUNT, 16)).astype(np.int32)
    samples[:, 12:] = 0
    return keras.Model(tokens, outputs), {"tokens": samples}


def _vit() -> Net:
    """Attention with softmax over patches of an image."""
    inputs = keras.Input((24, 24, 3), name="image")
    x = layers.Reshape((36, 32))(layers.Conv2D(32, 4, strides=4, name="patches")(inputs))
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 8, name="attention")(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6)(x)
    x = layers.Add()([x, layers.Dense(32, name="mlp2")(layers.Dense(64, activation="gelu", name="mlp1")(y))])
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(x[:, 0])), {"image": _normal(24, 24, 3)}


def _resize() -> Net:
    """A decoder: bilinear and nearest Resize, skip connections, a transposed convolution."""
    inputs = keras.Input((24, 24, 3), name="image")
    skip = _conv(inputs, 8, "down1")
    x = _conv(layers.MaxPooling2D()(skip), 16, "down2")
    x = layers.UpSampling2D(interpolation="bilinear")(_conv(layers.MaxPooling2D()(x), 16, "middle"))
    x = layers.UpSampling2D(interpolation="nearest")(_conv(x, 8, "up1"))
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up2")(layers.MaxPooling2D()(layers.Concatenate()([x, skip])))
    return keras.Model(inputs, layers.Conv2D(2, 1, name="segments")(x)), {"image": _normal(24, 24, 3)}


def _recurrent() -> Net:
    """Bidirectional LSTM and GRU between products."""
    inputs = keras.Input((20, 16), name="frames")
    x = layers.Dense(24, activation="relu", name="first")(inputs)
    x = layers.Bidirectional(layers.LSTM(16, return_sequences=True), name="lstm")(x)
    return keras.Model(inputs, layers.Dense(CLASSES, name="logits")(layers.GRU(16, name="gru")(x))), {
        "frames": _normal(20, 16)
    }


class _Iterated(layers.Layer):  # type: ignore[misc]
    """Twelve steps of a loop, and a branch: bodies that read what lies around them."""

    def call(self, x: Any) -> Any:
        y = ops.fori_loop(0, 12, lambda i, y: y * 0.9 + ops.tanh(x), x)
        return ops.cond(ops.sum(x) > 0, lambda: y * 2.0, lambda: y + x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def _control_flow() -> Net:
    """Loop and If between products."""
    inputs = keras.Input((12, 8), name="frames")
    x = _Iterated(name="iterated")(layers.Dense(8, name="first")(inputs))
    return keras.Model(inputs, layers.Dense(4, name="last")(x)), {"frames": _normal(12, 8)}


def _shared() -> Net:
    """One input with several readers, a second input, an output that is read on, and one that is an input's product."""
    image, size = keras.Input((12, 12, 4), name="image"), keras.Input((8,), name="size")
    branches = [_conv(image, 8, "left"), _conv(image, 8, "right"), layers.Conv2D(8, 1, name="middle")(image)]
    features = layers.Activation("relu", name="features")(layers.Add()(branches))
    pooled = layers.Concatenate()([layers.GlobalAveragePooling2D()(features), layers.Dense(8, name="sized")(size)])
    scores = layers.Dense(CLASSES, name="scores")(pooled)
    outputs = {"features": features, "scores": scores, "classes": layers.Softmax(name="classes")(scores)}
    return keras.Model([image, size], outputs), {"image": _normal(12, 12, 4), "size": _normal(8, seed=1)}


class _Sorted(layers.Layer):  # type: ignore[misc]
    """Operators that ONNX has in FP32 alone or that count: CumSum, TopK, Range, one-hot comparison."""

    def call(self, x: Any) -> Any:
        values, _ = ops.top_k(x, 8)
        return ops.cumsum(values, axis=-1) + ops.cast(ops.arange(8), x.dtype)


def _sorted() -> Net:
    """CumSum, TopK and a position ramp between products."""
    inputs = keras.Input((12, 16), name="frames")
    x = _Sorted(name="sorted")(layers.Dense(16, name="first")(inputs))
    return keras.Model(inputs, layers.Dense(4, name="last")(x)), {"frames": _normal(12, 16)}


NETS: dict[str, Callable[[], Net]] = {
    "hostile": _hostile,
    "two_large": _two_large,
    "epsilon": _epsilon,
    "convnext": _convnext,
    "transformer": _transformer,
    "vit": _vit,
    "resize": _resize,
    "recurrent": _recurrent,
    "control_flow": _control_flow,
    "shared": _shared,
    "sorted": _sorted,
}
