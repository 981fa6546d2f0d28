"""FP8 (E4M3): products of 4-bit significands, placed like INT8; judged by the simulation, built for Ada and newer."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.gpu import Gpu
from deploy.manifest import Profile
from deploy.npz import Array
from engines.graphs import load
from engines.recipe import PRECISIONS, Recipe
from engines.targets import tensorrt
from engines.targets.base import find
from tests.engines.graphs import Graph

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
GATES = {"block/cbam/fc1", "block/cbam/fc2", "block/cbam/conv7"}


@pytest.fixture(scope="module")
def fp8(model: onnx.ModelProto, samples: dict[str, Array]) -> Recipe:
    return engines.recipe(model, "fp8", calibration=samples)


def narrow(array: Any, scale: Any) -> Array:
    integers = np.clip(np.asarray(array, np.float32) / scale, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return np.asarray(integers.astype(np.float32) * scale, np.float32)


def test_canary_it_equals_e4m3_arithmetic() -> None:
    g = Graph()
    w = g.random.normal(size=(24, 16)).astype(np.float32)
    g.node("MatMul", ["x", g.constant("w", w)], "y")
    graph = g.model({"x": ["batch", 24]}, ["y"])
    x = np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32)
    recipe = engines.recipe(graph, "fp8", calibration={"x": x})
    scales = [np.float32(np.float16(s)) for s in (recipe.activations[0].scale, *recipe.layers[0].weight_scales)]
    assert scales == pytest.approx([np.abs(x).max() / 448, np.abs(w).max() / 448], rel=1e-3)
    beyond = x * 3  # what calibration has not seen is clipped to the range
    expected = narrow(beyond.astype(np.float16), scales[0]) @ narrow(w, scales[1])
    found = engines.simulate(recipe, graph, {"x": beyond})["y"]
    np.testing.assert_array_max_ulp(found.astype(np.float16), expected.astype(np.float16), 1)


def test_small_numbers_need_no_higher_precision() -> None:
    """A scale of FP16's smallest normal number serves any tensor below 0.027: E4M3 is floating."""
    g = Graph()
    w = (g.random.normal(size=(64, 16)) * 1e-3).astype(np.float32)
    g.node("MatMul", ["x", g.constant("w", w)], "y")
    graph = g.model({"x": ["batch", 64]}, ["y"])
    x = np.random.default_rng(1).normal(size=(16, 64)).astype(np.float32)
    recipe = engines.recipe(graph, "fp8", calibration={"x": x})
    assert [layer.precision for layer in recipe.layers] == ["fp8"]
    assert recipe.layers[0].weight_scales == (pytest.approx(2.0**-14),)
    found = engines.simulate(recipe, graph, {"x": x})["y"]
    assert np.abs(found - x @ w).max() < 0.1 * np.abs(x @ w).max()


def test_the_placement(model: onnx.ModelProto, fp8: Recipe) -> None:
    typed = engines.apply(fp8, model)
    onnx.checker.check_model(typed, full_check=True)
    tensors = {tensor.name: tensor for tensor in typed.graph.initializer}
    dequantizers = {node.output[0]: node for node in typed.graph.node if node.op_type == "DequantizeLinear"}
    for node in typed.graph.node:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        operands = [dequantizers.get(name) for name in node.input[:2]]
        assert [one is None for one in operands] == [node.name in GATES] * 2
        for one in filter(None, operands):
            assert tensors[one.input[1]].dims == []
            assert tensors[one.input[2]].data_type == onnx.TensorProto.FLOAT8E4M3FN
            assert not one.attribute
    added = next(node for node in typed.graph.node if node.name == "block/add")
    assert not set(added.input) & set(dequantizers), "the residual branch keeps FP16"


def test_it_is_as_near_as_eight_bits_are(model: onnx.ModelProto, samples: dict[str, Array], fp8: Recipe) -> None:
    exact = engines.simulate(engines.recipe(model, "fp32"), model, samples)["logits"]
    found = engines.simulate(fp8, model, samples)["logits"]
    assert 1e-3 < np.abs(found - exact).max() / np.abs(exact).max() < 0.15
    assert np.mean(found.argmax(axis=1) == exact.argmax(axis=1)) > 0.9


@rtx
@pytest.mark.parametrize("base", ["fp16", "bf16", "fp32"])
def test_every_layer_is_lowered_as_asked(model: onnx.ModelProto, fp8: Recipe, base: str) -> None:
    layers = tuple(dataclasses.replace(one, precision=base) if one.precision == "fp16" else one for one in fp8.layers)
    recipe = dataclasses.replace(fp8, base=base, layers=layers)
    built = find("tensorrt-rtx").build(load(model), recipe, Profile())
    found = {layer.name: layer.found for layer in built.layers}
    assert found == {name: base if name in GATES else "fp8" for name in found}
    assert built.details["compute_capabilities"] == ["SM89", "SM120", "SM121"]
    assert "not for SM75, SM80, SM86: FP8 begins with Ada" in built.details["notes"]


@rtx
def test_a_bundle(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    bundle = engines.build(model, tmp_path / "b", "fp8", "tensorrt-rtx", calibration=samples, quiet=True)
    engine = bundle.manifest.find("engine", "fp8")
    assert engine is not None
    assert engine.details["layers"] == {"fp16": 3, "fp8": 4}
    assert bundle.manifest.simulated["fp8"]["logits"]["sqnr_db"] > 15


def test_what_cannot_be_is_refused(model: onnx.ModelProto, fp8: Recipe, int8: Recipe) -> None:
    with pytest.raises(BuildError, match="no FP8 kernels"):
        engines.apply(fp8, model, "onnxruntime")
    with pytest.raises(BuildError, match="FP8 needs calibration data"):
        engines.recipe(model, "fp8")
    mixed = dataclasses.replace(fp8, layers=(int8.layers[0], *fp8.layers[1:]))
    with pytest.raises(BuildError, match="for INT8 or for FP8, not for both"):
        engines.apply(mixed, model)
    wrong = dataclasses.replace(fp8.layers[0], weight_scales=(1.0, 1.0))
    with pytest.raises(BuildError, match="wrong number of weight scales"):
        engines.apply(dataclasses.replace(fp8, layers=(wrong, *fp8.layers[1:])), model)


@pytest.mark.parametrize(
    ("capability", "missing"), [((7, 5), {"bf16", "fp8"}), ((8, 6), {"fp8"}), ((8, 9), set()), ((12, 0), set())]
)
def test_tensorrt_computes_in_what_the_gpu_has(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], missing: set[str]
) -> None:
    monkeypatch.setattr(tensorrt, "gpus", lambda: (Gpu("A", (12, 0)), Gpu("B", capability)))
    assert set(PRECISIONS) - set(tensorrt.TensorRT().precisions) == missing
