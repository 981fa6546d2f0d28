"""Graphs that training quantized already: the recipe keeps their scales, and nothing of them is quantized twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import tensorflow as tf

import engines
from converters.convert import convert
from deploy.errors import BuildError
from deploy.manifest import Profile
from deploy.npz import Array
from engines.apply.placement import place
from engines.graphs import load
from engines.lint import problems
from engines.recipe.trained import grid_steps, separate
from engines.targets.base import find
from tests.engines.graphs import Graph


@pytest.fixture(scope="module")
def written(model: onnx.ModelProto, int8: engines.Recipe) -> onnx.ModelProto:
    """The graph as a quantizer of another make writes it: FP32, with the recipe's pairs and INT8 weights."""
    graph = load(model)
    place(graph, int8, np.float32)
    return ir.to_proto(graph)


def test_a_quantized_graph_gives_back_its_recipe(written: onnx.ModelProto, int8: engines.Recipe) -> None:
    found = engines.recipe(written, "int8")
    asked = {layer.name: layer for layer in int8.layers if layer.precision == "int8"}
    kept = {layer.name: layer for layer in found.layers if layer.precision == "int8"}
    assert kept.keys() == asked.keys()
    for name, layer in kept.items():
        np.testing.assert_allclose(layer.weight_scales, asked[name].weight_scales, rtol=1e-6)
        assert layer.why.startswith("quantized in training")
    scales = {activation.value: activation.scale for activation in int8.activations}
    for activation in found.activations:
        assert activation.scale == pytest.approx(scales[activation.value], rel=1e-6)


def test_it_computes_what_it_did(
    written: onnx.ModelProto, model: onnx.ModelProto, int8: engines.Recipe, samples: dict[str, Array]
) -> None:
    again = engines.simulate(engines.recipe(written, "int8"), written, samples)
    once = engines.simulate(int8, model, samples)
    for name, array in once.items():
        error = np.sqrt(((again[name] - array) ** 2).mean() / (array**2).mean())
        assert error < 1e-2  # a scale rounded to FP16 moves some numbers to the next step


def test_a_recipe_by_hand_replaces_scales_of_the_same_names(written: onnx.ModelProto) -> None:
    recipe = engines.recipe(written, "int8")
    doubled = tuple(dataclasses.replace(one, scale=2 * one.scale) for one in recipe.activations)
    edited = dataclasses.replace(recipe, activations=doubled)
    once, twice = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in engines.apply(one, written).graph.initializer}
        for one in (recipe, edited)
    )
    scales = [f"{layer.input}/scale" for layer in recipe.layers if layer.precision == "int8"]
    assert scales
    for name in scales:
        assert once[name].dtype == twice[name].dtype == np.float16
        assert twice[name] == pytest.approx(2 * once[name], rel=1e-3)


def test_it_is_a_graph_that_tensorrt_takes(written: onnx.ModelProto) -> None:
    recipe = engines.recipe(written, "int8")
    assert problems(load(engines.apply(recipe, written)), recipe) == []


def test_a_build_needs_no_samples(written: onnx.ModelProto, tmp_path: Path) -> None:
    engines.build(written, tmp_path / "b", "int8", target="onnxruntime", quiet=True)
    recipe = engines.read_recipe(tmp_path / "b" / "recipe.int8.json")
    assert recipe.calibration["source"] == "the model's own quantizers"
    assert "int8" in {layer.precision for layer in recipe.layers}


def test_parity_allows_for_values_between_two_steps(tmp_path: Path) -> None:
    """The first quantizer swallows what changes the input; half of what the second reads lies between its steps."""
    g = Graph()
    pair = [g.constant("scale", np.float32(0.02)), g.constant("zero", np.int8(0))]
    x = g.node("DequantizeLinear", [g.node("QuantizeLinear", ["x", *pair], "q"), *pair], "dq")
    x = g.node("QuantizeLinear", [g.node("Mul", [x, g.constant("half", np.float32(0.5))], "halved"), *pair], "q2")
    graph = g.model({"x": ["batch", 64]}, [g.node("DequantizeLinear", [x, *pair], "y")])
    samples = {"x": np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)}
    bundle = engines.build(graph, tmp_path / "b", "fp32", "onnxruntime", sample=samples, quiet=True)
    assert 0.01 < bundle.manifest.sensitivity["y"] < 0.03  # one step of outputs up to 1.3


def test_fp8_has_no_scales_from_training(written: onnx.ModelProto, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="FP8 needs calibration data"):
        engines.build(written, tmp_path / "b", "fp8,int8", target="tensorrt-rtx", quiet=True)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_other_precisions_leave_the_quantizers_out(written: onnx.ModelProto, precision: str) -> None:
    graph = engines.apply(engines.recipe(written, precision), written)
    assert not {node.op_type for node in graph.graph.node} & {"QuantizeLinear", "DequantizeLinear"}


def test_a_layer_that_was_not_quantized_stays_high(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    layer = next(layer for layer in int8.layers if layer.precision == "int8")
    layers = (dataclasses.replace(x, precision="fp16") if x.name == layer.name else x for x in int8.layers)
    graph = load(model)
    place(graph, dataclasses.replace(int8, layers=tuple(layers)), np.float32)
    found = engines.recipe(ir.to_proto(graph), "int8")
    assert "was not quantized in training" in next(x.why for x in found.layers if x.name == layer.name)


def _pairs(scale: float, zero: int, dtype: type, cut: bool = False) -> onnx.ModelProto:
    g = Graph()
    value = g.node("Relu", ["x"], "relu")
    step = g.constant("scale", np.float32(scale))
    if cut:
        value = g.node("Min", [value, g.constant("most", np.float32(scale * 127))], "min")
    grid = [step, g.constant("zero", np.asarray(zero, dtype))]
    value = g.node("DequantizeLinear", [g.node("QuantizeLinear", [value, *grid], "q"), *grid], "dq")
    g.conv(g.node("MaxPool", [value], "pool", kernel_shape=[2, 2], strides=[2, 2]), "conv", (4, 3, 3, 3))
    return g.model({"x": ["batch", 3, 8, 8]}, ["conv", "dq"])


def test_a_scale_holds_behind_a_pooling() -> None:
    found = engines.recipe(_pairs(0.02, 0, np.int8), "int8")
    scales = {activation.value: activation.scale for activation in found.activations}
    assert scales["pool"] == scales["relu"] == pytest.approx(0.02)
    assert found.precision_of("conv") == "int8"


def _both(weights: tuple[str, ...], zero: int, dtype: type) -> engines.Recipe:
    """The INT8 recipe of two convolutions that read one quantized value; the weights of those named are quantized."""
    g = Graph()
    grid = [g.constant("scale", np.float32(0.02)), g.constant("zero", np.int8(0))]
    x = g.node("DequantizeLinear", [g.node("QuantizeLinear", ["x", *grid], "q"), *grid], "dq")
    for name in ("first", "second"):
        w = g.constant(f"{name}/w", g.random.normal(size=(4, 3, 3, 3)).astype(np.float32))
        if name in weights:
            own = [g.constant(f"{name}/scale", np.float32(0.013)), g.constant(f"{name}/zero", np.asarray(zero, dtype))]
            w = g.node("DequantizeLinear", [g.node("QuantizeLinear", [w, *own], f"{name}/q"), *own], f"{name}/dq")
        g.node("Conv", [x, w], name)
    return engines.recipe(g.model({"x": ["batch", 3, 8, 8]}, ["first", "second"]), "int8")


@pytest.mark.parametrize(("zero", "dtype"), [(0, np.int8), (100, np.uint8)])  # 155 steps up: too many for a grid
def test_weights_that_training_left_floating_stay_so(zero: int, dtype: type) -> None:
    layers = {layer.name: layer for layer in _both(("first",), zero, dtype).layers}
    assert layers["first"].precision == "int8"
    assert layers["second"].precision == "fp16"
    assert layers["second"].why == "its weights were not quantized in training"


def test_where_training_quantized_no_weights_they_get_scales() -> None:
    layers = _both((), 0, np.int8).layers
    assert [layer.precision for layer in layers] == ["int8", "int8"]
    assert len(layers[0].weight_scales) == 4


def test_a_cut_at_127_steps_goes_with_its_pair() -> None:
    graph = load(_pairs(0.02, 0, np.int8, cut=True))
    assert "relu" in separate(graph).step
    readers = {reader.op_type for node in graph.graph if node.name == "relu" for reader, _ in node.outputs[0].uses()}
    assert "MaxPool" in readers


def test_an_output_of_the_graph_keeps_its_name() -> None:
    graph = load(_pairs(0.02, 0, np.int8))
    separate(graph)
    assert [value.name for value in graph.graph.outputs] == ["conv", "dq"]
    onnx.checker.check_model(ir.to_proto(graph), full_check=True)


def test_unsigned_steps_keep_their_range() -> None:
    found = engines.recipe(_pairs(0.02, 0, np.uint8), "int8")
    (relu,) = (activation for activation in found.activations if activation.value == "relu")
    assert relu.scale == pytest.approx(0.02 * 255 / 127)
    assert (relu.minimum, relu.maximum) == pytest.approx((0.0, 0.02 * 255))


def test_an_unsigned_grid_cuts_what_is_negative() -> None:
    """Behind a Relu there is nothing to cut; before one, the quantizer was the cut."""
    for name, cut in (("relu", []), ("scaled", ["q/cut"])):
        g = Graph()
        x = (
            g.node("Relu", ["x"], "relu")
            if name == "relu"
            else g.node("Mul", ["x", g.constant("two", np.float32(2))], "scaled")
        )
        pair = [g.constant("scale", np.float32(0.02)), g.constant("zero", np.uint8(0))]
        g.conv(
            g.node("DequantizeLinear", [g.node("QuantizeLinear", [x, *pair], "q"), *pair], "dq"), "conv", (8, 8, 3, 3)
        )
        graph = load(g.model({"x": ["batch", 8, 5, 5]}, ["conv"]))
        found = separate(graph)
        assert [node.name for node in graph.graph if node.op_type == "Relu" and node.name != "relu"] == cut
        assert list(found.step) == [*cut, *["relu"] * (not cut)]


def test_every_step_of_a_grid_is_found() -> None:
    rng = np.random.default_rng(0)
    steps = rng.uniform(1e-4, 1e-1, 24).astype(np.float32)
    integers = rng.integers(-127, 128, (24, 3, 3, 3))
    integers[:, 0, 0, 0] = 127 - np.arange(24)  # a channel need not reach the last step
    integers[3] = 0
    found = grid_steps((integers * steps[:, None, None, None]).astype(np.float32), 0)
    largest = np.abs(integers).reshape(24, -1).max(axis=1)
    np.testing.assert_allclose(np.delete(found, 3), np.delete(steps, 3), rtol=1e-5)
    assert found[3] == 0
    assert largest[1] <= 127


def test_trained_weights_lie_on_no_grid() -> None:
    array = np.random.default_rng(0).normal(size=(3, 3, 16, 32)).astype(np.float32)
    assert not grid_steps(array, 3).any()


def test_a_keras_model_trained_with_fake_quantization_builds_with_its_scales() -> None:
    import keras

    class Fake(keras.layers.Layer):
        def __init__(self, limit: float, **options: object) -> None:
            super().__init__(**options)
            self.limit = limit

        def call(self, x: object) -> object:
            return tf.quantization.fake_quant_with_min_max_args(x, -self.limit, self.limit, narrow_range=True)

    class Conv(keras.layers.Conv2D):
        def call(self, x: object) -> object:
            most = tf.reduce_max(tf.abs(self.kernel), axis=[0, 1, 2])
            kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                self.kernel, -most, most, narrow_range=True
            )
            return tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + self.bias)

    inputs = keras.Input((12, 12, 3), name="x")
    x = Conv(8, 3, name="first")(Fake(2.54, name="fake")(inputs))
    x = Conv(8, 3, name="second")(keras.layers.MaxPooling2D()(Fake(1.27, name="fake_2")(x)))
    keras_model = keras.Model(inputs, keras.layers.Dense(4, name="top")(keras.layers.GlobalMaxPooling2D()(x)))
    graph = convert(keras_model)
    recipe = engines.recipe(graph, "int8")
    samples = np.random.default_rng(0).normal(size=(8, 12, 12, 3)).astype(np.float32)
    (simulated,) = engines.simulate(recipe, graph, {"x": samples}).values()
    expected = np.asarray(keras_model(samples))
    assert np.sqrt(((simulated - expected) ** 2).mean() / (expected**2).mean()) < 1e-2
    assert {round(a.scale, 8) for a in recipe.activations} == {0.02, 0.01}
    built = find("tensorrt-rtx").build(ir.from_proto(graph), recipe, Profile())
    found = {layer.name.partition("/")[0]: layer.found for layer in built.layers}
    assert found == {"first": "int8", "second": "int8", "top": "fp16"}
