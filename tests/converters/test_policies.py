"""Dtype policies: whatever a model computes in, its graph is the one of a float32 policy."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import pytest
from keras import layers

from converters import keras_internals
from converters.convert import convert_model
from deploy.parity.keras_reference import keras_outputs
from tests.converters.checking import Case, check, keras_function, operations, randomize


def _model(policy: Any) -> keras.Model:
    """Convolutions, a layer of its own policy, recurrence, attention, all under one policy."""
    keras.config.set_dtype_policy(policy)
    try:
        inputs = keras.Input((8, 6, 3), name="image")
        x = layers.Conv2D(4, 3, padding="same", activation="gelu", name="conv")(inputs)
        x = layers.BatchNormalization(name="norm")(x)
        x = layers.Reshape((8, 24), name="rows")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
        x = layers.LSTM(8, return_sequences=True, name="lstm")(layers.LayerNormalization(name="layer_norm")(x))
        x = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
        return keras.Model(inputs, layers.Dense(3, activation="softmax", name="score")(x), name="model")
    finally:
        keras.config.set_dtype_policy("float32")


def _graph(model: keras.Model) -> bytes:
    return ir.serde.serialize_graph(convert_model(model).model.graph).SerializeToString(deterministic=True)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_the_graph_is_that_of_float32(policy: str) -> None:
    reference = randomize(_model("float32"))
    model = _model(policy)
    model.set_weights(reference.get_weights())
    assert _graph(model) == _graph(reference)
    assert {layer.compute_dtype for layer in model.layers[1:]} == {keras.DTypePolicy(policy).compute_dtype}


def test_weights_in_float16_are_taken_as_they_are() -> None:
    reference, model = _model("float32"), randomize(_model("float16"))
    reference.set_weights([np.asarray(w, np.float32) for w in model.get_weights()])
    assert operations(check(model, reference=keras_function(reference))) == operations(convert_model(reference))


def test_a_layer_with_a_policy_of_its_own() -> None:
    inputs = keras.Input((4,))
    x = layers.Dense(5, dtype="mixed_float16", name="low")(inputs)
    model = randomize(keras.Model(inputs, layers.Dense(3, name="high")(x)))
    assert convert_model(model).report.operations == {"Gemm": 2}
    assert str(model.get_layer("low").output.dtype) == "float16"


def test_the_reference_runs_in_float32_too_and_the_policies_stay() -> None:
    model = randomize(_model("mixed_float16"))
    image = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    outputs, _ = keras_outputs(model, {"image": image}, ["score"])
    assert outputs["score"].dtype == np.float32
    assert {layer.dtype_policy.name for layer in model.layers} == {"mixed_float16"}
    check(model, reference=lambda inputs: list(keras_outputs(model, {"image": inputs[0]}, ["score"])[0].values()))


def test_other_threads_see_the_policies_as_they_are() -> None:
    model = _model("mixed_float16")
    seen: list[str] = []
    with keras_internals.float32_policies(model):
        seen.append(model.layers[1].compute_dtype)
        thread = threading.Thread(target=lambda: seen.append(model.layers[1].compute_dtype))
        thread.start()
        thread.join()
    assert [*seen, model.layers[1].compute_dtype] == ["float32", "float16", "float16"]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "bool", "float16", "float64"])
def test_images_of_other_dtypes(dtype: str) -> None:
    converted = check(
        randomize(Case(lambda x: layers.Conv2D(2, 3)(layers.Rescaling(1 / 255)(x)), (8, 8, 3), dtype=dtype).model())
    )
    assert operations(converted) == "Cast:1,Conv:1,Transpose:2"
