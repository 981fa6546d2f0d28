"""Files of Keras 2, written here as Keras 2 writes them: Keras 3 cannot read any of them by itself."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import converters
from deploy.errors import ConversionError
from tests.converters.checking import check, keras_function

RNG = np.random.default_rng(0)
Arrays = Sequence[np.ndarray[Any, Any]]


def _layer(kind: str, name: str, inbound: Any, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}


def _input(shape: tuple[int, ...], name: str = "x") -> dict[str, Any]:
    config = {"batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False, "ragged": False}
    return _layer("InputLayer", name, [], **config)


def _functional(parts: list[dict[str, Any]], outputs: Any, name: str = "old") -> dict[str, Any]:
    inputs = [[part["name"], 0, 0] for part in parts if part["class_name"] == "InputLayer"]
    config = {"name": name, "layers": parts, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": config}


def _save(path: Path, model: dict[str, Any], weights: dict[str, Arrays]) -> Path:
    """The layout of Keras 2: the configuration as an attribute, a group of arrays for each layer."""
    with h5py.File(path, "w") as file:
        file.attrs.update(keras_version="2.15.0", backend="tensorflow", model_config=json.dumps(model))
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            names = [f"{name}/w{index}:0" for index in range(len(arrays))]
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [x.encode() for x in names]
            for key, array in zip(names, arrays, strict=True):
                inner[key] = array
    return path


def _like(model: keras.Model) -> list[np.ndarray[Any, Any]]:
    return [RNG.uniform(0.5, 1.5, w.shape).astype(np.float32) for w in model.get_weights()]


def _call(name: str, **kwargs: Any) -> list[Any]:
    return [[[name, 0, 0, kwargs]]]


def _same(path: Path, expected: keras.Model, shape: tuple[int, ...]) -> None:
    """The file's model equals one built with Keras 3, and converts."""
    x = [RNG.standard_normal((2, *shape)).astype(np.float32)]
    loaded = converters.load(path)
    np.testing.assert_allclose(keras_function(loaded)(x)[0], keras_function(expected)(x)[0], atol=1e-6)
    check(loaded)


def test_names_with_slashes_and_arguments_that_are_gone(tmp_path: Path) -> None:
    expected = keras.Sequential([keras.Input((8, 8, 3)), layers.DepthwiseConv2D(3), layers.BatchNormalization()])
    expected.set_weights(_like(expected))
    weights = expected.get_weights()
    initializer = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}
    depthwise = {
        "kernel_size": [3, 3],
        "groups": 1,
        "kernel_initializer": initializer,
        "batch_input_shape": [None, 8, 8, 3],
    }
    parts = [
        _input((8, 8, 3)),
        _layer("DepthwiseConv2D", "block/depthwise", _call("x"), **depthwise),
        _layer("BatchNormalization", "block/norm", _call("block/depthwise"), axis=[3], dtype="float32"),
    ]
    named = {"x": [], "block/depthwise": weights[:2], "block/norm": weights[2:]}
    path = _save(tmp_path / "old.h5", _functional(parts, [["block/norm", 0, 0]]), named)
    _same(path, expected, (8, 8, 3))
    assert [layer.path for layer in check(converters.load(path)).layers] == ["block_depthwise", "block_norm"]


def test_recurrent_layers_and_the_old_hard_sigmoid(tmp_path: Path) -> None:
    def hard_sigmoid(x: Any) -> Any:
        return keras.ops.clip(0.2 * x + 0.5, 0, 1)

    inputs = keras.Input((5, 3))
    y, h, c = layers.LSTM(4, return_state=True, return_sequences=True, recurrent_activation=hard_sigmoid)(inputs)
    outputs = layers.LSTM(4)(y, initial_state=[h, c])
    expected = keras.Model(inputs, outputs)
    expected.set_weights(_like(expected))
    weights = expected.get_weights()
    gone = {"time_major": False, "implementation": 2, "units": 4}
    encoder = {**gone, "return_state": True, "return_sequences": True, "recurrent_activation": "hard_sigmoid"}
    state = [[["encoder", 0, 0, {}], ["encoder", 0, 1, {}], ["encoder", 0, 2, {}]]]
    parts = [
        _input((5, 3)),
        _layer("LSTM", "encoder", _call("x"), **encoder),
        _layer("LSTM", "decoder", state, **gone),
    ]
    named = {"x": [], "encoder": weights[:3], "decoder": weights[3:]}
    _same(_save(tmp_path / "old.h5", _functional(parts, [["decoder", 0, 0]]), named), expected, (5, 3))
    parts[1]["config"]["time_major"] = True
    _save(tmp_path / "time.h5", _functional(parts, [["decoder", 0, 0]]), named)
    with pytest.raises(ConversionError, match="layer 'encoder': Keras 3 has no time_major=True of LSTM"):
        converters.load(tmp_path / "time.h5")


def _raw(name: str, function: str, inbound: Any) -> dict[str, Any]:
    kind = "SlicingOpLambda" if function.endswith("getitem") else "TFOpLambda"
    return _layer(kind, name, inbound, function=function)


def _raw_model(function: str) -> dict[str, Any]:
    part = {"start": 1, "stop": 3, "step": None}
    every = {"start": None, "stop": None, "step": None}
    parts = [
        _input((6,)),
        _raw("double", "math.multiply", [["x", 0, 0, {"y": 2.0, "name": None}]]),
        _raw("relu", function, [["x", 0, 0, {"name": None}]]),
        _raw("plus", "__operators__.add", [["double", 0, 0, {"y": ["relu", 0, 0], "name": None}]]),
        _raw("from_one", "math.subtract", [["_CONSTANT_VALUE", -1, 1.0, {"y": ["plus", 0, 0], "name": None}]]),
        _raw("mean", "math.reduce_mean", [["from_one", 0, 0, {"axis": -1, "keepdims": True}]]),
        _raw("cut", "__operators__.getitem", [["plus", 0, 0, {"slice_spec": [every, part]}]]),
        _raw("joined", "concat", [[["mean", 0, 0, {"axis": -1}], ["cut", 0, 0, {"axis": -1}]]]),
    ]
    return _functional(parts, [["joined", 0, 0]])


def test_raw_tensorflow_operations(tmp_path: Path) -> None:
    loaded = converters.load(_save(tmp_path / "raw.h5", _raw_model("nn.relu"), {}))
    x = RNG.standard_normal((2, 6)).astype(np.float32)
    plus = 2 * x + np.maximum(x, 0)
    wanted = np.concatenate([(1 - plus).mean(-1, keepdims=True), plus[:, 1:3]], -1)
    np.testing.assert_allclose(keras_function(loaded)([x])[0], wanted, atol=1e-6)
    assert {row.way for row in check(loaded).report.layers} == {"opened"}


@pytest.mark.parametrize("function", ["io.write_file", "nn.no_such_function", "py_function"])
def test_other_functions_are_not_called(function: str, tmp_path: Path) -> None:
    _save(tmp_path / "raw.h5", _raw_model(function), {})
    with pytest.raises(ConversionError, match=f"tf.{function} of this Keras 2 model has no meaning"):
        converters.load(tmp_path / "raw.h5")


@pytest.mark.parametrize("kind", ["Sequential", "Functional"])
def test_a_shared_nested_model_counts_its_calls_from_one(kind: str, tmp_path: Path) -> None:
    dense = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="dense")])
    a, b = keras.Input((4,)), keras.Input((4,))
    expected = keras.Model([a, b], [layers.Subtract()([dense(a), dense(b)]), dense(a)])
    expected.set_weights(_like(expected))
    inner_parts = [_input((4,), "inner_x"), _layer("Dense", "dense", _call("inner_x"), units=4)]
    inner = _functional(inner_parts, [["dense", 0, 0]], "inner")
    if kind == "Sequential":
        inner = {"class_name": kind, "config": {"name": "inner", "layers": [dict(part) for part in inner_parts]}}
    calls = [[["a", 0, 0, {}]], [["b", 0, 0, {}]]]
    parts = [
        _input((4,), "a"),
        _input((4,), "b"),
        {**inner, "name": "inner", "inbound_nodes": calls},
        _layer("Subtract", "subtract", [[["inner", 1, 0, {}], ["inner", 2, 0, {}]]]),
    ]
    model = _functional(parts, [["subtract", 0, 0], ["inner", 1, 0]])
    named = {"a": [], "b": [], "inner": expected.get_weights(), "subtract": []}
    loaded = converters.load(_save(tmp_path / "old.h5", model, named))
    x = [RNG.standard_normal((2, 4)).astype(np.float32) for _ in range(2)]
    for found, wanted in zip(keras_function(loaded)(x), keras_function(expected)(x), strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    check(loaded)


def test_the_keras_file_of_keras_2(tmp_path: Path) -> None:
    expected = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="dense")])
    expected.set_weights(_like(expected))
    expected.save_weights(tmp_path / "model.weights.h5")
    parts = [_input((4,)), _layer("Dense", "dense", _call("x"), units=3)]
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", json.dumps(_functional(parts, [["dense", 0, 0]])))
        archive.write(tmp_path / "model.weights.h5", "model.weights.h5")
    _same(tmp_path / "old.keras", expected, (4,))


def test_an_unknown_class_of_keras_2_is_named(tmp_path: Path) -> None:
    parts = [_input((4,)), _layer("Mine", "mine", _call("x"))]
    _save(tmp_path / "old.h5", _functional(parts, [["mine", 0, 0]]), {})
    with pytest.raises(ConversionError, match="found: Mine") as caught:
        converters.load(tmp_path / "old.h5")
    assert "--custom-objects your_module:Mine" in caught.value.fix
