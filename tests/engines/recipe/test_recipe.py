from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import engines
from deploy.errors import BuildError
from deploy.npz import Array
from engines.apply.placement import quantize
from engines.recipe.scales import weight_scales
from tests.engines.graphs import Graph

GATES = {"block/cbam/fc1", "block/cbam/fc2", "block/cbam/conv7"}


def test_int8_names_every_product_and_keeps_gates_high(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    products = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert [layer.name for layer in int8.layers] == products
    assert {layer.name for layer in int8.layers if layer.precision == "fp16"} == GATES
    assert all("gate" in layer.why for layer in int8.layers if layer.name in GATES)
    assert {key: int8.calibration[key] for key in ("source", "samples", "method")} == {
        "source": "dict",
        "samples": 64,
        "method": "auto",
    }
    assert "64 samples replayed" in int8.calibration["why"]


def test_scales_are_the_largest_magnitude_over_127(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    int8 = engines.recipe(model, "int8", calibration=samples, calibration_method="minmax")
    image = next(scale for scale in int8.activations if scale.value == "image")
    assert image.scale == pytest.approx(np.abs(samples["image"]).max() / 127)
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    stem = next(layer for layer in int8.layers if layer.name == "stem/conv")
    assert stem.weight_scales == pytest.approx(np.abs(weights["stem/conv/w"]).max(axis=(1, 2, 3)) / 127)


def test_a_swish_and_a_gated_vector_are_no_gates() -> None:
    g = Graph()
    axes = g.constant("axes", np.array([2, 3], np.int64))
    x = g.conv("x", "conv1", (16, 4, 3, 3))
    x = g.node("Mul", [x, g.node("Sigmoid", [x], "swish/sigmoid")], "swish")
    x = g.conv(x, "conv2", (16, 16, 3, 3))
    v = g.node("ReduceMean", [x, axes], "pool", keepdims=0)
    left = g.gemm(v, "left", 16, 16)
    right = g.node("Sigmoid", [g.gemm(v, "right", 16, 16)], "right/sigmoid")
    g.node("Mul", [left, right], "glu")
    graph = g.model({"x": ["batch", 4, 8, 8]}, ["glu"])
    x = np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)
    assert {layer.precision for layer in engines.recipe(graph, calibration={"x": x}).layers} == {"int8"}


def test_a_recipe_survives_its_file(int8: engines.Recipe, tmp_path: Path) -> None:
    engines.write_recipe(int8, tmp_path / "recipe.json")
    assert engines.read_recipe(tmp_path / "recipe.json") == int8
    lines = (tmp_path / "recipe.json").read_text().splitlines()
    assert sum('"stem/conv"' in line and '"int8"' in line for line in lines) == 1  # one line a layer, to be edited


def test_a_hand_edit_is_honoured(model: onnx.ModelProto, int8: engines.Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    text = int8.to_json().replace(
        '"name": "stem/conv", "precision": "int8"', '"name": "stem/conv", "precision": "fp32"'
    )
    path.write_text(text)
    graph = engines.apply(engines.read_recipe(path), model)
    types = {v.name: v.type.tensor_type.elem_type for v in graph.graph.value_info}
    assert types["stem/conv"] == onnx.TensorProto.FLOAT
    assert types["block/conv1"] == onnx.TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 99}, "another version"),
        ({"base": "int8"}, "floating"),
        ({"base": "fp12"}, "unknown precision"),
        ({"layers": [{"name": "stem/conv", "precision": "int4", "why": ""}]}, "layer stem/conv"),
        ({"layers": [{"name": "stem/conv"}]}, "layer stem/conv: field 'precision' is missing"),
        ({"layers": [{"name": "c", "precision": "int8", "wihy": ""}]}, "layer c: field 'wihy' is unknown"),
        ({"layers": [{"name": "c", "precision": 8}]}, "layer c: field 'precision' is no text"),
        ({"layers": ["c"]}, "layer number 1: is no entry"),
        ({"layers": {}}, "no list of layers"),
        ({"layers": [{"name": "c", "precision": "int8", "why": "", "weight_scales": [0.0]}]}, "positive"),
        ({"activations": [{"value": "x", "scale": -1, "minimum": 0, "maximum": 1}]}, "value x"),
        ({"activations": [{"value": "x", "scale": 1, "minimum": 1, "maximum": 0}]}, "value x: the range"),
        ({"activations": [{"value": "x", "scale": 1, "minimum": 0, "maximum": float("nan")}]}, "value x: the range"),
        ({"extra": 1}, "unknown"),
    ],
)
def test_a_wrong_file_is_refused_with_its_fault(
    int8: engines.Recipe, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({**json.loads(int8.to_json()), **change}))
    with pytest.raises(BuildError, match=message):
        engines.read_recipe(path)


def test_all_faults_of_a_file_are_reported_at_once(int8: engines.Recipe, tmp_path: Path) -> None:
    data = json.loads(int8.to_json())
    data["layers"][0]["weight_scales"][1] = -1
    data["layers"][1]["precision"] = "int9"
    data["activations"][0]["scale"] = 0
    (tmp_path / "recipe.json").write_text(json.dumps(data))
    with pytest.raises(BuildError, match=r"recipe\.json: 3 things are wrong") as caught:
        engines.read_recipe(tmp_path / "recipe.json")
    for where in (f"layer {int8.layers[0].name}", f"layer {int8.layers[1].name}", f"value {int8.activations[0].value}"):
        assert f"\n  {where}: " in str(caught.value)


def test_what_was_edited_by_hand_is_marked_from_then_on(int8: engines.Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    engines.write_recipe(int8, path)
    assert engines.read_recipe(path).edits() == ()
    data = json.loads(path.read_text())
    data["layers"][0]["why"] = "the camera is noisy"
    data["activations"][1]["scale"] *= 2
    data["base"] = "fp32"
    path.write_text(json.dumps(data))
    edited = engines.read_recipe(path)
    assert edited.edits() == ("the head", f"layer {int8.layers[0].name}", f"value {int8.activations[1].value}")
    engines.write_recipe(edited, path)
    assert engines.read_recipe(path) == edited
    shorter = dataclasses.replace(int8, layers=int8.layers[1:])
    path.write_text(int8.to_json().replace(int8.to_json().splitlines()[8] + "\n", ""))
    assert engines.read_recipe(path) == dataclasses.replace(shorter, by_hand=True)


def test_a_recipe_knows_its_model_by_the_weights(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    assert engines.recipe(model, "fp16").model == int8.model
    other = onnx.ModelProto()
    other.CopyFrom(model)
    weights = next(tensor for tensor in other.graph.initializer if tensor.name == "logits/w")
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.001, weights.name))
    assert engines.recipe(other, "fp16").model != int8.model


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    path.write_text("{")
    with pytest.raises(BuildError, match=r"recipe\.json"):
        engines.read_recipe(path)
    with pytest.raises(BuildError, match="cannot be read"):
        engines.read_recipe(tmp_path / "missing.json")


def test_unknown_and_forgotten_layers_are_named(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    renamed = dataclasses.replace(int8.layers[0], name="no/such")
    with pytest.raises(BuildError, match="no/such"):
        engines.apply(dataclasses.replace(int8, layers=(*int8.layers, renamed)), model)
    with pytest.raises(BuildError, match="layer stem/conv"):
        engines.apply(dataclasses.replace(int8, layers=int8.layers[1:]), model)


def test_what_a_hand_edit_asks_for_is_done_or_refused(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    again = dataclasses.replace(int8.layers[0], precision="fp16")
    with pytest.raises(BuildError, match=r"layer stem/conv: .*more than one"):
        engines.apply(dataclasses.replace(int8, layers=(*int8.layers, again)), model)
    with pytest.raises(BuildError, match=r"value image: .*more than one"):
        engines.apply(dataclasses.replace(int8, activations=(*int8.activations, int8.activations[0])), model)
    relu = dataclasses.replace(int8.layers[0], name="block/relu1", weight_scales=())
    with pytest.raises(BuildError, match=r"layer block/relu1: only Conv(.|\n)*found: Relu"):
        engines.apply(dataclasses.replace(int8, layers=(*int8.layers, relu)), model)


@pytest.mark.parametrize("scale", [1e-9, 1e5])
def test_a_scale_that_fp16_cannot_hold_is_refused(model: onnx.ModelProto, int8: engines.Recipe, scale: float) -> None:
    """It would become 0, half of what it was, or infinity, and the layer's numbers with it."""
    stem = dataclasses.replace(int8.layers[0], weight_scales=(scale,) * len(int8.layers[0].weight_scales))
    recipe = dataclasses.replace(int8, layers=(stem, *int8.layers[1:]))
    value = tuple(dataclasses.replace(a, scale=scale) if a.value == "pool" else a for a in int8.activations)
    for target in ("tensorrt", "simulate"):
        with pytest.raises(BuildError, match="layer stem/conv: a scale is outside"):
            engines.apply(recipe, model, target)
        with pytest.raises(BuildError, match="value pool: a scale is outside"):
            engines.apply(dataclasses.replace(int8, activations=value), model, target)
    engines.apply(dataclasses.replace(recipe, base="fp32"), model, "tensorrt")


def test_int8_without_calibration_says_what_to_do(model: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match=r"calibration\.npz"):
        engines.recipe(model, "int8")


def test_an_unknown_precision_is_refused_with_those_there_are(model: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match="fp32, fp16, bf16, int8, fp8"):
        engines.recipe(model, "fp4")


def test_nodes_without_names_are_refused(model: onnx.ModelProto) -> None:
    unnamed = onnx.ModelProto()
    unnamed.CopyFrom(model)
    unnamed.graph.node[3].name = ""
    with pytest.raises(BuildError, match="no name"):
        engines.recipe(unnamed, "fp16")


def test_a_scale_too_small_for_fp16_keeps_its_layer_high() -> None:
    g = Graph()
    g.conv(g.conv("x", "tiny", (4, 4, 3, 3), gain=1e-3), "next", (4, 4, 3, 3))
    graph = g.model({"x": ["batch", 4, 8, 8]}, ["next"])
    x = np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)
    layers = {layer.name: layer for layer in engines.recipe(graph, calibration={"x": x}).layers}
    assert layers["tiny"].precision == "fp16"
    assert "subnormal" in layers["tiny"].why
    assert layers["next"].precision == "int8"


@pytest.mark.parametrize(("part", "precision"), [(1e-30, "int8"), (2.0**-15, "int8"), (1e-3, "fp16")])
def test_a_dead_channel_does_not_keep_its_layer_high(part: float, precision: str) -> None:
    """Negligible beside the largest: INT8 with FP16's smallest normal scale. Merely small: its layer stays FP16."""
    g = Graph()
    g.conv("x", "c", (4, 4, 3, 3))
    weights = onnx.numpy_helper.to_array(g.constants[0]).copy()
    largest = np.abs(weights).max()
    weights[2] *= part * largest / np.abs(weights[2]).max()
    weights[3] = 0
    g.constants[0].CopyFrom(onnx.numpy_helper.from_array(weights, "c/w"))
    graph = g.model({"x": ["batch", 4, 8, 8]}, ["c"])
    x = {"x": np.random.default_rng(0).normal(size=(8, 4, 8, 8)).astype(np.float32)}
    recipe = engines.recipe(graph, calibration=x)
    assert recipe.layers[0].precision == precision
    if precision == "int8":
        assert recipe.layers[0].weight_scales[2:] == pytest.approx((2.0**-14, 1.0), rel=1e-8)
        assert "1 channel's weights are next to nothing" in recipe.layers[0].why
        exact = engines.simulate(engines.recipe(graph, "fp32"), graph, x)["c"][:, 2]
        error = np.abs(engines.simulate(recipe, graph, x)["c"][:, 2] - exact)
        assert error.max() < 2.0**-14 * 36 * np.abs(x["x"]).max()  # a step of the smallest scale, per product


def test_fp16_keeps_high_what_calibration_sees_overflow() -> None:
    g = Graph()
    w = g.constant("w", np.full((1, 4, 1, 1), 24000, np.float32))
    g.node("Mul", [g.node("Conv", ["x", w], "big"), g.constant("s", np.float32(1e-4))], "small")
    graph = g.model({"x": ["batch", 4, 2, 2]}, ["small"])
    x = {"x": np.ones((1, 4, 2, 2), np.float32)}
    recipe = engines.recipe(graph, "fp16", calibration=x)
    assert {layer.name: layer.precision for layer in recipe.layers} == {"big": "fp32", "small": "fp32"}
    assert engines.simulate(recipe, graph, x)["small"] == pytest.approx(9.6)


@given(
    arrays(
        np.float32,
        array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(-100, 100, width=32, allow_subnormal=False),
    )
)
def test_quantized_weights_are_within_half_a_step(array: Array) -> None:
    scales = weight_scales(array, 0).reshape(-1, *[1] * (array.ndim - 1))
    integers = quantize(array, scales)
    assert integers.min() >= -127
    assert np.all(np.abs(integers * scales - array) <= scales * 0.5001)
