"""Ranges by the error behind the layers that read a value."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import engines
from deploy.npz import Array
from engines.calibration.collect import collect
from engines.calibration.consumers import least_errors, output_errors
from engines.calibration.estimators import mse
from engines.graphs import load
from tests.engines.graphs import Graph


def laplace(count: int = 256, size: int = 16, outlier: float = 0.0) -> dict[str, Array]:
    """Samples with one element far off, of one sign, in every other sample."""
    x = np.random.default_rng(2).laplace(size=(count, size)).astype(np.float32)
    if outlier:
        x[::2, 0] = outlier
    return {"x": x}


def one_layer(weights: Array, activation: str = "") -> onnx.ModelProto:
    """A Gemm of x without a bias to speak of, and what may be behind it."""
    g = Graph()
    bias = np.zeros(weights.shape[1], np.float32)
    g.node("Gemm", ["x", g.constant("w", weights), g.constant("b", bias)], "y")
    if activation:
        g.node(activation, ["y"], "z")
    return g.model({"x": ["batch", weights.shape[0]]}, ["z" if activation else "y"])


def chosen(model: onnx.ModelProto, samples: dict[str, Array], value: str = "x") -> float:
    """The range that the value gets, as a part of all that was seen of it."""
    ranges = collect(model, samples)
    recipe = engines.recipe(model, "int8", ranges, calibration_method="minmax")
    found = least_errors(load(model), recipe, ranges, [value], dict(ranges.replay))
    return found[value] / ranges.amax(value)


def test_errors_are_those_of_the_layer_computed_by_hand() -> None:
    random = np.random.default_rng(0)
    weights = random.normal(size=(16, 24)).astype(np.float32)
    model, samples = one_layer(weights, "Relu"), laplace(64)
    ranges = collect(model, samples)
    recipe = engines.recipe(model, "int8", ranges, calibration_method="minmax")
    tried = np.array([1.0, 0.6, 0.2]) * ranges.amax("x")
    found = output_errors(load(model), recipe, samples, {"x": tried})["x"]
    steps = np.abs(weights).max(axis=0) / 127
    held = np.rint(weights / steps) * steps
    exact = np.maximum(samples["x"] @ weights, 0)
    for amax, error in zip(tried, found, strict=True):
        step = amax / 127
        x = np.clip(np.rint(samples["x"] / step), -127, 127) * step  # the least of INT8, -128, is next to -127
        noise = np.square(np.maximum(x @ held, 0) - exact).sum() / np.square(exact).sum()
        assert error == pytest.approx(noise, rel=0.05)


def test_what_the_weights_hardly_read_is_clipped() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    samples = laplace(outlier=100)
    assert chosen(one_layer(weights), samples) > 0.9
    weights[0] *= 1e-3
    assert chosen(one_layer(weights), samples) < 0.2
    assert mse(collect(one_layer(weights), samples).histograms["x"]) > 0.9 * 100  # the values' own error says keep it


def test_what_a_relu_cuts_off_costs_nothing() -> None:
    weights = np.abs(np.random.default_rng(0).normal(size=(16, 24))).astype(np.float32)
    weights[0] = 2
    samples = laplace(outlier=-100)  # then every sum is below 0
    assert chosen(one_layer(weights), samples) > 0.9
    assert chosen(one_layer(weights, "Relu"), samples) < 0.3


@pytest.mark.parametrize("residual", [False, True])
def test_an_addition_that_reads_the_value_counts_too(residual: bool) -> None:
    g = Graph()
    weights = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    weights[0] *= 1e-3
    g.node("Relu", ["x"], "relu")
    g.node("Gemm", ["relu", g.constant("w", weights), g.constant("b", np.zeros(16, np.float32))], "y")
    if residual:
        g.node("Add", ["relu", "y"], "sum")
    model = g.model({"x": ["batch", 16]}, ["sum" if residual else "y"])
    part = chosen(model, laplace(outlier=100), "relu")
    assert part > 0.9 if residual else part < 0.2


def test_of_ranges_that_err_alike_the_largest_is_taken() -> None:
    weights = np.random.default_rng(0).normal(size=(16, 24)).astype(np.float32)
    constant = {"x": np.full((16, 16), 3.0, np.float32)}
    assert chosen(one_layer(weights), constant) == 1
    zeros = {"x": np.zeros((16, 16), np.float32)}
    ranges = collect(one_layer(weights), zeros)
    recipe = engines.recipe(one_layer(weights), "int8", ranges, calibration_method="minmax")
    assert least_errors(load(one_layer(weights)), recipe, ranges, ["x"], zeros) == {"x": 0}


def test_a_fixed_batch_and_few_samples_are_taken_as_they_are() -> None:
    g = Graph()
    g.gemm("x", "y", 16, 24)
    model = g.model({"x": [8, 16]}, ["y"])
    recipe = engines.recipe(model, "int8", laplace(21), calibration_method="output")
    assert recipe.calibration["method"] == "output"
    assert {layer.precision for layer in recipe.layers} == {"int8"}


def test_the_method_is_followed_and_recorded(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    recipe = engines.recipe(model, "int8", samples, calibration_method="output")
    by_value = {activation.value: activation for activation in recipe.activations}
    clipped = [a for a in by_value.values() if a.estimator == "output"]
    assert clipped
    for activation in by_value.values():
        seen = max(-activation.minimum, activation.maximum)
        assert (activation.scale * 127 < seen * (1 - 1e-6)) == (activation.estimator == "output")
    why = next(layer.why for layer in recipe.layers if layer.input == clipped[0].value)
    assert "(output; seen up to" in why


def test_fp8_keeps_what_was_seen(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    by_output = engines.recipe(model, "fp8", samples, calibration_method="output")
    assert by_output == engines.recipe(model, "fp8", samples, calibration_method="minmax")
