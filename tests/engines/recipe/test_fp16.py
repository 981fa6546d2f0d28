"""What FP16 cannot hold stays in FP32, with two Casts around each such place, and no more."""

from __future__ import annotations

import dataclasses
import importlib.util
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import ops
from onnx import helper, numpy_helper

import engines
from converters import convert
from deploy.manifest import Profile
from deploy.npz import Array
from engines.graphs import load
from engines.targets.base import find
from tests.engines.conftest import Run
from tests.engines.graphs import Graph

RTX = importlib.util.find_spec("tensorrt_rtx") is not None


class SoftSign(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x / (ops.abs(x) + 1e-8)


class RootMeanSquare(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-12)


class Logarithm(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        return ops.log(ops.relu(x) + 1e-8)


class Standardized(keras.layers.Layer):
    def call(self, x: Any) -> Any:
        centred = x - ops.mean(x, axis=-1, keepdims=True)
        return centred / ops.sqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + 1e-6)


LAYERS = {
    "softsign": SoftSign,
    "root_mean_square": RootMeanSquare,
    "logarithm": Logarithm,
    "unit": keras.layers.UnitNormalization,
    "rms": keras.layers.RMSNormalization,
    "standardized": Standardized,
}


def network(kind: str) -> tuple[keras.Model, Array]:
    """A layer between two convolutions; one sample of zeros and one of small values among ordinary ones."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 8), name="x")
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="first")(inputs)
    x = LAYERS[kind]()(x)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3, name="last")(x))
    images = np.random.default_rng(0).normal(size=(8, 6, 6, 8)).astype(np.float32)
    images[0] = 0
    images[1] *= 1e-2
    return model, images


@pytest.mark.parametrize("kind", LAYERS)
def test_small_constants_stay_and_cost_two_casts(kind: str) -> None:
    model, images = network(kind)
    proto = convert(model)
    expected = model.predict(images, verbose=0)
    recipe = engines.recipe(proto, "fp16", calibration={"x": images})
    (found,) = engines.simulate(recipe, proto, {"x": images}).values()
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    typed = engines.apply(recipe, proto, "tensorrt")
    assert sum(node.op_type == "Cast" for node in typed.graph.node) == 4  # one at the input, one at the output
    assert {layer.name: layer.precision for layer in recipe.layers if layer.name in ("first", "last")} == {
        "first": "fp16",
        "last": "fp16",
    }


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
@pytest.mark.parametrize("kind", ["softsign", "root_mean_square"])
def test_they_build(kind: str) -> None:
    proto = convert(network(kind)[0])
    built = find("tensorrt-rtx").build(load(proto), engines.recipe(proto, "fp16"), Profile())
    assert {layer.name: layer.found for layer in built.layers} == {"first": "fp16", "last": "fp16"}


@pytest.mark.parametrize("kind", ["softsign", "root_mean_square", "logarithm", "unit"])
def test_without_the_rule_they_are_nan_or_infinite(kind: str) -> None:
    """The canary: the simulation shows what the rule is for."""
    model, images = network(kind)
    proto = convert(model)
    recipe = engines.recipe(proto, "fp16")
    spoiled = dataclasses.replace(recipe, layers=tuple(one for one in recipe.layers if one.precision != "fp32"))
    (found,) = engines.simulate(spoiled, proto, {"x": images}).values()
    assert not np.isfinite(found).all()


def high(model: onnx.ModelProto, calibration: Any = None) -> dict[str, str]:
    recipe = engines.recipe(model, "fp16", calibration=calibration)
    return {layer.name: layer.why for layer in recipe.layers if layer.precision == "fp32"}


def test_a_small_factor_is_kept_and_a_small_bias_is_not() -> None:
    g = Graph()
    x = g.conv("x", "conv", (4, 4, 1, 1))
    g.constants[-1] = numpy_helper.from_array(np.full(4, 1e-9, np.float32), "conv/b")
    x = g.node("Add", [x, g.constant("offsets", np.array([[[1e-7]], [[2e-7]], [[0]], [[0]]], np.float32))], "offset")
    x = g.node("Mul", [x, g.constant("zero", np.float32(0))], "zeroed")
    x = g.node("Mul", [x, g.constant("tiny", np.float32(1e-8))], "scaled")
    g.node("Add", [x, "x"], "sum")
    found = high(g.model({"x": ["batch", 4, 2, 2]}, ["sum"]))
    assert set(found) == {"scaled"}
    assert "1e-08 is too small for FP16" in found["scaled"]


def test_values_that_never_reach_normal_numbers_are_kept() -> None:
    g = Graph()
    x = g.node("Mul", ["x", g.constant("a", np.float32(1e-3))], "smaller")
    x = g.node("Mul", [x, g.constant("b", np.float32(1e-3))], "smallest")
    x = g.node("Mul", [x, g.constant("c", np.float32(1e4))], "larger")
    g.node("Relu", [x], "relu")
    model = g.model({"x": ["batch", 4]}, ["relu"])
    found = high(model, {"x": np.ones((2, 4), np.float32)})
    assert {"smallest", "larger"} <= set(found)
    assert "never exceeds 1e-06" in found["larger"]
    assert "for fewer Casts" in found["relu"]  # and not by its range


def test_constant_nodes_of_a_graph_are_typed_like_initializers(
    model: onnx.ModelProto, samples: dict[str, Array], run: Run
) -> None:
    """Another exporter's graph: every constant is a node, one without a name that its value does not give it."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    del other.graph.initializer[:]
    nodes = [helper.make_node("Constant", [], [t.name], t.name, value=t) for t in model.graph.initializer]
    for node in reversed(nodes):
        other.graph.node.insert(0, node)
    onnx.checker.check_model(other, full_check=True)
    for precision in ("fp16", "int8"):
        recipe = engines.recipe(other, precision, calibration=samples)
        assert recipe == engines.recipe(model, precision, calibration=samples)
        typed = engines.apply(recipe, other, "tensorrt")
        onnx.checker.check_model(typed, full_check=True)
        expected = engines.apply(recipe, model, "tensorrt")
        assert [node.name for node in typed.graph.node] == [node.name for node in expected.graph.node]
    image = {"image": samples["image"][:2]}
    assert np.array_equal(run(other, image)["logits"], run(model, image)["logits"])


def test_initializers_that_are_listed_as_inputs_are_none(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    old = onnx.ModelProto()
    old.CopyFrom(model)
    for tensor in model.graph.initializer:
        old.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    recipe = engines.recipe(old, "int8", calibration=samples)
    assert recipe == engines.recipe(model, "int8", calibration=samples)
    assert [value.name for value in engines.apply(recipe, old, "tensorrt").graph.input] == ["image"]


def test_masked_scores_stay_fp16_and_a_row_of_masked_positions_is_uniform() -> None:
    """Keras masks by -2e38 before a Softmax; FP16's largest number does as well there."""
    keras.utils.set_random_seed(0)
    inputs, mask = keras.Input((6, 8), name="x"), keras.Input((6, 6), name="mask", dtype="bool")
    model = keras.Model([inputs, mask], keras.layers.MultiHeadAttention(2, 4)(inputs, inputs, attention_mask=mask))
    random = np.random.default_rng(0)
    samples = {"x": random.normal(size=(8, 6, 8)).astype(np.float32), "mask": random.random((8, 6, 6)) > 0.3}
    samples["mask"][0] = False
    proto = convert(model)
    recipe = engines.recipe(proto, "fp16", calibration=samples)
    assert {layer.precision for layer in recipe.layers} == {"fp16"}
    (found,) = engines.simulate(recipe, proto, samples).values()
    expected = np.asarray(model([samples["x"], samples["mask"]]))
    assert np.abs(found - expected).max() < 2e-3 * np.abs(expected).max()
    typed = engines.apply(recipe, proto, "tensorrt")
    assert sum(node.op_type == "Cast" for node in typed.graph.node) == 2


def masked(scores: float = 1.0, *, read_otherwise: bool = False) -> onnx.ModelProto:
    """Scores, some of which become -1e38 by Where, before a Softmax (and a Relu)."""
    g = Graph()
    x = g.node("Mul", ["x", g.constant("factor", np.float32(scores))], "scores")
    mask = g.node("Greater", [x, g.constant("zero", np.float32(0))], "mask")
    x = g.node("Where", [mask, x, g.constant("never", np.float32(-1e38))], "masked")
    outputs = [g.node("Softmax", [g.node("Identity", [x], "copy")], "softmax")]
    return g.model({"x": ["batch", 4]}, [*outputs, *([g.node("Relu", [x], "relu")] if read_otherwise else [])])


def test_a_mask_that_is_read_otherwise_and_scores_beyond_fp16_stay_high() -> None:
    x = {"x": np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)}
    assert not high(masked(), x)
    assert "masked" in high(masked(read_otherwise=True), x)
    assert {"scores", "masked"} <= set(high(masked(1e5), x))


def test_a_bound_beyond_every_number_is_kept_as_fp16s_largest() -> None:
    g = Graph()
    g.node("Clip", ["x", g.constant("zero", np.float32(0)), g.constant("huge", np.float32(1e30))], "clipped")
    model = g.model({"x": ["batch", 4]}, ["clipped"])
    assert not high(model)
    x = np.array([[-1, 1, 60000, 65504]], np.float32)
    (found,) = engines.simulate(engines.recipe(model, "fp16"), model, {"x": x}).values()
    assert found.tolist() == [[0, 1, 60000, 65504]]


def test_what_onnx_defines_for_fp32_alone_stays_in_it() -> None:
    """NonMaxSuppression takes FP32 boxes, scores and thresholds, by its signature and not by a choice of types."""
    values = {"boxes": (1, 8, 4), "scores": (1, 2, 8)}
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name, sizes in values.items()]
    output = helper.make_tensor_value_info("kept", onnx.TensorProto.INT64, ("n", 3))
    limits = [
        numpy_helper.from_array(np.asarray([value], kind), name)
        for name, value, kind in (("most", 3, np.int64), ("overlap", 0.5, np.float32), ("least", 0.1, np.float32))
    ]
    nodes = [
        helper.make_node("Relu", ["boxes"], ["positive"], "positive"),
        helper.make_node("NonMaxSuppression", ["positive", "scores", "most", "overlap", "least"], ["kept"], "kept"),
    ]
    graph = helper.make_graph(nodes, "detector", inputs, [output], limits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    typed = engines.apply(engines.recipe(model, "fp16"), model)
    (suppression,) = [node for node in typed.graph.node if node.op_type == "NonMaxSuppression"]
    types = {i.name: i.data_type for i in typed.graph.initializer}
    assert types[suppression.input[3]] == types[suppression.input[4]] == onnx.TensorProto.FLOAT
    onnx.checker.check_model(typed, full_check=True)
