"""Canaries: the simulation shows what the hardware does; ONNX Runtime's own FP16 must not be mistaken for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def test_canary_no_optimizer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ONNX Runtime executes is the simulated graph node by node: nothing is fused, moved or dropped."""
    model, x = overflowing()
    levels: list[Any] = []
    real = onnxruntime.InferenceSession

    def spy(graph: bytes, options: Any, **rest: Any) -> Any:
        levels.append(options.graph_optimization_level)
        return real(graph, options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spy)
    engines.simulate(engines.recipe(model, "fp16"), model, x)
    assert levels == [onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL]


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
    w = g.random.normal(size=(6, 4)).astype(np.float32)
    g.node("MatMul", ["x", g.constant("w", w)], "y")
    graph = g.model({"x": ["batch", 6]}, ["y"])
    x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
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
