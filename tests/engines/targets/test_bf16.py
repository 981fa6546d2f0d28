"""BF16: FP32's range with 8 bits of significand; simulated by roundings, built for real, refused where it cannot be."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.manifest import Profile
from deploy.npz import Array
from engines.build.options import precisions
from engines.graphs import load
from engines.recipe import Recipe
from engines.simulate import first_overflow
from engines.targets.base import find
from tests.engines.graphs import Graph
from tests.engines.test_simulate import overflowing

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")


def test_canary_each_result_is_rounded_once_to_even() -> None:
    """Ties, the largest number, and what FP16 loses: 1e5 and 1e-30 are ordinary numbers in BF16."""
    g = Graph()
    g.node("Mul", ["x", g.constant("one", np.float32(1))], "y")
    model = g.model({"x": ["batch"]}, ["y"])
    x = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, 1e5, 1e-30, 3.3895314e38, np.pi], np.float32)
    found = engines.simulate(engines.recipe(model, "bf16"), model, {"x": x})["y"]
    assert np.array_equal(found, x.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert found[:3].tolist() == [1, 1 + 2.0**-6, 1 + 2.0**-7]


def test_what_overflows_in_fp16_does_not_in_bf16() -> None:
    model, x = overflowing()
    recipe = engines.recipe(model, "bf16")
    assert {layer.precision for layer in recipe.layers} == {"bf16"}
    assert engines.simulate(recipe, model, x)["small"] == pytest.approx(9.6, rel=2**-7)
    assert first_overflow(recipe, model, x) == ""


def test_the_typed_graph_is_valid_and_has_a_cast_at_either_end(model: onnx.ModelProto) -> None:
    typed = engines.apply(engines.recipe(model, "bf16"), model)
    onnx.checker.check_model(typed, full_check=True)
    assert typed.opset_import[0].version == 22
    assert sum(node.op_type == "Cast" for node in typed.graph.node) == 2
    weights = {tensor.name: tensor.data_type for tensor in typed.graph.initializer}
    assert weights["stem/conv/w/bf16"] == onnx.TensorProto.BFLOAT16


def test_it_errs_eight_times_as_much_as_fp16(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    exact = engines.simulate(engines.recipe(model, "fp32"), model, samples)["logits"]
    errors = {
        precision: np.sqrt(np.mean((engines.simulate(recipe, model, samples)["logits"] - exact) ** 2))
        for precision in ("fp16", "bf16")
        for recipe in [engines.recipe(model, precision)]
    }
    assert 4 < errors["bf16"] / errors["fp16"] < 16


@rtx
def test_every_layer_is_lowered_as_bf16_and_turing_is_left_out(model: onnx.ModelProto) -> None:
    built = find("tensorrt-rtx").build(load(model), engines.recipe(model, "bf16"), Profile())
    assert [layer.found for layer in built.layers] == ["bf16"] * 7
    assert built.details["notes"] == ["not for SM75: Turing has no BF16"]
    assert built.details["compute_capabilities"] == ["SM80", "SM86", "SM89", "SM120", "SM121"]


@rtx
def test_bf16_beside_other_precisions(model: onnx.ModelProto, int8: Recipe, samples: dict[str, Array]) -> None:
    """A single BF16 layer in an FP16 graph, and INT8 over BF16."""
    fp16 = engines.recipe(model, "fp16")
    layers = (dataclasses.replace(one, precision="bf16") if one.name == "logits" else one for one in fp16.layers)
    mixed = dataclasses.replace(fp16, layers=tuple(layers))
    higher = (dataclasses.replace(one, precision="bf16") if one.precision == "fp16" else one for one in int8.layers)
    over = dataclasses.replace(int8, base="bf16", layers=tuple(higher))
    for recipe in (mixed, over):
        built = find("tensorrt-rtx").build(load(model), recipe, Profile())
        assert {one.name: one.found for one in built.layers} == {one.name: one.precision for one in recipe.layers}
        assert np.isfinite(engines.simulate(recipe, model, samples)["logits"]).all()


@rtx
def test_a_transposed_convolution() -> None:
    """TensorRT-RTX has none on BF16 operands, and leaves one with a single output channel in FP32."""
    g = Graph()
    x = "x"
    for name, shape in (("up1", (16, 12, 3, 3)), ("up2", (12, 8, 4, 4)), ("up3", (8, 1, 3, 3))):
        w, b = np.ones(shape, np.float32) / 50, np.ones(shape[1], np.float32)
        x = g.node("ConvTranspose", [x, g.constant(f"{name}/w", w), g.constant(f"{name}/b", b)], name, strides=[2, 2])
        x = g.node("Sigmoid", [x], f"{name}/gate") if name == "up3" else x
    graph = g.model({"x": ["batch", 16, 6, 6]}, [x])
    built = find("tensorrt-rtx").build(load(graph), engines.recipe(graph, "bf16"), Profile())
    assert {layer.name: layer.found for layer in built.layers} == {"up1": "bf16", "up2": "bf16", "up3": "fp32"}
    assert built.details["notes"][0].startswith("up3 computes in fp32: raised from bf16")


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_a_gru_is_a_scan_of_the_same_arithmetic(after: int, direction: str) -> None:
    """Both results, from a state that is given, of one GRU behind another that has neither a bias nor a state."""
    graph = _recurrent(direction, after)
    inputs = {
        "x": np.random.default_rng(1).normal(size=(7, 4, 5)).astype(np.float32),
        "state": np.random.default_rng(2).normal(size=(1, 4, 6)).astype(np.float32),
    }
    exact = engines.simulate(engines.recipe(graph, "fp32"), graph, inputs)
    recipe = engines.recipe(graph, "bf16")
    typed = engines.apply(recipe, graph)
    onnx.checker.check_model(typed, full_check=True)
    assert [node.op_type for node in typed.graph.node if node.name in ("first", "second")] == ["Scan", "Scan"]
    found = engines.simulate(recipe, graph, inputs)
    for name, expected in exact.items():
        assert found[name] == pytest.approx(expected, abs=0.02)
        assert np.abs(found[name] - expected).max() > 0


def _recurrent(direction: str, after: int) -> onnx.ModelProto:
    g = Graph()
    given = {"direction": direction, "hidden_size": 6, "linear_before_reset": after}
    weights = [
        g.constant(f"{name}/{kind}", (g.random.normal(size=(1, *shape)) / 2).astype(np.float32))
        for name, size in (("first", 5), ("second", 6))
        for kind, shape in (("w", (18, size)), ("r", (18, 6)), ("b", (36,)))
    ]
    one = g.constant("one", np.asarray([1], np.int64))
    y = g.node("Squeeze", [g.node("GRU", ["x", *weights[:2]], "first", **given), one], "squeezed")
    g.nodes.append(onnx.helper.make_node("GRU", [y, *weights[3:], "", "state"], ["all", "last"], "second", **given))
    return g.model({"x": [7, "batch", 5], "state": [1, "batch", 6]}, ["all", "last"])


@rtx
def test_what_the_parser_does_not_take_in_bf16() -> None:
    """A GRU is spelled as a Scan; all of an operator (HardSwish) are raised at once."""
    g = Graph()
    x = g.node("Transpose", ["x"], "time_first", perm=[1, 0, 2])
    weights = [g.constant(f"gru/{n}", np.ones(s, np.float32) / 9) for n, s in (("w", (1, 48, 8)), ("r", (1, 48, 16)))]
    g.nodes.append(onnx.helper.make_node("GRU", [x, *weights], ["", "last"], "gru", hidden_size=16))
    x = g.node("HardSwish", [g.node("HardSwish", ["last"], "swish")], "swish2")
    graph = g.model({"x": ["batch", 5, 8]}, [x])
    built = find("tensorrt-rtx").build(load(graph), engines.recipe(graph, "bf16"), Profile())
    assert {layer.found for layer in built.layers} == {"bf16"}
    assert {layer.name for layer in built.recipe.layers} == {"swish", "swish2"}
    assert built.details["notes"][0].startswith("swish, swish2 compute in fp32: raised from bf16, for which the")


@rtx
def test_a_bundle(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    bundle = engines.build(model, tmp_path / "b", "bf16", "tensorrt-rtx", sample=samples, quiet=True)
    assert bundle.manifest.find("engine", "bf16")
    assert 1e-4 < bundle.manifest.simulated["bf16"]["logits"]["relative"] < 8e-2


def test_onnxruntime_does_not_compute_in_it() -> None:
    with pytest.raises(BuildError, match="onnxruntime does not compute in bf16"):
        precisions("bf16", find("onnxruntime"))
