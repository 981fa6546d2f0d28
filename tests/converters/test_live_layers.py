"""Models of `tf_keras` with layers of their own, which Keras 3 cannot load: their code is opened as it runs there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from tensorflow import reduce_max  # bound before any conversion, where no redirection reaches it

import converters
from deploy.errors import ConversionError
from tests.converters.checking import run_session

RNG = np.random.default_rng(0)


@tf_keras.utils.register_keras_serializable("tests")
def doubled_relu(x: Any) -> Any:
    return 2 * tf.nn.relu(x)


@tf_keras.utils.register_keras_serializable("tests")
class Gate(tf_keras.layers.Layer):  # type: ignore[misc]
    """CBAM's channel attention as people wrote it for Keras 2: layers of its own, a weight, K.* and tf.* functions."""

    def __init__(self, ratio: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, shape: Any) -> None:
        self.first = tf_keras.layers.Dense(shape[-1] // self.ratio, activation="relu")
        self.second = tf_keras.layers.Dense(shape[-1])
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")

    def call(self, x: Any, training: bool | None = None) -> Any:
        if training:
            raise AssertionError
        mean = tf_keras.backend.mean(x, axis=[1, 2], keepdims=True)
        largest = reduce_max(x, axis=[1, 2], keepdims=True)
        gate = tf.sigmoid(self.second(self.first(mean)) + self.second(self.first(largest)))
        return x * gate * self.scale

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ratio": self.ratio}


@tf_keras.utils.register_keras_serializable("tests")
class Block(tf_keras.layers.Layer):  # type: ignore[misc]
    """A layer of layers, one of them a class of its own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convolution = tf_keras.layers.Conv2D(4, 3, padding="same", name="convolution")
        self.normalization = tf_keras.layers.BatchNormalization(name="normalization")
        self.gate = Gate(name="gate")

    def call(self, x: Any) -> Any:
        return x + self.gate(self.normalization(self.convolution(x)))


def randomized(model: Any) -> Any:
    model.set_weights([RNG.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in model.get_weights()])
    return model


def functional(activation: Any = doubled_relu) -> Any:
    x = tf_keras.Input((6, 5, 4), name="image")
    y = Block(name="block")(Gate(name="first/gate")(x))
    y = tf_keras.layers.Activation(activation, name="active")(y)
    y = tf.transpose(y, [0, 3, 1, 2])
    return randomized(tf_keras.Model(x, tf_keras.layers.Flatten()(y), name="functional"))


class Subclassed(tf_keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.block, self.last = Block(name="block"), tf_keras.layers.Dense(3, name="last")

    def call(self, inputs: Any) -> Any:
        return {"scores": self.last(tf.reduce_mean(self.block(inputs["image"]), [1, 2]))}


def check(model: Any, proto: Any, inputs: Any) -> None:
    expected = np.asarray(tf.nest.flatten(model(inputs))[0])
    (found,) = run_session(proto)(tf.nest.flatten(inputs))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("batch", [1, 3])
def test_layers_of_its_own_are_opened(batch: int) -> None:
    model = functional()
    before = [w.copy() for w in model.get_weights()]
    proto = converters.convert(model, exporter="direct")
    check(model, proto, RNG.normal(size=(batch, 6, 5, 4)).astype(np.float32))
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Transpose") == 1  # the model's own one is the layout of its convolutions
    assert {"block/normalization", "block/gate"} <= {"/".join(node.name.split("/")[:2]) for node in proto.graph.node}
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert tf_keras.layers.Layer.__call__.__module__.startswith("tf_keras")


def test_files_with_such_layers_are_loaded_by_the_library_of_their_classes(tmp_path: Path) -> None:
    model = functional("relu")
    for suffix in (".h5", ".keras"):
        path = tmp_path / f"model{suffix}"
        model.save(path)
        loaded = converters.load(
            path, ["tests.converters.test_live_layers:Gate", "tests.converters.test_live_layers:Block"]
        )
        check(model, converters.convert(loaded, exporter="direct"), RNG.normal(size=(2, 6, 5, 4)).astype(np.float32))


def test_a_model_that_is_a_class_is_a_layer_of_one() -> None:
    model = Subclassed()
    with pytest.raises(ConversionError, match="never built"):
        converters.convert(model)
    inputs = {"image": RNG.normal(size=(2, 6, 5, 4)).astype(np.float32)}
    model(inputs)
    for _ in range(2):  # after a training step, say, it is converted with its new weights
        proto = converters.convert(randomized(model), exporter="direct")
        assert [value.name for value in proto.graph.input] == ["image"]
        check(model, proto, inputs)


def test_two_layers_of_one_name_are_refused() -> None:
    x = tf_keras.Input((6, 5, 4))
    inner = tf_keras.Model(x, Gate(name="gate")(x), name="inner")
    y = tf_keras.Input((6, 5, 4))
    with pytest.raises(ConversionError, match="layer 'gate': two layers have one name"):
        converters.convert(tf_keras.Model(y, Gate(name="gate")(inner(y))))
