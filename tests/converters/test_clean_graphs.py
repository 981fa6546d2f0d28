"""Attention blocks in the forms that people write them in: every form of a block ends in the same operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers, ops

from converters.layers import ChannelAttention, SpatialAttention
from tests.converters.checking import check, randomize
from tests.converters.tensorflow_only import needs_tensorflow

SIZE, CHANNELS, HIDDEN = 6, 16, 4
Block = Callable[[Any], Any]

SQUEEZE_EXCITE = "Conv:2,Mul:1,ReduceMean:1,Relu:1,Sigmoid:1"
CHANNEL = "Concat:1,Conv:2,Mul:1,ReduceMax:1,ReduceMean:1,Relu:1,Sigmoid:1"
SPATIAL = "Concat:1,Conv:1,Mul:1,ReduceMax:1,ReduceMean:1,Sigmoid:1"
EFFICIENT = "Conv:1,Mul:1,ReduceMean:1,Reshape:2,Sigmoid:1"


def _dense_gate(units: int = CHANNELS) -> list[Any]:
    return [layers.Dense(HIDDEN, activation="relu"), layers.Dense(units, activation="sigmoid")]


def _run(x: Any, *steps: Any) -> Any:
    for step in steps:
        x = step(x)
    return x


def se_dense_on_maps(x: Any) -> Any:
    gate = _run(x, layers.GlobalAveragePooling2D(), layers.Reshape((1, 1, CHANNELS)), *_dense_gate())
    return layers.multiply([x, gate])


def se_dense_on_vectors(x: Any) -> Any:
    gate = _run(x, layers.GlobalAveragePooling2D(), *_dense_gate(), layers.Reshape((1, 1, CHANNELS)))
    return layers.Multiply()([gate, x])


def se_convolutions(x: Any) -> Any:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(HIDDEN, 1, activation="relu", kernel_initializer="he_normal")(gate)
    return x * layers.Conv2D(CHANNELS, 1, activation="sigmoid")(gate)


def se_pooling_over_everything(x: Any) -> Any:
    gate = layers.AveragePooling2D(SIZE)(x)
    return layers.multiply([x, _run(gate, *_dense_gate())])


def se_lambda(x: Any) -> Any:
    gate = layers.Lambda(lambda v: ops.mean(v, axis=[1, 2], keepdims=True))(x)
    gate = _run(gate, layers.Dense(HIDDEN), layers.ReLU(), layers.Dense(CHANNELS), layers.Activation("sigmoid"))
    return layers.Lambda(lambda pair: pair[0] * pair[1])([x, gate])


def se_indexed(x: Any) -> Any:
    gate = _run(x, layers.GlobalAveragePooling2D(), *_dense_gate())
    return x * gate[:, None, None, :]


def se_permuted(x: Any) -> Any:
    """Computed with the channels in front, as code that came from another framework does."""
    moved = layers.Permute((3, 1, 2))(x)
    gate = _run(ops.mean(moved, axis=(2, 3)), *_dense_gate())
    return layers.Permute((2, 3, 1))(moved * ops.reshape(gate, (-1, CHANNELS, 1, 1)))


class SqueezeExcite(layers.Layer):
    def build(self, shape: Any) -> None:
        self.pool = layers.GlobalAveragePooling2D()
        self.mlp = keras.Sequential([layers.Input((CHANNELS,)), *_dense_gate()])

    def call(self, x: Any) -> Any:
        return x * ops.expand_dims(ops.expand_dims(self.mlp(self.pool(x)), 1), 1)


def _pools(keepdims: bool = False) -> tuple[Any, Any]:
    return layers.GlobalAveragePooling2D(keepdims=keepdims), layers.GlobalMaxPooling2D(keepdims=keepdims)


def channel_dense_on_maps(x: Any) -> Any:
    first, second = layers.Dense(HIDDEN, activation="relu"), layers.Dense(CHANNELS)
    to_map = layers.Reshape((1, 1, CHANNELS))
    added = layers.Add()([_run(x, pool, to_map, first, second) for pool in _pools()])
    return layers.multiply([x, layers.Activation("sigmoid")(added)])


def channel_dense_on_vectors(x: Any) -> Any:
    first, second = layers.Dense(HIDDEN, activation="relu", use_bias=False), layers.Dense(CHANNELS, use_bias=False)
    left, right = (_run(x, pool, first, second) for pool in _pools())
    return x * layers.Reshape((1, 1, CHANNELS))(ops.sigmoid(left + right))


def channel_convolutions(x: Any) -> Any:
    first = layers.Conv2D(HIDDEN, 1, padding="same", activation="relu", use_bias=False)
    second = layers.Conv2D(CHANNELS, 1, padding="same", use_bias=False)
    left, right = (_run(x, pool, first, second) for pool in _pools(keepdims=True))
    return layers.multiply([x, keras.activations.sigmoid(left + right)])


def channel_lambda(x: Any) -> Any:
    mlp = keras.Sequential([layers.Input((1, 1, CHANNELS)), layers.Dense(HIDDEN, "relu"), layers.Dense(CHANNELS)])
    mean = layers.Lambda(lambda v: ops.mean(v, axis=(1, 2), keepdims=True))(x)
    largest = layers.Lambda(lambda v: ops.max(v, axis=(1, 2), keepdims=True))(x)
    return x * layers.Activation("sigmoid")(mlp(mean) + mlp(largest))


class TensorFlowChannelAttention(layers.Layer):
    def build(self, shape: Any) -> None:
        self.first, self.second = layers.Dense(HIDDEN, activation="relu"), layers.Dense(shape[-1])
        self.first.build((None, shape[-1]))
        self.second.build((None, HIDDEN))

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        mean, largest = tf.reduce_mean(x, axis=[1, 2]), tf.reduce_max(x, axis=[1, 2])
        gate = tf.nn.sigmoid(self.second(self.first(mean)) + self.second(self.first(largest)))
        return x * tf.reshape(gate, [-1, 1, 1, CHANNELS])


def _gate_convolution() -> Any:
    return layers.Conv2D(1, 7, padding="same", activation="sigmoid", use_bias=False)


def spatial_lambda(x: Any) -> Any:
    mean = layers.Lambda(lambda v: ops.mean(v, axis=3, keepdims=True))(x)
    largest = layers.Lambda(lambda v: ops.max(v, axis=3, keepdims=True))(x)
    return layers.multiply([x, _gate_convolution()(layers.Concatenate(axis=3)([mean, largest]))])


def spatial_expanded(x: Any) -> Any:
    pools = [ops.expand_dims(pool(x, axis=-1), -1) for pool in (ops.mean, ops.max)]
    return x * _gate_convolution()(ops.concatenate(pools, axis=-1))


def spatial_stacked(x: Any) -> Any:
    return x * _gate_convolution()(ops.stack([ops.mean(x, axis=-1), ops.max(x, axis=-1)], axis=-1))


def spatial_permuted(x: Any) -> Any:
    moved = layers.Permute((3, 1, 2))(x)
    pools = [pool(moved, axis=1, keepdims=True) for pool in (ops.mean, ops.amax)]
    return x * _gate_convolution()(layers.Permute((2, 3, 1))(layers.Concatenate(axis=1)(pools)))


class TensorFlowSpatialAttention(layers.Layer):
    def build(self, shape: Any) -> None:
        self.conv = layers.Conv2D(1, 7, padding="same", use_bias=False)
        self.conv.build((*shape[:-1], 2))

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        mean, largest = tf.reduce_mean(x, axis=-1, keepdims=True), tf.reduce_max(x, axis=-1, keepdims=True)
        return x * tf.sigmoid(self.conv(tf.concat([mean, largest], axis=-1)))


def _over_channels() -> Any:
    return layers.Conv1D(1, 3, padding="same", use_bias=False)


def eca_reshaped(x: Any) -> Any:
    gate = _run(x, layers.GlobalAveragePooling2D(), layers.Reshape((CHANNELS, 1)), _over_channels())
    return x * _run(gate, layers.Activation("sigmoid"), layers.Reshape((1, 1, CHANNELS)))


def eca_expanded(x: Any) -> Any:
    gate = _over_channels()(ops.expand_dims(ops.mean(x, axis=(1, 2)), -1))
    return x * ops.sigmoid(ops.squeeze(gate, -1))[:, None, None, :]


def eca_permuted(x: Any) -> Any:
    gate = ops.squeeze(layers.GlobalAveragePooling2D(keepdims=True)(x), 1)
    gate = _run(gate, layers.Permute((2, 1)), _over_channels(), layers.Permute((2, 1)))
    return layers.multiply([x, ops.sigmoid(ops.expand_dims(gate, 1))])


FORMS: dict[str, list[Block]] = {
    SQUEEZE_EXCITE: [
        se_dense_on_maps,
        se_dense_on_vectors,
        se_convolutions,
        se_pooling_over_everything,
        se_lambda,
        se_indexed,
        se_permuted,
        SqueezeExcite(),
    ],
    CHANNEL: [
        channel_dense_on_maps,
        channel_dense_on_vectors,
        channel_convolutions,
        channel_lambda,
        TensorFlowChannelAttention(),
        ChannelAttention(CHANNELS // HIDDEN),
    ],
    SPATIAL: [
        spatial_lambda,
        spatial_expanded,
        spatial_stacked,
        spatial_permuted,
        TensorFlowSpatialAttention(),
        SpatialAttention(),
    ],
    EFFICIENT: [eca_reshaped, eca_expanded, eca_permuted],
}
RAW = (TensorFlowChannelAttention, TensorFlowSpatialAttention)
CASES = [
    pytest.param(block, expects, marks=needs_tensorflow if isinstance(block, RAW) else ())
    for expects, blocks in FORMS.items()
    for block in blocks
]


@pytest.mark.parametrize(("block", "expects"), CASES)
def test_every_form_ends_in_the_same_operations(block: Block, expects: str) -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(CHANNELS, 3, padding="same", name="before")(inputs)
    outputs = layers.Conv2D(2, 1, name="after")(block(x))
    converted = check(randomize(keras.Model(inputs, layers.GlobalAveragePooling2D()(outputs))))
    found = Counter(node.op_type for node in converted.model.graph)
    found.subtract({"Transpose": 1, "Conv": 2, "ReduceMean": 1})  # what lies around the block
    assert ",".join(f"{name}:{count}" for name, count in sorted(found.items()) if count) == expects
