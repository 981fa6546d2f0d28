"""What cannot be opened goes through tf2onnx: inlined under the layer's name, or the whole model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from keras import layers

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import check, compare, keras_function, randomize, run_session
from tests.converters.tensorflow_only import require_tensorflow

tf = require_tensorflow()


class Raw(layers.Layer):
    """Raw TensorFlow operations without a Keras namesake."""

    def call(self, x: Any) -> Any:
        return tf.nn.lrn(tf.math.l2_normalize(x, axis=-1)) * 2.0


class Unknown(layers.Layer):
    """A TensorFlow operation that tf2onnx does not know."""

    def call(self, x: Any) -> Any:
        return tf.math.igamma(tf.abs(x) + 1.0, tf.abs(x))


def _model(middle: layers.Layer) -> keras.Model:
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.Conv2D(3, 3, name="last")(middle(x))
    return randomize(keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name="raw_model"))


def test_a_raw_layer_is_inlined_under_its_name() -> None:
    converted = check(_model(Raw(name="raw")), layers=True)
    rows = {row.path: row for row in converted.report.layers}
    assert {path: row.way for path, row in rows.items()} == {
        "conv": "opened",
        "raw": "tf2onnx",
        "last": "opened",
        "pool": "opened",
    }
    assert "LRN" in rows["raw"].nodes
    assert rows["raw"].why
    named = [node.name for node in converted.model.graph if str(node.name).startswith("raw")]
    assert len(named) == len(rows["raw"].nodes)
    assert {layer.path: layer.value for layer in converted.layers}["raw"] in ("raw", None)


class Branch(layers.Layer):
    """AutoGraph makes a condition of the ``if``; only tf2onnx sees what it does."""

    @tf.function
    def call(self, x: Any) -> Any:
        if tf.reduce_sum(x) > 0.0:
            return x * 2.0
        return x - 1.0


class Repeat(layers.Layer):
    """AutoGraph makes a loop of the ``while``."""

    @tf.function
    def call(self, x: Any) -> Any:
        step = tf.constant(0)
        while tf.reduce_max(x) < 50.0 and step < 30:
            x = x * 1.5 + 1.0
            step += 1
        return x


@pytest.mark.parametrize(("layer", "operation"), [(Branch, "If"), (Repeat, "Loop")])
def test_branches_and_loops_are_inlined(layer: type[layers.Layer], operation: str) -> None:
    converted = check(_model(layer(name="raw")))
    rows = {row.path: row for row in converted.report.layers}
    assert rows["raw"].way == "tf2onnx"
    assert operation in rows["raw"].nodes


def test_weights_of_a_raw_layer_are_its_current_ones() -> None:
    class Scaled(layers.Layer):
        def build(self, shape: Any) -> None:
            self.scale = self.add_weight(name="scale", shape=(4,), initializer="ones")

        def call(self, x: Any) -> Any:
            return tf.raw_ops.Softplus(features=x) * tf.convert_to_tensor(self.scale)

    check(_model(Scaled(name="raw")))


def test_direct_refuses_it_by_name() -> None:
    with pytest.raises(ConversionError, match="layer 'raw': Raw cannot be converted") as caught:
        convert_model(_model(Raw(name="raw")), exporter="direct")
    assert "@converters.lowers(Raw)" in str(caught.value)


def test_a_layer_whose_configuration_fails_is_named() -> None:
    class Unready(Raw):
        def get_config(self) -> Any:
            return {"depth": self.depth}  # which it never had

    with pytest.raises(ConversionError, match="layer 'unready': Unready cannot be converted"):
        convert_model(_model(Unready(name="unready")), exporter="direct")


def test_direct_converts_what_opens() -> None:
    check(_model(layers.ReLU()), exporter="direct")


def test_what_tf2onnx_does_not_know_is_one_error() -> None:
    with pytest.raises(ConversionError, match=r"layer 'odd' \(Unknown\): tf2onnx makes a Igamma"):
        convert_model(_model(Unknown(name="odd")))
    with pytest.raises(ConversionError, match=r"model 'raw_model'.*Igamma"):
        convert_model(_model(Unknown(name="odd")), exporter="tf2onnx")


def test_a_raw_layer_in_a_nested_model() -> None:
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, NestedRaw(name="raw")(inner_input), name="inner")
    inputs = keras.Input((4,), name="x")
    converted = check(keras.Model(inputs, layers.Dense(2, name="head")(inner(inputs))))
    assert {row.path: row.way for row in converted.report.layers}["inner/raw"] == "tf2onnx"


class NestedRaw(layers.Layer):
    def call(self, x: Any) -> Any:
        return tf.raw_ops.Softplus(features=x)


def test_several_outputs_of_a_raw_layer() -> None:
    class Two(layers.Layer):
        def call(self, x: Any) -> Any:
            mean, variance = tf.nn.moments(x, axes=[1])
            return tf.math.l2_normalize(mean), variance

    inputs = keras.Input((5, 3), name="x")
    check(keras.Model(inputs, Two(name="two")(inputs)))


def test_whole_model_keeps_the_names() -> None:
    model = _model(Raw(name="raw"))
    converted = convert_model(model, exporter="tf2onnx")
    graph = converted.model.graph
    assert [value.name for value in graph.inputs] == ["image"]
    assert [value.name for value in graph.outputs] == ["pool"]
    proto = ir.serde.serialize_model(converted.model)
    onnx.checker.check_model(proto)
    session = run_session(proto)
    rng = np.random.default_rng(0)
    for batch in (1, 3):
        inputs = [rng.standard_normal((batch, 8, 8, 3)).astype(np.float32)]
        compare(session(inputs), inputs, keras_function(model))


def test_whole_model_of_several_inputs_and_outputs() -> None:
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    total = layers.Add(name="total")([a, b])
    model = keras.Model([a, b], [layers.Dense(2, name="first")(total), total])
    graph = convert_model(randomize(model), exporter="tf2onnx").model.graph
    assert [value.name for value in graph.inputs] == ["a", "b"]
    assert [value.name for value in graph.outputs] == ["first", "total"]
