"""What is wrong with a recipe for a model and a target is said at once, with its layer, before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.gpu import Gpu
from deploy.npz import Array
from engines.calibration.collect import collect
from engines.graphs import load
from engines.recipe import LayerPrecision, Recipe
from engines.recipe.completion import complete, missing_scales
from engines.recipe.validation import faults, for_target, of_model
from engines.targets import tensorrt
from engines.targets.base import find
from tests.engines.graphs import Graph

Edit = Callable[[LayerPrecision], LayerPrecision]


def edited(recipe: Recipe, edited_layer: str, **changes: Any) -> Recipe:
    """The recipe with the entry of one layer changed, as by hand."""
    layers = tuple(
        dataclasses.replace(layer, by_hand=True, **changes) if layer.name == edited_layer else layer
        for layer in recipe.layers
    )
    return dataclasses.replace(recipe, layers=layers)


def test_every_fault_is_found_at_once(model: onnx.ModelProto, int8: Recipe) -> None:
    recipe = edited(int8, "stem/conv", weight_scales=(1.0,))
    recipe = edited(recipe, "block/conv1", input="image")
    recipe = edited(recipe, "block/conv2", name="block/conv3")
    recipe = edited(recipe, "logits", weight_scales=(1e-9,) * 20)
    with pytest.raises(BuildError, match="5 things are wrong") as caught:
        engines.apply(recipe, model)
    for line in (
        "layer block/conv3: the recipe names a layer that the graph does not have",
        "layer block/conv2: the recipe does not say in which precision",
        "layer stem/conv: wrong number of weight scales (expected 16, one for each output channel, found 1)",
        "layer block/conv1: the layer does not read the value that its entry names (expected pool, found image)",
        "layer logits: a scale is outside the normal numbers of float16",
    ):
        assert f"\n  {line}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("stem/conv", {"precision": "fp8", "weight_scales": (1.0,)}, "for INT8 or for FP8, not for both"),
        ("block/cbam/fc1", {"precision": "int8"}, "wrong number of weight scales"),
    ],
)
def test_a_changed_layer(
    model: onnx.ModelProto, int8: Recipe, name: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        engines.apply(edited(int8, name, **changes), model)


def test_the_head_says_which_eight_bits(model: onnx.ModelProto, int8: Recipe) -> None:
    with pytest.raises(BuildError, match=r"INT8 layers, and its precision is another(.|\n)*expected: int8"):
        engines.apply(dataclasses.replace(int8, precision="fp16"), model)


def test_a_recipe_of_another_model(model: onnx.ModelProto, int8: Recipe) -> None:
    g = Graph(seed=1)
    g.conv("image", "stem/conv", (4, 3, 3, 3))
    other = load(g.model({"image": ["batch", 3, 8, 8]}, ["stem/conv"]))
    assert list(of_model(int8, load(model))) == []
    (fault,) = of_model(int8, other)
    assert fault.what == "the recipe is of another model"
    assert "with 1 of 7 layers here" in fault.found
    assert list(of_model(dataclasses.replace(int8, model=""), other)) == []
    trained = onnx.ModelProto()
    trained.CopyFrom(model)
    weights = next(tensor for tensor in trained.graph.initializer if tensor.name == "logits/w")
    weights.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weights) * 1.001, weights.name))
    (fault,) = of_model(int8, load(trained))
    assert fault.what.endswith("the layers have the same names, and other weights")


def test_each_target_has_its_precisions(model: onnx.ModelProto, samples: dict[str, Array], int8: Recipe) -> None:
    target, graph = find("onnxruntime"), load(model)
    assert list(for_target(int8, graph, target)) == []
    fp8 = engines.recipe(model, "fp8", calibration=samples)
    found = [fault.where for fault in for_target(fp8, graph, target)]
    assert found == [f"layer {layer.name}" for layer in fp8.layers if layer.precision == "fp8"]


def test_tensorrt_has_no_fp8_for_groups_and_large_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "gpus", lambda: (Gpu("A", (8, 9)),))
    g = Graph()
    x = g.conv("x", "depthwise", (8, 1, 3, 3), group=8)
    g.conv(g.conv(x, "large", (8, 8, 7, 7)), "usual", (8, 8, 3, 3))
    graph = load(g.model({"x": ["batch", 8, 9, 9]}, ["usual"]))
    x = np.random.default_rng(0).normal(size=(8, 8, 9, 9)).astype(np.float32)
    recipe = engines.recipe(graph, "fp8", calibration={"x": x})
    assert [layer.precision for layer in recipe.layers] == ["fp16", "fp16", "fp8"]
    assert list(for_target(recipe, graph, tensorrt.TensorRT())) == []
    asked = edited(edited(recipe, "depthwise", precision="fp8"), "large", precision="fp8")
    found = [(fault.where, fault.what) for fault in for_target(asked, graph, tensorrt.TensorRT())]
    assert found == [
        ("layer depthwise", "TensorRT has no FP8 kernel for convolutions in groups"),
        ("layer large", "TensorRT has no FP8 kernel for more than 32 elements"),
    ]
    monkeypatch.setattr(tensorrt, "gpus", lambda: (Gpu("A", (7, 5)),))
    (fault,) = for_target(recipe, graph, tensorrt.TensorRT())
    assert (fault.where, fault.what) == ("layer usual", "tensorrt does not compute in fp8")


def test_missing_weight_scales_are_those_that_the_rules_give(model: onnx.ModelProto, int8: Recipe) -> None:
    bare = edited(int8, "stem/conv", weight_scales=(), input="")
    assert edited(int8, "stem/conv") == complete(bare, load(model))


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_a_layer_changed_to_eight_bits_needs_nothing_but_data(
    model: onnx.ModelProto, samples: dict[str, Array], precision: str
) -> None:
    graph = load(model)
    recipe = dataclasses.replace(engines.recipe(graph, "fp16"), precision=precision)
    recipe = edited(recipe, "block/conv2", precision=precision)
    assert missing_scales(recipe, graph) == ("block/relu1",)
    with pytest.raises(BuildError, match=r"layer block/conv2: .*no scale for its input(.|\n)*--calibration NPZ"):
        engines.apply(complete(recipe, graph), model)
    full = complete(recipe, graph, collect(graph, samples))
    assert missing_scales(full, graph) == ()
    assert full.edits() == ("layer block/conv2",)
    decided = engines.recipe(model, precision, calibration=samples, calibration_method="minmax")
    scale = next(a.scale for a in decided.activations if a.value == "block/relu1")
    assert [a.scale for a in full.activations] == [scale]
    exact = engines.simulate(engines.recipe(model, "fp32"), model, samples)["logits"]
    error = np.abs(engines.simulate(full, model, samples)["logits"] - exact).max() / np.abs(exact).max()
    assert 1e-4 < error < 0.2


def test_a_layer_changed_to_fp16_keeps_no_scales(model: onnx.ModelProto, int8: Recipe) -> None:
    layer = complete(edited(int8, "stem/conv", precision="fp16"), load(model)).layers[0]
    assert (layer.weight_scales, layer.input) == ((), "")


def test_what_cannot_be_quantized_is_refused_by_name(int8: Recipe) -> None:
    g = Graph()
    g.node("MatMul", ["x", "x"], "square")
    graph = g.model({"x": ["batch", 4, 4]}, ["square"])
    recipe = Recipe("int8", "fp16", (LayerPrecision("square", "int8", ""),))
    (fault, *_) = faults(complete(recipe, load(graph)), load(graph), "tensorrt")
    assert fault.where == "layer square"
    assert "has no constant weight" in fault.what
