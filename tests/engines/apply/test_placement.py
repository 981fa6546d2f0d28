from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import engines
from deploy.errors import BuildError
from deploy.npz import Array
from engines.apply.edges import affine
from tests.engines.graphs import Graph

TARGETS = ("tensorrt", "tensorrt-rtx", "onnxruntime", "simulate")


def producers(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in graph.graph.node for name in node.output}


def nodes(graph: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {node.name: node for node in graph.graph.node}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_application_is_a_valid_graph_with_the_same_face(
    model: onnx.ModelProto, samples: dict[str, Array], precision: str, target: str
) -> None:
    before = model.SerializeToString()
    graph = engines.apply(engines.recipe(model, precision, calibration=samples), model, target)
    onnx.checker.check_model(graph, full_check=True)
    onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)
    assert list(graph.graph.input) == list(model.graph.input)
    assert [o.name for o in graph.graph.output] == [o.name for o in model.graph.output]
    assert {o.type.tensor_type.elem_type for o in graph.graph.output} == {TensorProto.FLOAT}
    assert model.SerializeToString() == before
    assert {n.name for n in model.graph.node} <= set(nodes(graph))


def test_fp16_has_a_cast_at_the_input_and_one_at_the_output_only(model: onnx.ModelProto) -> None:
    graph = engines.apply(engines.recipe(model, "fp16"), model)
    casts = [node for node in graph.graph.node if node.op_type == "Cast"]
    assert [(node.input[0], node.output[0]) for node in casts] == [("image", "image/f16"), ("logits/f16", "logits")]
    floats = [t for t in graph.graph.initializer if t.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16)]
    assert {t.data_type for t in floats} == {TensorProto.FLOAT16}


def test_a_layer_kept_in_fp32_is_surrounded_by_casts_and_shares_them(model: onnx.ModelProto) -> None:
    recipe = engines.recipe(model, "fp16")
    layers = tuple(dataclasses.replace(x, precision="fp32") if x.name == "stem/conv" else x for x in recipe.layers)
    graph = engines.apply(dataclasses.replace(recipe, layers=layers), model)
    conv = nodes(graph)["stem/conv"]
    types = {v.name: v.type.tensor_type.elem_type for v in graph.graph.value_info}
    assert types[conv.input[0]] == types["stem/conv"] == TensorProto.FLOAT
    assert types["stem"] == TensorProto.FLOAT16
    assert sum(node.op_type == "Cast" for node in graph.graph.node) == 4


def test_int8_quantizes_both_operands_of_each_layer(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    graph = engines.apply(int8, model)
    made, constants = producers(graph), {t.name: t for t in graph.graph.initializer}
    for layer in int8.layers:
        if layer.precision != "int8":
            continue
        node = nodes(graph)[layer.name]
        data, weight = made[node.input[0]], made[node.input[1]]
        assert data.op_type == weight.op_type == "DequantizeLinear"
        assert made[data.input[0]].op_type == "QuantizeLinear"
        integers = numpy_helper.to_array(constants[weight.input[0]])
        assert integers.dtype == np.int8
        assert integers.min() >= -127
        axis = 1 if node.op_type == "Gemm" else 0
        assert helper.get_node_attr_value(weight, "axis") == axis
        assert len(layer.weight_scales) == integers.shape[axis]
        assert not numpy_helper.to_array(constants[weight.input[2]]).any()  # no zero point


def test_a_gate_reads_and_gives_no_integers(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    graph = engines.apply(int8, model)
    for name in ("block/cbam/fc1", "block/cbam/conv7", "block/cbam/channel", "block/cbam"):
        assert all(
            producers(graph)[value].op_type != "DequantizeLinear"
            for value in nodes(graph)[name].input
            if value in producers(graph)
        )


def test_both_readers_of_a_residual_have_one_scale(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    graph = engines.apply(int8, model)
    assert nodes(graph)["block/add"].input[1] == nodes(graph)["block/conv1"].input[0] == "pool/dequantized"
    assert sum(node.op_type == "QuantizeLinear" for node in graph.graph.node) == 4


@pytest.mark.parametrize(("transpose", "axis"), [(False, 1), (True, 0)])
def test_gemm_weights_are_per_output_whichever_way_they_lie(transpose: bool, axis: int) -> None:
    g = Graph()
    g.gemm("x", "dense", 24, 16, transpose)
    graph = g.model({"x": ["batch", 24]}, ["dense"])
    x = {"x": np.random.default_rng(0).normal(size=(32, 24)).astype(np.float32)}
    recipe = engines.recipe(graph, calibration=x)
    applied = engines.apply(recipe, graph)
    weight = producers(applied)[nodes(applied)["dense"].input[1]]
    assert helper.get_node_attr_value(weight, "axis") == axis
    assert len(recipe.layers[0].weight_scales) == 16


def test_attention_transposed_convolutions_and_batched_weights_stay_high_with_a_reason() -> None:
    g = Graph()
    w = g.constant("w", g.random.normal(size=(4, 4, 2, 2)).astype(np.float32))
    x = g.node("ConvTranspose", ["x", w], "up", strides=[2, 2])
    q = g.node("Reshape", [x, g.constant("shape", np.array([0, 4, 64], np.int64))], "rows")
    k = g.node("Transpose", [q], "columns", perm=[0, 2, 1])
    s = g.node("MatMul", [q, k], "scores")
    batched = g.constant("batched", g.random.normal(size=(1, 4, 4)).astype(np.float32))
    g.node("MatMul", [s, batched], "mixed")
    graph = g.model({"x": ["batch", 4, 4, 4]}, ["mixed"])
    x = {"x": np.random.default_rng(0).normal(size=(8, 4, 4, 4)).astype(np.float32)}
    layers = {layer.name: layer for layer in engines.recipe(graph, calibration=x).layers}
    assert {layer.precision for layer in layers.values()} == {"fp16"}
    assert "ConvTranspose" in layers["up"].why
    assert "constant weight" in layers["scores"].why
    assert "batched" in layers["mixed"].why


def test_wrong_scales_are_refused_by_layer(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    short = dataclasses.replace(int8.layers[0], weight_scales=(0.1, 0.2))
    for target in ("tensorrt", "onnxruntime"):
        with pytest.raises(BuildError, match="layer stem/conv"):
            engines.apply(dataclasses.replace(int8, layers=(short, *int8.layers[1:])), model, target)
        with pytest.raises(BuildError, match="layer stem/conv"):
            engines.apply(dataclasses.replace(int8, activations=()), model, target)


def test_an_unknown_target_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match="onnxruntime"):
        engines.apply(engines.recipe(model, "fp32"), model, "tpu")


def test_onnxruntime_fuses_every_int8_layer_and_what_lies_between(
    model: onnx.ModelProto,
    int8: engines.Recipe,
    samples: dict[str, Array],
    run: Callable[..., dict[str, Array]],
    tmp_path: Path,
) -> None:
    graph = engines.apply(int8, model, "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert kinds["QLinearConv"] == 3
    assert kinds["QGemm"] == 1
    assert kinds["QLinearMul"] == 2
    assert kinds["QLinearAdd"] == 1
    assert kinds["Conv"] + kinds["FusedConv"] == 3  # the gates
    assert kinds["Relu"] == 0
    expected, found = run(model, samples)["logits"], run(graph, samples)["logits"]
    assert np.abs(found - expected).max() < 0.03 * np.abs(expected).max()


def test_an_fp16_recipe_costs_nothing_on_onnxruntime(model: onnx.ModelProto) -> None:
    graph = engines.apply(engines.recipe(model, "fp16"), model, "onnxruntime")
    assert "Cast" not in {node.op_type for node in graph.graph.node}


def test_an_operator_without_fp16_stays_in_fp32() -> None:
    """ONNX defines Range for FP32 but not for FP16."""
    g = Graph()
    limits = [g.constant(name, np.float32(value)) for name, value in (("start", 0), ("limit", 4), ("delta", 1))]
    y = g.node("Add", [g.gemm("x", "first", 4, 4), g.node("Range", limits, "positions")], "sum")
    graph = g.model({"x": ["batch", 4]}, [g.gemm(y, "last", 4, 4)])
    applied = engines.apply(engines.recipe(graph, "fp16"), graph)
    onnx.checker.check_model(applied, full_check=True)
    types = {v.name: v.type.tensor_type.elem_type for v in applied.graph.value_info}
    assert types["positions"] == TensorProto.FLOAT
    assert types["positions/f16"] == TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 0.0), (0.0, 1e-44), (-1e-44, 0.0), (-1e-38, 1e-38), (-1.0, 3.0), (2.0, 3.0)]
)
def test_every_range_has_a_scale_and_a_zero_point(low: float, high: float) -> None:
    kind = affine(low, high)
    assert np.isfinite(1 / kind.scale)
    assert min(low, 0) / kind.scale >= -float(kind.zero_point) - 0.5
    assert max(high, 0) / kind.scale <= 255 - float(kind.zero_point) + 0.5


def test_a_large_bias_beside_small_scales_is_not_clipped_on_onnxruntime(run: Callable[..., dict[str, Array]]) -> None:
    """At the scale input x weight (1.7e-8) INT32 ends at 37."""
    g = Graph()
    w = g.constant("w", (g.random.normal(size=(4, 16, 1, 1)) * 3e-3 + 0.01).astype(np.float32))
    b = g.constant("b", np.array([50, -50, 0, 1e-3], np.float32))
    g.node("Conv", ["x", w, b], "c")
    graph = g.model({"x": ["batch", 16, 2, 2]}, ["c"])
    x = {"x": (g.random.normal(size=(8, 16, 2, 2)) * 1e-2).astype(np.float32)}
    recipe = engines.recipe(graph, calibration=x)
    assert recipe.layers[0].precision == "int8"
    expected, found = run(graph, x)["c"], run(engines.apply(recipe, graph, "onnxruntime"), x)["c"]
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("shape", [(1, 16), (16,), (1,), (1, 1), (), (5, 1), (5, 16)])
def test_a_gemm_bias_of_any_shape_is_taken_on_onnxruntime(
    shape: tuple[int, ...], run: Callable[..., dict[str, Array]]
) -> None:
    g = Graph()
    w = g.constant("w", g.random.normal(size=(24, 16)).astype(np.float32))
    b = g.constant("b", g.random.normal(size=shape).astype(np.float32))
    g.node("Gemm", ["x", w, b], "dense")
    graph = g.model({"x": [5, 24]}, ["dense"])
    x = {"x": g.random.normal(size=(5, 24)).astype(np.float32)}
    recipe = engines.recipe(graph, calibration=x)
    assert recipe.layers[0].precision == "int8"
    applied = engines.apply(recipe, graph, "onnxruntime")
    onnx.checker.check_model(applied, full_check=True)
    assert np.abs(run(applied, x)["dense"] - run(graph, x)["dense"]).max() < 0.2


def test_a_bias_that_is_computed_needs_no_range_and_stays_floating(run: Callable[..., dict[str, Array]]) -> None:
    g = Graph()
    w = g.constant("w", g.random.normal(size=(24, 16)).astype(np.float32) / 2)
    g.node("Gemm", ["x", w, g.node("Relu", ["b"], "relu")], "dense")
    graph = g.model({"x": [5, 24], "b": [5, 16]}, ["dense"])
    x = {name: g.random.normal(size=(5, n)).astype(np.float32) for name, n in (("x", 24), ("b", 16))}
    recipe = engines.recipe(graph, calibration=x)
    assert recipe.layers[0].precision == "int8"
    alone = dataclasses.replace(recipe, activations=tuple(a for a in recipe.activations if a.value == "x"))
    applied = engines.apply(alone, graph, "onnxruntime")
    assert producers(applied)[nodes(applied)["dense"].input[2]].op_type == "Relu"
    assert np.abs(run(applied, x)["dense"] - run(graph, x)["dense"]).max() < 0.1


def test_layers_inside_the_graphs_own_functions_are_in_the_recipe() -> None:
    g = Graph()
    w = g.constant("w", g.random.normal(size=(16, 16, 1, 1)).astype(np.float32))
    g.nodes.append(helper.make_node("Block", ["x", w], ["y"], name="block", domain="own"))
    opset = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    body = [helper.make_node("Conv", ["a", "k"], ["c"], name="conv"), helper.make_node("Relu", ["c"], ["b"], name="r")]
    function = helper.make_function("own", "Block", ["a", "k"], ["b"], body, opset[:1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 16, 2, 2]) for name in "xy"]
    graph = helper.make_graph(g.nodes, "model", ends[:1], ends[1:], g.constants)
    model = helper.make_model(graph, opset_imports=opset, ir_version=10, functions=[function])
    recipe = engines.recipe(model, calibration={"x": g.random.normal(size=(8, 16, 2, 2)).astype(np.float32)})
    assert [layer.precision for layer in recipe.layers] == ["int8"]
    applied = engines.apply(recipe, model)
    onnx.checker.check_model(applied, full_check=True)
    assert [node.op_type for node in applied.graph.node].count("DequantizeLinear") == 2
