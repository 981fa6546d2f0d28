"""Estimators of a range, and the choice between them."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engines
from deploy.errors import BuildError, InputError
from deploy.npz import Array
from engines.calibration.choice import better, least
from engines.calibration.collect import collect
from engines.calibration.estimators import ESTIMATORS, METHODS, entropy, mse, percentile
from engines.calibration.histogram import BINS, Histogram
from engines.calibration.ranges import Reservoir
from tests.engines.graphs import Graph


def histogram(*arrays: Array) -> Histogram:
    result = Histogram()
    for array in arrays:
        result.update(array, float(array.min()), float(array.max()))
    return result


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), min_size=1, max_size=4))
def test_counts_do_not_depend_on_the_order_of_batches(batches: list[list[float]]) -> None:
    arrays = [np.asarray(batch, np.float32) for batch in batches]
    found = [histogram(*order) for order in itertools.islice(itertools.permutations(arrays), 6)]
    whole = np.concatenate(arrays)
    for one in found:
        assert one.counts.sum() == whole.size
        assert one.amax == np.abs(whole).max()
        assert np.array_equal(one.counts, found[0].counts)
        assert one.counts.size == BINS


def test_a_percentile_is_that_of_numpy_to_a_bin() -> None:
    x = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    found = histogram(x[:1000] / 100, x)
    for percent in (99.0, 99.9, 99.99):
        assert percentile(found, percent) == pytest.approx(np.percentile(np.abs(x), percent), abs=2 * found.width)


def test_mse_finds_the_range_of_least_error() -> None:
    x = np.random.default_rng(0).laplace(size=200_000).astype(np.float32)
    found = histogram(x)

    def error(amax: float) -> float:
        step = amax / 127
        return float(np.mean((np.clip(np.rint(x / step), -127, 127) * step - x) ** 2))

    best = min(error(amax) for amax in np.linspace(0.2, 1, 200) * found.amax)
    assert error(mse(found)) < 1.03 * best < error(found.amax)


def test_entropy_and_mse_clip_a_lonely_outlier_and_keep_a_uniform_range() -> None:
    random = np.random.default_rng(0)
    body = random.normal(size=100_000).astype(np.float32)
    outlier = histogram(body, np.asarray([60.0], np.float32))
    for estimator in (entropy, mse):
        assert estimator(outlier) < 0.8 * outlier.amax
        flat = histogram(random.uniform(-1, 1, 100_000).astype(np.float32))
        assert estimator(flat) > 0.9


@pytest.mark.parametrize("values", [[0.0], [0.0, 3.0], [-1e-30], [1e30, 1.0], [5.0] * 100])
def test_no_estimator_exceeds_what_was_seen(values: list[float]) -> None:
    found = histogram(np.asarray(values, np.float32))
    for estimator in ESTIMATORS.values():
        assert 0 <= estimator(found) <= found.amax


def hostile(outlier: float = 60) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A network whose inputs hold a few large elements that the weights hardly read."""
    g = Graph()
    g.conv(g.node("Relu", [g.conv("x", "first", (8, 4, 3, 3))], "relu"), "last", (4, 8, 3, 3))
    weights = onnx.numpy_helper.to_array(g.constants[0]).copy()
    weights[:, 3] *= 1e-3
    g.constants[0].CopyFrom(onnx.numpy_helper.from_array(weights, "first/w"))
    x = np.random.default_rng(0).normal(size=(128, 4, 8, 8)).astype(np.float32)
    x[:, 3, 0, 0] = outlier
    return g.model({"x": ["batch", 4, 8, 8]}, ["last"]), {"x": x}


def noise(recipe: engines.Recipe, graph: onnx.ModelProto, x: dict[str, Array]) -> float:
    exact = engines.simulate(engines.recipe(graph, "fp32"), graph, x)["last"]
    return float(np.mean((engines.simulate(recipe, graph, x)["last"] - exact) ** 2))


def test_auto_clips_what_the_outputs_do_not_need_and_says_so() -> None:
    graph, x = hostile()
    seen, held_out = {"x": x["x"][:64]}, {"x": x["x"][64:]}
    auto = engines.recipe(graph, "int8", calibration=seen)
    minmax = engines.recipe(graph, "int8", calibration=seen, calibration_method="minmax")
    assert noise(auto, graph, held_out) < 0.2 * noise(minmax, graph, held_out)
    scale = next(a for a in auto.activations if a.value == "x")
    assert scale.estimator != "minmax"
    assert scale.scale < 0.5 * 60 / 127
    assert scale.maximum == 60  # for unsigned kinds, as seen
    first = next(layer for layer in auto.layers if layer.name == "first")
    assert "seen up to 60" in first.why
    assert f"{scale.estimator} taken" in auto.calibration["why"]


@pytest.mark.parametrize("order", list(itertools.permutations(("output", "percentile 99.999", "percentile 99.99"))))
def test_auto_takes_the_least_noise_in_whatever_order_the_estimators_come(order: tuple[str, ...]) -> None:
    decibels = {"output": 29.2, "percentile 99.999": 31.4, "percentile 99.99": 31.5}  # the last two within NEAR
    assert least({name: np.full(2, 10 ** (-decibels[name] / 10)) for name in order}) == "percentile 99.99"


@pytest.mark.parametrize("halves", [(0.96, 0.96), (0.1, 1.2)])
def test_auto_stays_with_output_for_a_small_gain_or_one_of_half_of_the_samples(halves: tuple[float, float]) -> None:
    assert least({"output": np.ones(2), "mse": np.array(halves)}) == "output"


@pytest.mark.parametrize(("halves", "kept"), [((0.85, 0.85), False), ((0.5, 1.01), False), ((0.65, 0.9), True)])
def test_a_repair_must_gain_more_and_in_both_halves(halves: tuple[float, float], kept: bool) -> None:
    assert better(np.array(halves), np.ones(2)) == kept


@pytest.mark.parametrize("method", sorted(METHODS.keys() - {"output"}))  # tests/engines/calibration/test_consumers.py
def test_a_named_method_is_followed(method: str) -> None:
    graph, x = hostile()
    ranges = collect(graph, x)
    recipe = engines.recipe(graph, "int8", calibration=ranges, calibration_method=method)
    scale = next(a for a in recipe.activations if a.value == "x")
    assert scale.scale == pytest.approx(ESTIMATORS[METHODS[method]](ranges.histograms["x"]) / 127)
    assert recipe.calibration["method"] == method


def test_few_samples_and_fp8_keep_what_was_seen() -> None:
    graph, x = hostile()
    few = engines.recipe(graph, "int8", calibration={"x": x["x"][:4]})
    assert {a.estimator for a in few.activations} == {"minmax"}
    assert "only 4 samples, too few" in few.calibration["why"]
    assert {a.estimator for a in engines.recipe(graph, "fp8", calibration=x).activations} == {"minmax"}


def test_an_unknown_method_is_refused(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    with pytest.raises(BuildError, match="auto, minmax, percentile, entropy, mse"):
        engines.recipe(model, "int8", calibration=samples, calibration_method="max")


def test_a_reservoir_is_a_fair_choice_whatever_the_batches() -> None:
    x = np.arange(1000, dtype=np.float32)[:, None]
    whole, pieces = Reservoir(64), Reservoir(64)
    whole.update({"x": x})
    for start in range(0, 1000, 7):
        pieces.update({"x": x[start : start + 7]})
    assert np.array_equal(whole.samples()["x"], pieces.samples()["x"])
    assert len(np.unique(whole.samples()["x"])) == 64
    assert 350 < whole.samples()["x"].mean() < 650


def test_a_folder_of_shards_is_one_source(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no \\.npz"):
        collect(model, tmp_path)
    for shard, images in enumerate(np.split(samples["image"], 4)):
        np.savez(tmp_path / f"{shard}.npz", image=images)
    expected = collect(model, samples)
    for source in (tmp_path, sorted(tmp_path.glob("*.npz"))):
        found = collect(model, source)
        assert (found.minimum, found.maximum, found.samples) == (expected.minimum, expected.maximum, 64)
    assert collect(model, tmp_path).source["sha256"]
