"""Planted misplacements: each is refused by the layer's name before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

import engines
from deploy.errors import BuildError
from deploy.npz import Array
from engines.apply import applied
from engines.apply.placement import initializer
from engines.lint import lint
from engines.recipe import Recipe
from tests.engines.graphs import Graph

LAYER = "block/conv2"


class Planted:
    """A typed INT8 graph and the quantizers around one of its convolutions."""

    def __init__(self, typed: ir.Model) -> None:
        self.model = typed
        nodes = {node.name: node for node in typed.graph}
        self.conv = nodes[LAYER]
        self.weight, self.input = self.producer(self.conv, 1), self.producer(self.conv, 0)
        self.quantizer = self.producer(self.input, 0)

    @staticmethod
    def producer(node: ir.Node, index: int) -> ir.Node:
        value = node.inputs[index]
        assert value is not None
        producer = value.producer()
        assert producer is not None
        return producer

    def constant(self, array: Array) -> ir.Value:
        return initializer(self.model, f"planted/{len(self.model.graph.initializers)}", array)

    def replace(self, node: ir.Node, index: int, array: Array) -> None:
        node.replace_input_with(index, self.constant(array))

    def insert(self, operator: str, inputs: list[ir.Value], dtype: Any) -> ir.Value:
        value = ir.val("planted", ir.DataType(dtype), None)
        self.model.graph.insert_before(self.conv, ir.node(operator, inputs, outputs=[value], name="planted"))
        return value


def zero_point(p: Planted) -> None:
    for node in (p.quantizer, p.input):
        p.replace(node, 2, np.asarray(3, np.int8))


def unsigned(p: Planted) -> None:
    p.replace(p.quantizer, 2, np.asarray(0, np.uint8))


def input_alone(p: Planted) -> None:
    p.replace(p.conv, 1, np.zeros((16, 16, 3, 3), np.float16))


def weight_alone(p: Planted) -> None:
    p.conv.replace_input_with(0, p.quantizer.inputs[0])


def neither(p: Planted) -> None:
    input_alone(p)
    weight_alone(p)


def weight_axis(p: Planted) -> None:
    p.weight.attributes["axis"] = ir.AttrInt64("axis", 1)


def scales_of_an_input(p: Planted) -> None:
    for node in (p.quantizer, p.input):
        p.replace(node, 1, np.full(16, 0.1, np.float16))


def quantized_bias(p: Planted) -> None:
    inputs = [p.constant(np.zeros(16, np.int32)), p.constant(np.full(16, 0.1, np.float16))]
    p.conv.replace_input_with(2, p.insert("DequantizeLinear", inputs, ir.DataType.FLOAT16))


def subnormal_scale(p: Planted) -> None:
    p.replace(p.weight, 1, np.full(16, 2.0**-15, np.float16))


def negative_scale(p: Planted) -> None:
    for node in (p.quantizer, p.input):
        p.replace(node, 1, np.asarray(-0.1, np.float16))


def scale_at_run_time(p: Planted) -> None:
    value = p.insert("ReduceMax", [p.conv.inputs[0]], ir.DataType.FLOAT16)  # type: ignore[list-item]
    p.weight.replace_input_with(1, value)


def unequal_scales(p: Planted) -> None:
    p.replace(p.input, 1, np.asarray(0.5, np.float16))


def other_reader(p: Planted) -> None:
    p.insert("Cast", [p.quantizer.outputs[0]], ir.DataType.FLOAT)


def mixed_types(p: Planted) -> None:
    p.replace(p.weight, 0, np.zeros((16, 16, 3, 3), ml_dtypes.float8_e4m3fn))


PLANTED: dict[Callable[[Planted], None], tuple[str, str]] = {
    zero_point: ("block/relu1/quantize", "a zero point other than 0"),
    unsigned: ("block/relu1/quantize", "quantized to UINT8"),
    input_alone: (LAYER, "only its input is quantized"),
    weight_alone: (LAYER, "only its weight is quantized"),
    neither: (LAYER, "the recipe asks for int8"),
    weight_axis: (LAYER, "lie along axis 1, and its output channels along 0"),
    scales_of_an_input: ("block/relu1/quantize", "a computed value has 16 scales"),
    quantized_bias: ("planted", "quantized to INT32"),
    subnormal_scale: (f"{LAYER}/weight/dequantize", "a scale of 3.05e-05 is no positive normal number of float16"),
    negative_scale: ("block/relu1/quantize", "a scale of -0.1"),
    scale_at_run_time: (f"{LAYER}/weight/dequantize", "computed at run time"),
    unequal_scales: ("block/relu1/quantize", "has another scale"),
    other_reader: ("block/relu1/quantize", "reads the integers"),
    mixed_types: (LAYER, "quantized to different types"),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_each_misplacement_is_refused_by_name(
    model: onnx.ModelProto, int8: Recipe, plant: Callable[[Planted], None]
) -> None:
    typed = applied(int8, model, "tensorrt")
    lint(typed, int8)
    plant(Planted(typed))
    name, message = PLANTED[plant]
    with pytest.raises(BuildError, match=message) as caught:
        lint(typed, int8)
    assert caught.value.where.startswith(f"layer {name} (")
    assert caught.value.fix


def test_a_quantized_transposed_convolution_is_refused() -> None:
    g = Graph()
    w = g.constant("w", g.random.normal(size=(4, 4, 2, 2)).astype(np.float32))
    g.node("ConvTranspose", ["x", w], "up")
    graph = g.model({"x": ["batch", 4, 3, 3]}, ["up"])
    recipe = engines.recipe(graph, "int8", calibration={"x": np.ones((4, 4, 3, 3), np.float32)})
    assert recipe.precision_of("up") == "fp16"
    asked = dataclasses.replace(recipe.layers[0], precision="int8", weight_scales=(1.0,) * 4)
    with pytest.raises(BuildError, match="layer up: this ConvTranspose cannot be INT8"):
        engines.apply(dataclasses.replace(recipe, layers=(asked,)), graph)
    typed = applied(recipe, graph, "tensorrt")
    up = next(node for node in typed.graph if node.name == "up")
    for index in (0, 1):
        scale = initializer(typed, "scale", np.asarray(0.1, np.float16))
        integers = ir.val(f"integers{index}", ir.DataType.INT8, None)
        value = ir.val(f"planted{index}", ir.DataType.FLOAT16, None)
        dequantizer = ir.node("DequantizeLinear", [integers, scale], outputs=[value], name=f"dequantize{index}")
        typed.graph.insert_before(up, dequantizer)
        up.replace_input_with(index, value)
    with pytest.raises(BuildError, match="a ConvTranspose cannot be quantized"):
        lint(typed, recipe)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_what_recipes_make_passes(model: onnx.ModelProto, samples: dict[str, Array], precision: str) -> None:
    recipe = engines.recipe(model, precision, calibration=samples)
    lint(applied(recipe, model, "tensorrt"), recipe)


def test_a_typed_graph_is_refused(
    model: onnx.ModelProto, int8: Recipe, samples: dict[str, Array], tmp_path: Any
) -> None:
    quantized = engines.apply(int8, model, "tensorrt")
    with pytest.raises(BuildError, match="quantized already"):
        engines.recipe(quantized, "fp16")
    with pytest.raises(BuildError, match="quantized already"):
        engines.apply(int8, quantized, "tensorrt")
    with pytest.raises(BuildError, match="quantized already"):
        engines.build(quantized, tmp_path / "b", "fp32", "onnxruntime", sample=samples, quiet=True)


def test_keras_float8_layers_build_for_onnxruntime_and_are_refused_for_tensorrt(tmp_path: Any) -> None:
    """They compute in float8 by Casts, which TensorRT does not take."""
    import keras

    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(4, name="dense")(inputs))
    model.quantize("float8")
    sample = {"x": np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)}
    bundle = engines.build(model, tmp_path / "b", "fp32", "onnxruntime", sample=sample, quiet=True)
    assert bundle.manifest.find("graph", "fp32")
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BuildError, match="casts to float8"):
        engines.build(model, tmp_path / "c", "fp16", "tensorrt-rtx", sample=sample, quiet=True)
    assert not (tmp_path / "c").exists()
