"""Registering lowerings: a user's layer, double registration, what the error for an unknown operation says."""

from __future__ import annotations

import textwrap
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import converters
from converters import registry
from converters.builder import Builder, Tensor
from converters.convert import convert_model
from converters.keras_internals import nn
from deploy.errors import ConversionError
from tests.converters.checking import check, operations


class Swish2(layers.Layer):
    """A user's layer that is to be one node: x * sigmoid(2 x)."""

    def call(self, x: Any) -> Any:
        return x * ops.sigmoid(2.0 * x)


@pytest.fixture
def own_lowering() -> Any:
    @converters.lowers(Swish2)
    def swish2(g: Builder, layer: Any, x: Tensor) -> Tensor:
        doubled = g.op("Mul", x.value, g.scalar(2.0, x))
        return Tensor(g.op("Mul", x.value, g.op("Sigmoid", doubled)), x.order)

    yield swish2
    del registry._lowerings[Swish2]


def _model() -> keras.Model:
    inputs = keras.Input((6, 5, 3))
    return keras.Model(inputs, Swish2(name="swish")(layers.Conv2D(4, 3)(inputs)))


def test_a_users_layer_is_lowered_as_one(own_lowering: Any) -> None:
    converted = check(_model(), layers=True)
    (row,) = [row for row in converted.report.layers if row.path == "swish"]
    assert (row.way, row.nodes) == ("lowered", ("Mul", "Sigmoid", "Mul"))
    assert converted.model.graph.outputs[0].name == "swish"


def test_without_it_the_layer_opens() -> None:
    converted = check(_model(), layers=True)
    assert operations(converted) == "Conv:1,Mul:2,Sigmoid:1,Transpose:2"
    assert {row.way for row in converted.report.layers} == {"opened"}


def test_double_registration_is_refused(own_lowering: Any) -> None:
    with pytest.raises(ConversionError, match="Swish2 has a lowering already") as caught:
        converters.lowers(Swish2)(lambda g, layer, x: x)
    assert "swish2" in str(caught.value)


def test_a_built_in_lowering_cannot_be_replaced_by_chance() -> None:
    with pytest.raises(ConversionError, match="Relu has a lowering already"):
        converters.lowers(nn.Relu)(lambda g, op, x: x)


class Unheard(keras.Operation):
    """An operation that nobody lowers and tf2onnx cannot reach either."""

    def call(self, x: Any) -> Any:
        return x

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


def test_an_unknown_operation_outside_of_layers() -> None:
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, Unheard(name="unheard")(inputs))
    with pytest.raises(ConversionError) as caught:
        convert_model(model)
    text = str(caught.value)
    assert "operation 'unheard'" in text
    assert "Unheard" in text
    assert "(None, 4, 3) float32" in text
    assert "@converters.lowers(Unheard)" in text
    assert f"from {Unheard.__module__} import Unheard" in text


def _outer() -> keras.Model:
    class Outer(layers.Layer):
        def call(self, x: Any) -> Any:
            return Unheard()(x) * 2.0

    inputs = keras.Input((4, 3))
    return keras.Model(inputs, Outer(name="outer")(inputs))


def test_the_lines_in_the_error_lower_the_operation() -> None:
    with pytest.raises(ConversionError) as caught:
        convert_model(_outer(), exporter="direct")
    lines = caught.value.fix.splitlines()[1:]
    assert lines[0].strip().endswith("import Unheard")
    code = textwrap.dedent("\n".join(lines[1:])).replace("ONNX operation", "Identity")
    try:
        exec(code, {"converters": converters, "Unheard": Unheard})
        assert operations(check(_outer(), reference=lambda inputs: [inputs[0] * 2])) == "Mul:1"
    finally:
        registry._lowerings.pop(Unheard, None)


def test_an_operation_opens_to_others() -> None:
    @registry.opens(Unheard)
    def unheard(op: Any, x: Any) -> Any:
        return ops.relu(x) + 1

    try:
        converted = check(_outer(), reference=lambda inputs: [(np.maximum(inputs[0], 0) + 1) * 2])
        assert operations(converted) == "Add:1,Mul:1,Relu:1"
        assert registry.ways()[Unheard] == ("opened", "")
        with pytest.raises(ConversionError, match="Unheard has an opening already"):
            registry.opens(Unheard)(lambda op, x: x)
    finally:
        del registry._openings[Unheard]


def test_a_refusal_gives_its_reason() -> None:
    registry.refuses("it was never heard of", Unheard)
    try:
        with pytest.raises(ConversionError, match="Unheard has no lowering: it was never heard of"):
            convert_model(_outer(), exporter="direct")
    finally:
        del registry._refusals[Unheard]


def test_an_unknown_operation_in_a_layer_with_the_direct_exporter() -> None:
    with pytest.raises(ConversionError) as caught:
        convert_model(_outer(), exporter="direct")
    text = str(caught.value)
    assert "layer 'outer'" in text
    assert "the operation Unheard has no lowering" in text
    assert "'name': 'outer'" in text
    assert "@converters.lowers" in text


def test_a_lowering_that_gives_another_shape_is_caught() -> None:
    class Wrong(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.sum(x, axis=-1)

    converters.lowers(Wrong)(lambda g, layer, x: x)
    inputs = keras.Input((4, 3))
    try:
        with pytest.raises(ConversionError, match=r"layer 'wrong': .* gives another tensor than Keras"):
            convert_model(keras.Model(inputs, Wrong(name="wrong")(inputs)))
    finally:
        del registry._lowerings[Wrong]


def test_a_lowering_with_an_invalid_node_is_caught() -> None:
    class Invalid(layers.Layer):
        def call(self, x: Any) -> Any:
            return x + 1.0

    @converters.lowers(Invalid)
    def invalid(g: Builder, layer: Any, x: Tensor) -> Tensor:
        return Tensor(g.op("Transpose", x.value, perm=[0, 1]), x.order)

    inputs = keras.Input((4, 3))
    try:
        with pytest.raises(ConversionError, match="layer 'invalid'"):
            convert_model(keras.Model(inputs, Invalid(name="invalid")(inputs)))
    finally:
        del registry._lowerings[Invalid]


def test_lowerings_get_the_arguments_of_the_call() -> None:
    seen: dict[str, Any] = {}

    class Scaled(layers.Layer):
        def build(self, shape: Any) -> None:
            self.factor = self.add_weight(name="factor", shape=(3,), initializer="ones")

        def call(self, x: Any, power: int = 1) -> Any:
            return x * self.factor**power

    @converters.lowers(Scaled)
    def scaled(g: Builder, layer: Any, x: Tensor, power: int = 1, **kwargs: Any) -> Tensor:
        seen.update(power=power, **kwargs)
        factor = np.asarray(layer.factor) ** power
        return Tensor(g.op("Mul", g.identity(x).value, factor), (0, 1, 2))

    inputs = keras.Input((4, 3))
    try:
        check(keras.Model(inputs, Scaled()(inputs, power=3)))
    finally:
        del registry._lowerings[Scaled]
    assert seen["power"] == 3
