from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.npz import Array
from deploy.parity.metrics import measure
from engines.graphs import load
from engines.search.cost import Cost
from engines.search.decide import decide_within
from engines.search.samples import Evaluation
from engines.search.sensitivity import HELD_OUT, SEARCHED, Sensitivity
from engines.search.within import within
from tests.engines.conftest import Run
from tests.engines.search.nets import GATE, HUGE, OUTLIER, chain, hostile, normal


@pytest.fixture(scope="module")
def net() -> tuple[onnx.ModelProto, engines.Recipe, Evaluation]:
    """Seven groups, their INT8 recipe, and samples."""
    graph, samples = chain(7), normal((256, 3, 8, 8))
    return graph, engines.recipe(graph, "int8", samples, calibration_method="minmax"), Evaluation(samples)


def test_the_hostile_layers_are_kept_high_and_no_other(run: Run) -> None:
    graph, fresh = hostile(), normal((256, 8, 8, 8), seed=9)
    exact = run(graph, fresh)["logits"]
    plain = engines.recipe(graph, "int8", normal((64, 8, 8, 8)), calibration_method="minmax")
    recipe = engines.recipe(graph, "int8", normal((64, 8, 8, 8)), "sqnr=30dB", "minmax")
    sqnr = [measure(exact, engines.simulate(one, graph, fresh)["logits"]).sqnr_db for one in (plain, recipe)]
    assert sqnr[0] < 15
    assert sqnr[1] > 30
    why = {layer.name: layer.why for layer in recipe.layers if layer.precision != "int8"}
    assert set(why) == {*HUGE, "huge/relu", GATE, OUTLIER, "logits"}
    assert "kept high by the budget: its noise alone is" in why[OUTLIER]
    assert "reaches" in why["huge"]
    assert "gate" in why[GATE]
    assert "8 x 5 weights" in why["logits"]


def test_the_outlier_is_repaired_and_the_others_are_kept_high(run: Run) -> None:
    """Equalization divides the one channel, so that the layer that reads it stays INT8 within the same budget."""
    graph, fresh = hostile(), normal((256, 8, 8, 8), seed=9)
    recipe = engines.recipe(graph, "int8", normal((64, 8, 8, 8)), "sqnr=30dB", "minmax", repairs="auto")
    assert {layer.name for layer in recipe.layers if layer.precision != "int8"} == {*HUGE, "huge/relu", GATE, "logits"}
    factors = {row.name: np.array(row.factors) for row in recipe.equalized}
    assert [name for name, row in factors.items() if row.max() > 100 * np.median(row)] == ["outlier"]
    assert factors["outlier"].argmax() == 0
    assert measure(run(graph, fresh)["logits"], engines.simulate(recipe, graph, fresh)["logits"]).sqnr_db > 40


def test_what_is_predicted_is_what_is_measured(net: tuple[Any, Any, Any]) -> None:
    graph, recipe, samples = net
    found = Sensitivity(load(graph), recipe, samples, "sqnr=30dB")
    random = np.random.default_rng(0)
    for _ in range(20):
        low = {group.value for group in found.groups if random.random() < 0.5}
        predicted = -10 * np.log10(found.predicted(low)[0])
        assert predicted == pytest.approx(found.sqnr(found.outputs(low, SEARCHED), SEARCHED), abs=2)


@pytest.fixture(scope="module")
def every(net: tuple[Any, Any, Any]) -> dict[frozenset[str], float]:
    """SQNR of all 128 recipes of the net, on the samples held out."""
    graph, recipe, samples = net
    found = Sensitivity(load(graph), recipe, samples, "sqnr=40dB")
    values = [group.value for group in found.groups]
    chosen = (frozenset(itertools.compress(values, bits)) for bits in itertools.product((0, 1), repeat=len(values)))
    return {low: found.sqnr(found.outputs(low, HELD_OUT), HELD_OUT) for low in chosen}


@pytest.mark.parametrize("limit", [34, 36, 38, 40, 42, 44, 46])
def test_it_is_within_two_percent_of_the_best_of_all_recipes(
    net: tuple[Any, Any, Any], every: dict[frozenset[str], float], limit: int
) -> None:
    graph, recipe, samples = net
    random = np.random.default_rng(limit)
    costs = {value: Cost(1.0, float(1 + random.uniform(0.5, 2))) for value in sorted(max(every, key=len))}
    found = within(load(graph), recipe, samples, f"sqnr={limit}dB", costs)
    best = min(_cost(costs, low) for low, sqnr in every.items() if sqnr >= limit)
    assert every[found.low] >= limit
    assert _cost(costs, found.low) <= 1.02 * best
    assert found.rounds <= 30


def _cost(costs: dict[str, Cost], low: Any) -> float:
    return sum(cost.low if value in low else cost.high for value, cost in costs.items())


def test_a_recipe_says_what_was_asked_predicted_and_measured(net: tuple[Any, Any, Any]) -> None:
    graph, recipe, samples = net
    found = within(load(graph), recipe, samples, "sqnr=40dB")
    report = found.recipe.calibration["budget"]
    assert report["asked"] == "sqnr=40dB"
    assert float(report["measured"].split()[0]) >= 40
    assert report["held_out"] == 128
    high = {layer for group in found.high for layer in group.layers}
    assert high
    assert {layer.name for layer in found.recipe.layers if layer.precision == "fp16"} == high
    assert f"{len(found.high)} of 7 groups kept high" in found.summary()
    engines.apply(found.recipe, graph)


def test_a_wide_budget_keeps_nothing_high_in_one_round(net: tuple[Any, Any, Any]) -> None:
    graph, recipe, samples = net
    found = within(load(graph), recipe, samples, "sqnr=5dB")
    assert (found.high, found.rounds) == ((), 1)
    assert [layer.precision for layer in found.recipe.layers] == [layer.precision for layer in recipe.layers]


def test_layers_that_cost_more_in_8_bits_stay_high_and_say_so(net: tuple[Any, Any, Any]) -> None:
    graph, recipe, samples = net
    groups = Sensitivity(load(graph), recipe, samples, "sqnr=5dB").groups
    costs = {group.value: Cost(2048.0 if i % 2 else 1024.0, 1536.0) for i, group in enumerate(groups)}
    found = within(load(graph), recipe, samples, "sqnr=5dB", costs)
    assert len(found.low) == 4
    why = {layer.why for layer in found.recipe.layers if layer.precision == "fp16"}
    assert why == {"int8 costs more here: 2 KiB against 2"}


def test_labels_make_top1_a_loss_of_accuracy(net: tuple[Any, Any, Any], run: Run) -> None:
    graph, _, samples = net
    labels = run(graph, samples.inputs)["logits"].argmax(axis=1)
    found = decide_within(graph, "int8", {**samples.inputs, "labels": labels}, "minmax", "top1=5pp")
    assert "points of accuracy lost" in found.measured
    assert "of the decisions differ" in decide_within(graph, "int8", samples.inputs, "minmax", "top1=5pp").measured
    assert (
        "finer than 128 held-out samples"
        in decide_within(graph, "int8", samples.inputs, "minmax", "top1=0.5pp").notes[0]
    )


def test_a_budget_that_fp16_misses_is_refused_with_what_it_reaches(net: tuple[Any, Any, Any]) -> None:
    graph, _, samples = net
    for precision in ("int8", "fp16"):
        with pytest.raises(BuildError, match="FP16 alone is beyond it") as error:
            engines.recipe(graph, precision, samples.inputs, "sqnr=120dB", "minmax")
        assert "dB with no layer in 8 bits" in error.value.found
        assert "fp32" in error.value.fix


def test_fp16_within_the_budget_only_says_so(net: tuple[Any, Any, Any]) -> None:
    graph, _, samples = net
    recipe = engines.recipe(graph, "fp16", samples.inputs, "sqnr=40dB")
    assert {layer.precision for layer in recipe.layers} == {"fp16"}
    assert recipe.calibration["budget"]["rounds"] == 0


def test_a_budget_without_samples_is_refused(model: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match="needs real samples"):
        engines.recipe(model, "fp16", budget="top1=0.1pp")


def test_fp8_is_searched_likewise(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    found = decide_within(model, "fp8", samples, "auto", "sqnr=34dB")
    kept = {layer.precision for layer in found.recipe.layers}
    assert kept == {"fp8", "fp16"}
    assert found.high
