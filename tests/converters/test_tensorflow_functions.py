"""Layers written in raw TensorFlow open like all others: no tf2onnx, and the same numbers."""

# ruff: noqa: PLW0108 - a function must be looked up when the layer is called, not here

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from converters import tensorflow_functions
from converters.convert import convert_model
from tests.converters.checking import check

Function = Callable[[Any], Any]

CALLS: dict[str, Function] = {
    "tf.abs": lambda x: tf.abs(x),
    "tf.exp": lambda x: tf.exp(x),
    "tf.sqrt": lambda x: tf.sqrt(tf.square(x) + 1.0),
    "tf.tanh": lambda x: tf.tanh(x),
    "tf.sigmoid": lambda x: tf.sigmoid(x),
    "tf.negative": lambda x: tf.negative(x),
    "tf.identity": lambda x: tf.identity(x) * 2.0,
    "tf.stop_gradient": lambda x: tf.stop_gradient(x) * 2.0,
    "tf.add": lambda x: tf.add(x, 1.0),
    "tf.subtract": lambda x: tf.subtract(1.0, x),
    "tf.multiply": lambda x: tf.multiply(x, x),
    "tf.divide": lambda x: tf.divide(x, 3.0),
    "tf.maximum": lambda x: tf.maximum(x, 0.1),
    "tf.minimum": lambda x: tf.minimum(0.1, x),
    "tf.pow": lambda x: tf.pow(x, 2.0),
    "tf.reduce_mean": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
    "tf.reduce_max": lambda x: tf.reduce_max(x, axis=-1, keepdims=True),
    "tf.reduce_min": lambda x: tf.reduce_min(x, axis=3),
    "tf.reduce_sum": lambda x: tf.reduce_sum(x, axis=(1, 2)),
    "tf.cast": lambda x: tf.cast(tf.cast(x * 10.0, tf.int32), tf.float32),
    "tf.clip_by_value": lambda x: tf.clip_by_value(x, -0.5, 0.5),
    "tf.concat": lambda x: tf.concat([x, x * 2.0], axis=-1),
    "tf.expand_dims": lambda x: tf.expand_dims(x, axis=1),
    "tf.matmul": lambda x: tf.matmul(x, x, transpose_b=True),
    "tf.pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=1.5),
    "tf.reshape": lambda x: tf.reshape(x, [-1, 6, 15]),
    "tf.shape": lambda x: x * tf.cast(tf.shape(x)[-1], tf.float32),
    "tf.shape, unknown batch": lambda x: tf.reshape(x, [tf.shape(x)[0], 30, 3]),
    "tf.shape, unknown batch and -1": lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 9]),
    "tf.split": lambda x: tf.split(x, [1, 2], axis=-1)[1],
    "tf.squeeze": lambda x: tf.squeeze(tf.reduce_mean(x, [2], keepdims=True), axis=2),
    "tf.stack": lambda x: tf.stack([x, x + 1.0], axis=2),
    "tf.tile": lambda x: tf.tile(x, [1, 2, 1, 1]),
    "tf.transpose": lambda x: tf.transpose(x, [0, 2, 1, 3]),
    "tf.nn.relu": lambda x: tf.nn.relu(x),
    "tf.nn.relu6": lambda x: tf.nn.relu6(x * 10.0),
    "tf.nn.elu": lambda x: tf.nn.elu(x),
    "tf.nn.selu": lambda x: tf.nn.selu(features=x),
    "tf.nn.silu": lambda x: tf.nn.silu(x),
    "tf.nn.swish": lambda x: tf.nn.swish(x),
    "tf.nn.softplus": lambda x: tf.nn.softplus(x),
    "tf.nn.sigmoid": lambda x: tf.nn.sigmoid(x),
    "tf.nn.tanh": lambda x: tf.nn.tanh(x),
    "tf.nn.leaky_relu": lambda x: tf.nn.leaky_relu(x, alpha=0.1),
    "tf.nn.gelu": lambda x: tf.nn.gelu(x),
    "tf.nn.softmax": lambda x: tf.nn.softmax(x, axis=1),
    "tf.nn.log_softmax": lambda x: tf.nn.log_softmax(x),
    "tf.math.log": lambda x: tf.math.log(tf.math.abs(x) + 1.0),
    "tf.math.rsqrt": lambda x: tf.math.rsqrt(tf.math.square(x) + 1.0),
    "tf.math.reciprocal": lambda x: tf.math.reciprocal(tf.math.exp(x)),
    "tf.math.erf": lambda x: tf.math.erf(x),
    "tf.math.softplus": lambda x: tf.math.softplus(x),
}


class Raw(keras.layers.Layer):
    """Calls a function of raw TensorFlow."""

    def __init__(self, function: Function, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def _model(function: Function) -> keras.Model:
    inputs = keras.Input((5, 6, 3), name="x")
    return keras.Model(inputs, Raw(function, name="raw")(inputs))


@pytest.mark.parametrize("name", CALLS)
def test_opens_with_the_same_numbers(name: str) -> None:
    converted = check(_model(CALLS[name]), exporter="direct")
    assert [layer.way for layer in converted.report.layers if layer.path == "raw"] == ["opened"]


def test_every_redirected_function_is_tried() -> None:
    places = {tf: "tf", tf.nn: "tf.nn", tf.math: "tf.math"}
    redirected = {f"{places[module]}.{name}" for module, name, _ in tensorflow_functions.redirections()}
    tried = set(CALLS) | {f"tf.math.{name.removeprefix('tf.')}" for name in CALLS if name.count(".") == 1}
    assert redirected - tried <= {"tf.square", "tf.math.square"}


def test_tensorflow_is_as_it_was_afterwards() -> None:
    before = {name: getattr(module, name) for module, name, _ in tensorflow_functions.redirections()}
    convert_model(_model(tf.nn.relu))
    assert before == {name: getattr(module, name) for module, name, _ in tensorflow_functions.redirections()}
    assert np.asarray(tf.reduce_mean(tf.constant([1.0, 3.0]))) == 2.0
