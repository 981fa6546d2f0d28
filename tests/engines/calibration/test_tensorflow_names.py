"""TensorFlow's names of a model's tensors are brought to its layers, or to none."""

from __future__ import annotations

import struct
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf2onnx

import engines
from converters.convert import convert
from engines.calibration.collect import collect
from engines.calibration.tensorflow_names import by_layer

VALUES = {"image": "", "stem_bn": "Conv", "stem_relu": "Relu", "pool": "MaxPool", "conv1": "Relu", "swish": "Mul"}
VALUES |= {"add": "Add", "block/conv1": "Relu", "block/conv2": "Conv", "gap": "ReduceMean", "fc": "Gemm"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conv1/Relu:0", "conv1"),
        ("net/conv1/Relu:0", "conv1"),
        ("StatefulPartitionedCall/net/conv1/Relu:0", "conv1"),
        ("StatefulPartitionedCall/StatefulPartitionedCall/net/block/conv1/Relu:0", "block/conv1"),
        ("net/stem_bn/FusedBatchNormV3:0", "stem_bn"),
        ("net/stem_bn/batchnorm/add_1:0", "stem_bn"),
        ("net/pool/MaxPool:0", "pool"),
        ("net/pool/MaxPool2d:0", "pool"),
        ("net/swish/mul_1:0", "swish"),
        ("net/add/AddV2:0", "add"),
        ("net/gap/Mean:0", "gap"),
        ("net/fc/BiasAdd:0", "fc"),
        ("net_1/conv1_1/Relu:0", "conv1"),
        ("functional_1/block_1/conv2_1/convolution:0", "block/conv2"),
        ("net/conv1/BiasAdd:0", None),  # which the Relu reads
        ("net/swish/Sigmoid:0", None),
        ("net/gap/Mean_Squeeze__51:0", None),
        ("net/pool/MaxPool__12:0", None),
        ("net/other/conv1/Relu:0", None),  # of a model within the model
        ("two/more/conv1/Relu:0", None),
        ("net/conv1_1/Relu:0", None),  # a number at one scope alone
        ("image_1", None),
    ],
)
def test_a_name_alone(name: str, value: str | None) -> None:
    assert by_layer([name], VALUES) == ({value: (name,)} if value else {})


def test_the_last_part_of_a_product_is_its_output() -> None:
    names = ["net/fc/MatMul:0", "net/fc/BiasAdd:0", "net/conv1/Conv2D:0", "net/conv1/BiasAdd:0", "net/conv1/Relu:0"]
    assert by_layer(names, VALUES) == {"fc": ("net/fc/BiasAdd:0",), "conv1": ("net/conv1/Relu:0",)}


def test_numbers_are_all_of_the_layers_or_none() -> None:
    """Keras 3 calls conv2d's scope conv2d_1, and that of conv2d_1 conv2d_1_2."""
    values = dict.fromkeys(("conv2d", "conv2d_1", "conv2d_2"), "Relu")
    scopes = {"conv2d": "conv2d_1", "conv2d_1": "conv2d_1_2", "conv2d_2": "conv2d_2_1"}
    names = {value: f"functional_1/{scope}/Relu:0" for value, scope in scopes.items()}
    assert by_layer(names.values(), values) == {value: (name,) for value, name in names.items()}
    names = {value: f"model_1/{value}/Relu:0" for value in values}
    assert by_layer(names.values(), values) == {value: (name,) for value, name in names.items()}
    assert by_layer(["model_1/conv2d_1/Relu:0"], values) == {}  # conv2d or conv2d_1


def test_calls_of_a_shared_layer_are_told_as_ambiguous() -> None:
    names = ("model/conv1/Relu:0", "model/conv1/Relu_1:0")
    assert by_layer(names, VALUES) == {"conv1": names}


def network() -> keras.Model:
    """Layers of several kinds, numbered by Keras and named, some in a model of their own, one called twice."""
    layers = keras.layers
    x = inputs = keras.Input((16, 16, 3), name="image")
    for _ in range(3):
        x = layers.Conv2D(16, 3, padding="same", activation="relu")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    y = layers.Activation("swish", name="swish")(layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x))
    x = layers.Add(name="add")([x, y])
    x = keras.Sequential([layers.Conv2D(24, 1, activation="relu", name="one"), layers.Conv2D(16, 1)], name="block")(x)
    shared = layers.Conv2D(16, 3, activation="relu", name="shared")
    x = layers.GlobalAveragePooling2D(name="mean")(shared(shared(x)))
    return keras.Model(inputs, layers.Dense(20, name="top")(layers.Dense(16, activation="relu", name="hidden")(x)))


def tensors(model: onnx.ModelProto) -> dict[str, float]:
    """What TensorRT would keep of a graph: the scale of each tensor by its name."""
    samples = {"image": np.random.default_rng(0).normal(size=(16, 16, 16, 3)).astype(np.float32)}
    model = onnx.shape_inference.infer_shapes(model)
    for node in model.graph.node:
        node.name = node.output[0]
    ranges = collect(model, samples)
    return {name: ranges.amax(name) / 127 for name in ranges.minimum}


def test_a_cache_of_tf2onnx_graph_gives_the_scales_of_ours(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    keras.backend.clear_session(free_memory=False)
    model = network()
    function = tf.function(lambda image: model(image, training=False))
    signature = [tf.TensorSpec((None, 16, 16, 3), tf.float32, name="image")]
    theirs, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=17)
    ours = convert(model)
    lines = (f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in tensors(theirs).items())
    cache = tmp_path / "cache.txt"
    cache.write_text("\n".join(["TRT-8601-EntropyCalibration2", *lines]) + "\n")
    recipe = engines.recipe(ours, "int8", calibration=cache)
    expected, found = tensors(ours), {activation.value: activation.scale for activation in recipe.activations}
    read = {layer.name: layer.input for layer in recipe.layers if layer.precision == "int8"}
    assert {value: found[value] for value in read.values()} == pytest.approx(
        {value: expected[value] for value in read.values()}, rel=1e-3
    )
    high = [(layer.name, layer.why) for layer in recipe.layers if layer.precision != "int8"]
    assert high == [("shared/Add_1", "the range of its input shared is not in the calibration cache")]
    assert "9 of 10 inputs of INT8 layers are in the calibration cache" in recipe.calibration["why"]
    assert "ambiguous: shared (" in recipe.calibration["why"]
