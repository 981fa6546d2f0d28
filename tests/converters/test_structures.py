"""Structures, names and unknown sizes that models come with; what is refused says the exact line that helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters import convert, load
from converters.convert import Conversion, convert_model
from deploy.errors import ConversionError
from tests.converters.checking import check, randomize


def _names(converted: Conversion) -> tuple[list[Any], list[Any]]:
    graph = converted.model.graph
    return [value.name for value in graph.inputs], [value.name for value in graph.outputs]


def test_nested_dictionaries_and_lists() -> None:
    inputs = {
        "a": {"b": keras.Input((4,), name="ab")},
        "c": [keras.Input((4,), name="c0"), keras.Input((4,), name="c1")],
    }
    x = layers.Subtract(name="difference")([inputs["a"]["b"] * 2.0, inputs["c"][1]]) + inputs["c"][0]
    outputs = {
        "o": {"p": layers.Dense(2, name="p")(x)},
        "q": [layers.ReLU(name="act")(x), layers.Dense(3, name="r")(x)],
    }
    assert _names(check(randomize(keras.Model(inputs, outputs)))) == (["ab", "c0", "c1"], ["p", "act", "r"])


def test_equal_names_in_nested_models_are_told_apart_by_their_paths() -> None:
    def inner(name: str) -> keras.Model:
        inputs = keras.Input((4,))
        return keras.Model(inputs, layers.ReLU(name="act")(layers.Dense(4, name="dense")(inputs)), name=name)

    inputs = keras.Input((4,), name="x")
    converted = check(randomize(keras.Model(inputs, inner("second")(inner("first")(inputs)))))
    places = {layer.path: layer.value for layer in converted.layers}
    assert places["first/dense"] == "first/dense"
    assert places["second/dense"] == "second/dense"
    assert [node.name for node in converted.model.graph][:3] == ["first/dense", "first/act", "second/dense"]


def test_names_with_spaces_and_letters_of_all_kinds() -> None:
    inputs = keras.Input((4, 4, 3), name="bild ü")
    outputs = layers.GlobalAveragePooling2D(name="出力")(layers.Conv2D(3, 3, name="conv 1 ñ")(inputs))
    converted = check(randomize(keras.Model(inputs, outputs)), layers=True)
    assert _names(converted) == (["bild ü"], ["出力"])


def test_an_optional_input_is_an_input() -> None:
    class Masked(layers.Layer):
        def call(self, x: Any, mask: Any = None) -> Any:
            return x if mask is None else x + mask

    inputs = [keras.Input((4,), name="x"), keras.Input((4,), name="extra", optional=True)]
    assert _names(check(keras.Model(inputs, Masked(name="masked")(*inputs))))[0] == ["x", "extra"]


def test_a_shared_nested_model_of_several_outputs() -> None:
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, [layers.Dense(4, name="dense")(inner_input), inner_input], name="inner")
    inputs = keras.Input((4,), name="x")
    first, _ = inner(inputs)
    second, same = inner(first)
    check(randomize(keras.Model(inputs, [first, second, same])))


class Flattened(keras.Model):
    """Multiplies sizes in Python, which needs to know them."""

    def __init__(self) -> None:
        super().__init__(name="flattened")
        self.conv = layers.Conv2D(2, 1, name="conv")

    def call(self, x: Any) -> Any:
        y = self.conv(x)
        values = range(y.shape[1] * y.shape[2])
        return ops.reshape(y, (-1, len(values), 2))


def test_an_unknown_size_that_is_needed_says_the_whole_argument() -> None:
    model = Flattened()
    model(np.zeros((1, 4, 4, 3), np.float32))
    model._build_shapes_dict = {"x": (None, None, None, 3)}
    with pytest.raises(ConversionError) as caught:
        convert_model(model)
    assert """--shapes '{"input_0": [null, 224, 224, 3]}'""" in caught.value.fix
    check(model, shapes={"input_0": (None, 6, 5, 3)})


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "string"])
def test_a_dtype_that_no_engine_has_in_the_middle(dtype: str) -> None:
    class Inner(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.cast(x, dtype)

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, dtype)

    inputs = keras.Input((4,), name="x")
    with pytest.raises(ConversionError, match=f"layer 'inner': a value of dtype {dtype}") as caught:
        convert_model(keras.Model(inputs, Inner(name="inner")(inputs)))
    assert caught.value.fix


def test_random_values_are_refused_by_the_name_of_their_state() -> None:
    class Noise(layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.seeds = keras.random.SeedGenerator(0)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal(ops.shape(x), seed=self.seeds)

    inputs = keras.Input((4,), name="x")
    with pytest.raises(ConversionError, match=r"random numbers(?s:.*)seed_generator_state(?s:.*)training=False"):
        convert_model(keras.Model(inputs, Noise(name="noise")(inputs)))


def test_the_report_of_a_shared_layer_is_one_row_of_all_its_calls() -> None:
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    inner_input = keras.Input((4,))
    dense = layers.Dense(4, name="dense")(inner_input)
    inner = keras.Model(inner_input, layers.ReLU(name="act")(dense), name="inner")
    outputs = layers.Subtract(name="difference")([inner(first), inner(second)])
    rows = check(randomize(keras.Model([first, second], outputs))).report.layers
    found = {row.path: row.nodes for row in rows}
    assert len(found) == len(rows)
    assert found["inner/dense"] == ("Gemm", "Gemm")
    assert found["inner/act"] == ("Relu", "Relu")


def test_an_input_is_named_by_its_layer_which_a_file_keeps(tmp_path: Path) -> None:
    """The tensor of an input that the user did not name has a name of its own, another in each process."""
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    model.save(tmp_path / "m.keras")
    proto = convert(model)
    assert [x.name for x in proto.graph.input] == [model.layers[0].name]
    assert convert(load(tmp_path / "m.keras")).SerializeToString() == proto.SerializeToString()
