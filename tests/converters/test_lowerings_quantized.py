"""Models after `model.quantize(...)`: the same bits as Keras, in operations that TensorRT builds."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import pytest
from keras import layers
from keras.quantizers import Int4QuantizationConfig, Int8QuantizationConfig

from converters.convert import Conversion, convert_model
from deploy.errors import ConversionError
from tests.converters.checking import check_graph, keras_function, operations, random_inputs, randomize, run_session

INT8 = "Abs:1,Add:2,Clip:1,Div:2,{product}Mul:2,ReduceMax:1,{after}Round:1"


def _quantized(layer: Any, shape: tuple[int, ...], dtype: str = "float32", **options: Any) -> keras.Model:
    inputs = keras.Input(shape, dtype=dtype)
    model = randomize(keras.Model(inputs, layer(inputs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that an InputLayer has nothing to quantize
        model.quantize(**options)
    return model


def _exact(model: keras.Model, **options: Any) -> Conversion:
    """Converts without tf2onnx and compares bit by bit."""
    converted = convert_model(model, exporter="direct", **options)
    session = run_session(check_graph(converted))
    for batch in (1, 3):
        inputs = random_inputs(converted, batch, seed=batch)
        for found, expected in zip(session(inputs), keras_function(model)(inputs), strict=True):
            np.testing.assert_array_equal(found, expected)
    dtypes = {value.dtype for value in converted.model.graph.initializers.values()}
    assert not dtypes & {ir.DataType.INT8, ir.DataType.UINT8}
    return converted


@pytest.mark.parametrize(
    ("layer", "shape", "expects"),
    [
        (layers.Dense(6, activation="relu"), (16,), INT8.format(product="Gemm:1,", after="Relu:1,")),
        (layers.Dense(6), (5, 16), INT8.format(product="MatMul:1,", after="")),
        (layers.EinsumDense("abc,cd->abd", (None, 6), bias_axes="d"), (5, 16), ""),
        (layers.EinsumDense("abc,cde->abde", (None, 2, 4), bias_axes="de"), (5, 16), ""),
        (layers.EinsumDense("abcd,cde->abe", (None, 4)), (5, 2, 8), ""),
    ],
    ids=["dense", "dense3", "einsum", "heads", "join"],
)
def test_int8_products(layer: Any, shape: tuple[int, ...], expects: str) -> None:
    converted = _exact(_quantized(layer, shape, mode="int8"))
    if expects:
        assert operations(converted) == expects


@pytest.mark.parametrize("mode", ["int8", "int4"])
@pytest.mark.parametrize("reverse", [False, True])
def test_embeddings(mode: str, reverse: bool) -> None:
    embedding = layers.ReversibleEmbedding(7, 8) if reverse else layers.Embedding(7, 8)
    whole = (lambda x: embedding(embedding(x), reverse=True)) if reverse else embedding
    _exact(_quantized(whole, (5,), "int32", mode=mode))


@pytest.mark.parametrize(
    "config",
    [
        Int8QuantizationConfig(activation_quantizer=None),
        Int4QuantizationConfig(activation_quantizer=None, block_size=-1),
        Int4QuantizationConfig(block_size=8),
        Int4QuantizationConfig(block_size=-1),
    ],
    ids=["int8", "int4", "int4-blocks", "int4-channels"],
)
def test_quantized_weights(config: Any) -> None:
    _exact(_quantized(layers.Dense(7), (5, 16), config=config))
    _exact(_quantized(layers.EinsumDense("abc,cde->abde", (None, 2, 4)), (5, 16), config=config))


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_lora_beside_a_quantized_kernel(mode: str) -> None:
    layer = layers.Dense(6, name="dense")
    model = _quantized(layer, (5, 16), mode=mode)
    layer.enable_lora(3)
    layer.lora_kernel_b.assign(np.random.default_rng(0).normal(size=(3, 6)))
    _exact(model)


def test_a_sum_beyond_24_bits_is_taken_apart() -> None:
    """All the same sign and the largest magnitude: 4000 * 127 * 127 is nearly four times what float32 holds."""
    layer = layers.Dense(3, use_bias=False)
    model = _quantized(layer, (4000,), mode="int8")
    layer._kernel.assign(np.full((4000, 3), 127, np.int8))
    converted = _exact(model)
    assert converted.report.operations["Gemm"] == 2
    session, ones = run_session(check_graph(converted)), np.linspace(0.99, 1, 4000, dtype=np.float32)[None]
    np.testing.assert_array_equal(session([ones])[0], keras_function(model)([ones])[0])


def test_int8_between_convolutions_moves_nothing() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(5, activation="relu")(layers.Conv2D(4, 3)(inputs))
    model = randomize(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.quantize("int8")
    converted = convert_model(model, exporter="direct")
    assert converted.report.operations["Transpose"] == 1
    _near(model, converted)


def test_a_quantized_model_from_a_file(tmp_path: Any) -> None:
    model = _quantized(layers.Dense(6), (16,), mode="int8")
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert operations(_exact(loaded)) == operations(_exact(model))


def test_float8_takes_opset_19() -> None:
    model = _quantized(layers.Dense(6, name="dense"), (16,), mode="float8")
    assert operations(_exact(model)) == "Cast:2,Clip:1,Gemm:1"  # fresh scales are 1
    with pytest.raises(ConversionError, match="layer 'dense': float8_e4m3fn needs opset 19"):
        convert_model(model, opset=18)


def _near(model: keras.Model, converted: Conversion) -> None:
    inputs = random_inputs(converted, 2)
    (found,), (expected,) = run_session(check_graph(converted))(inputs), keras_function(model)(inputs)
    np.testing.assert_allclose(found, expected, atol=1e-5)
