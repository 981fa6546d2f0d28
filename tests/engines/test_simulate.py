"""Canaries: the simulation shows what the hardware does; ONNX Runtime's own FP16 must not be mistaken for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest

import engines
from deploy.errors import InputError
from deploy.npz import Array
from engines import sessions
from engines.apply import applied
from engines.simulate import first_overflow
from tests.engines.graphs import Graph
from tests.engines.targets.test_fp8 import narrow


def overflowing() -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A convolution that reaches 96,000, scaled back to 9.6 by the next layer."""
    g = Graph()
    w = g.constant("w", np.full((1, 4, 1, 1), 24000, np.float32))
    g.node("Mul", [g.node("Conv", ["x", w], "big"), g.constant("s", np.float32(1e-4))], "small")
    return g.model({"x": ["batch", 4, 2, 2]}, ["small"]), {"x": np.ones((1, 4, 2, 2), np.float32)}


def test_canary_fp16_overflows_to_infinity() -> None:
    model, x = overflowing()
    assert np.isposinf(engines.simulate(engines.recipe(model, "fp16"), model, x)["small"]).all()
    assert first_overflow(engines.recipe(model, "fp16"), model, x).startswith("big")


@pytest.mark.parametrize("optimize", [False, True])
def test_canary_the_typed_graph_hides_the_overflow_on_onnxruntime(optimize: bool) -> None:
    """Why there is a simulation at all: the same recipe, run as an FP16 graph on the CPU, computes in FP32."""
    model, x = overflowing()
    typed = applied(engines.recipe(model, "fp16"), model, "tensorrt")
    (found,) = sessions.session(typed, optimize=optimize).run(None, x)
    assert found == pytest.approx(9.6, rel=1e-3)


class Canary(NamedTuple):
    """A graph under a recipe whose outputs an optimizer of ONNX Runtime gets wrong."""

    model: onnx.ModelProto
    recipe: engines.Recipe
    inputs: dict[str, Array]
    expected: Array

    def simulated(self) -> Array:
        (found,) = engines.simulate(self.recipe, self.model, self.inputs).values()
        return found


def rounding(kind: type[np.generic], precision: str) -> Canary:
    """Sums from 48,000 to 96,000, exact in FP32 in any order; some are beyond FP16, nearly all are inexact in BF16."""
    model, _ = overflowing()
    x = np.random.default_rng(0).uniform(0.5, 1, size=(16, 4, 2, 2)).astype(np.float32)

    def rounded(array: Any) -> Array:
        with np.errstate(over="ignore"):
            return np.asarray(array, np.float32).astype(kind).astype(np.float32)

    big = rounded((rounded(x) * rounded(24000)).sum(axis=1, keepdims=True))
    return Canary(model, engines.recipe(model, precision), {"x": x}, rounded(big * rounded(1e-4)))


def fp16_overflow() -> Canary:
    return rounding(np.float16, "fp16")


def bf16_rounding() -> Canary:
    return rounding(ml_dtypes.bfloat16, "bf16")


def fp8_relu() -> Canary:
    """A Relu before an FP8 quantizer, which ONNX Runtime deletes as it may before a uint8 one."""
    g = Graph()
    relu = g.node("Relu", ["x"], "relu")
    g.node("MatMul", [relu, g.constant("w", -np.eye(16, dtype=np.float32))], "y")
    model = g.model({"x": ["batch", 16]}, ["y"])
    x = np.tile(np.array([[-3, -1, 0, 2], [0.3, -0.7, 1.1, -2]], np.float32), 4)
    recipe = engines.recipe(model, "fp8", calibration={"x": x})
    scale = np.float32(np.float16(next(one.scale for one in recipe.activations if one.value == "relu")))
    weight = np.float32(np.float16(recipe.layers[0].weight_scales[0]))
    cut = np.maximum(x.astype(np.float16), 0)
    product = narrow(cut, scale) @ narrow(-np.eye(16), weight)
    return Canary(model, recipe, {"x": x}, product.astype(np.float16).astype(np.float32))


def int8_bias() -> Canary:
    """Scales of 2^-14, over FP32: ONNX Runtime makes the bias int32 in steps of 2^-28, where 8 is one too many."""
    g = Graph()
    eye, bias = np.eye(16, dtype=np.float32).reshape(16, 16, 1, 1), np.array([20, 12, 9, 16] * 4, np.float32)
    amax = np.float32(127 * 2.0**-14)
    w, b, w2 = g.constant("w", eye * amax), g.constant("b", bias), g.constant("w2", eye)
    relu = g.node("Relu", [g.node("Conv", ["x", w, b], "first")], "relu")
    g.node("Conv", [relu, w2], "y")
    model = g.model({"x": ["batch", 16, 2, 2]}, ["y"])
    x = np.linspace(-amax, amax, 256, dtype=np.float32).reshape(4, 16, 2, 2)
    recipe = dataclasses.replace(engines.recipe(model, calibration={"x": x}), base="fp32")
    assert [layer.precision for layer in recipe.layers] == ["int8", "int8"]
    scales = {one.value: np.float32(one.scale) for one in recipe.activations}

    def grid(array: Array, step: Any) -> Array:
        return np.clip(np.rint(array / step), -128, 127).astype(np.float32) * np.float32(step)

    first = grid(x, scales["x"]) * amax + bias.reshape(1, 16, 1, 1)
    one = np.float32(127) * np.float32(recipe.layers[1].weight_scales[0])
    return Canary(model, recipe, {"x": x}, grid(np.maximum(first, 0), scales["relu"]) * one)


CANARIES = [fp16_overflow, bf16_rounding, fp8_relu, int8_bias]
CASTS = "optimization.enable_cast_chain_elimination"
"""Takes pairs of Casts out, with what they round; off at every level of ONNX Runtime 1.32 unless asked for."""


def spied(monkeypatch: pytest.MonkeyPatch, optimize: bool, change: Callable[[Any], None]) -> None:
    """Has `engines.simulate` make its sessions with the optimizer on or off, and with options changed."""
    session, inference = sessions.session, onnxruntime.InferenceSession

    def changed(graph: bytes, options: Any, **rest: Any) -> Any:
        change(options)
        return inference(graph, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", changed)
    if optimize:
        monkeypatch.setattr(sessions, "session", lambda model, optimize: session(model, optimize=True))


@pytest.mark.parametrize("canary", CANARIES)
def test_canary_the_simulation_equals_numpy_exactly(canary: Callable[[], Canary]) -> None:
    one = canary()
    np.testing.assert_array_equal(one.simulated(), one.expected)


@pytest.mark.parametrize(("canary", "option"), zip(CANARIES, [CASTS, CASTS, "", ""], strict=True))
def test_canary_fails_if_the_optimizer_is_on(
    canary: Callable[[], Canary], option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the canaries can fail. What is wrong is so by more than one rounding to BF16, of the largest output."""
    one = canary()
    spied(monkeypatch, True, lambda options: option and options.add_session_config_entry(option, "1"))
    found = one.simulated()
    wrong = found != one.expected
    assert wrong.any()
    assert np.abs(found[wrong] - one.expected[wrong]).max() > 2.0**-9 * np.abs(found[wrong]).max()


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("canary", CANARIES)
def test_canary_what_runs_is_the_graph_node_by_node(
    canary: Callable[[], Canary], optimize: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ONNX Runtime writes down the graph it runs: nothing is fused, moved or dropped, unless the optimizer is on."""
    one, path = canary(), tmp_path / "runs.onnx"
    spied(monkeypatch, optimize, lambda options: setattr(options, "optimized_model_filepath", str(path)))
    one.simulated()
    written, run = (
        [(node.op_type, list(node.input), list(node.output)) for node in graph.graph.node]
        for graph in (engines.apply(one.recipe, one.model, "simulate"), onnx.load(path))
    )
    assert (run != written) if optimize else (run == written)


def test_canary_small_values_become_zero() -> None:
    g = Graph()
    g.node("Mul", ["x", g.constant("one", np.float32(1))], "y")
    model = g.model({"x": ["batch"]}, ["y"])
    smallest = np.float32(2.0**-24)
    x = np.array([smallest, smallest / 4, 65504, 65519, 65520, 1 + 2.0**-12], np.float32)
    found = engines.simulate(engines.recipe(model, "fp16"), model, {"x": x})["y"]
    assert found.tolist() == [smallest, 0, 65504, 65504, np.inf, 1]


def test_each_result_is_rounded_once_as_numpy_does(model: onnx.ModelProto) -> None:
    g = Graph()
    w = g.constant("w", np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32))
    g.node("Sigmoid", [g.node("MatMul", ["x", w], "product")], "y")
    graph = g.model({"x": ["batch", 6]}, ["y"])
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    half = np.float16
    weights = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32).astype(half).astype(np.float32)
    product = (x.astype(half).astype(np.float32) @ weights).astype(half).astype(np.float32)
    expected = (1 / (1 + np.exp(-product))).astype(half).astype(np.float32)
    found = engines.simulate(engines.recipe(graph, "fp16"), graph, {"x": x})["y"]
    np.testing.assert_array_max_ulp(found.astype(half), expected.astype(half), 1)
    assert np.array_equal(found, found.astype(half).astype(np.float32))


def test_int8_equals_integer_arithmetic() -> None:
    g = Graph()
    w = g.random.normal(size=(24, 16)).astype(np.float32)
    g.node("MatMul", ["x", g.constant("w", w)], "y")
    graph = g.model({"x": ["batch", 24]}, ["y"])
    x = np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32)
    recipe = engines.recipe(graph, calibration={"x": x})
    scale = np.float32(np.float16(recipe.activations[0].scale))
    scales = np.asarray(recipe.layers[0].weight_scales, np.float16).astype(np.float32)
    rounded = x.astype(np.float16).astype(np.float32)
    integers = np.clip(np.rint(rounded / scale), -128, 127).astype(np.int64)
    weights = np.clip(np.rint(w / scales), -127, 127).astype(np.int64)
    expected = ((integers @ weights) * (scale.astype(np.float64) * scales)).astype(np.float16)
    found = engines.simulate(recipe, graph, {"x": x})["y"]
    np.testing.assert_array_max_ulp(found.astype(np.float16), expected, 1)


def test_precisions_rank_as_they_should(
    model: onnx.ModelProto, samples: dict[str, Array], run: Callable[..., dict[str, Array]]
) -> None:
    expected = run(model, samples)["logits"]
    scale = np.abs(expected).max()
    errors = {
        precision: np.abs(engines.simulate(recipe, model, samples)["logits"] - expected).max() / scale
        for precision in ("fp32", "fp16", "int8")
        for recipe in [engines.recipe(model, precision, calibration=samples)]
    }
    assert errors["fp32"] < 1e-5 < errors["fp16"] < 3e-3 < errors["int8"] < 5e-2


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "names are not those"),
        ({"img": np.zeros((1, 12, 12, 3), np.float32)}, "names are not those"),
        ({"image": np.zeros((1, 3, 12, 12), np.float32)}, "wrong size"),
        ({"image": np.zeros((1, 12, 12, 3), np.uint8)}, "dtype is wrong"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    model: onnx.ModelProto, int8: engines.Recipe, inputs: dict[str, Array], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        engines.simulate(int8, model, inputs)
