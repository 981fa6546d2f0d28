"""The budget search measured: do noises add up, how near is it to all recipes, does what it finds keep the budget.

python -m benchmarks.budget [-o benchmarks/results/budget.md]
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

import converters
import engines
from benchmarks.held_out import held_out
from engines.calibration.collect import collect
from engines.graphs import compute_nodes, load, products
from engines.recipe import Recipe
from engines.recipe.rules import decide
from engines.search.cost import Cost, nominal
from engines.search.decide import within_budget
from engines.search.groups import groups_of
from engines.search.pareto import curve
from engines.search.samples import evaluation
from engines.search.sensitivity import HELD_OUT, SEARCHED, Sensitivity
from engines.search.within import within
from engines.simulate import simulate
from examples.cbam_resnet.data import digits_held_out
from examples.reference import reference

MODELS = ("digits", "digits_mobilenet", "digits_efficientnet", "fer", "mean_spot_cbam", "speech")
CLASSIFIERS = MODELS[:3]
BUDGETS = ("sqnr=25dB", "sqnr=30dB", "sqnr=35dB", "sqnr=40dB")
SEED = 0


def main() -> None:
    """Measures and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/budget.md"))
    arguments = parser.parse_args()
    made = {name: _int8(name) for name in MODELS}
    lines = [
        "# The budget search",
        "",
        f"`python -m benchmarks.budget` on {os.cpu_count()} cores ({platform.machine()}), no GPU; INT8 recipes with "
        "`calibration_method=auto`, judged by `engines.simulate` at the logits. Seconds are of processor time.",
        *_additivity(made),
        *_searches(made),
        *_exhaustive(),
        *_accuracy(made),
        *_agreement(made["fer"]),
        *_curves(made),
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


Made = tuple[ir.Model, Recipe, Any, Any]


def _int8(name: str) -> Made:
    """The graph of a reference model, its INT8 recipe, its calibration file and what was seen of it."""
    entry = reference(name)
    model = load(converters.convert(converters.load(entry.model())))
    ranges = collect(model, entry.calibration)
    return model, decide(model, "int8", ranges), entry.calibration, ranges


def _additivity(made: dict[str, Made]) -> list[str]:
    """20 random recipes a model: predicted by sums against simulated."""
    lines = [
        "",
        "## Do noises add up?",
        "",
        "20 random recipes a model, each group in INT8 with probability 0.3, 0.5, 0.8 or 1: SQNR predicted from the "
        "groups alone (and the pairs that the search measures) less the simulated one, dB; on the samples that the "
        "groups were measured on, and on as many others, where the samples themselves differ too.",
        "",
        "| model | groups | pairs kept | largest error | RMS | on other samples, largest | RMS |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (model, recipe, calibration, ranges) in made.items():
        found = Sensitivity(model, recipe, evaluation(model, str(calibration), ranges), "sqnr=30dB")
        random, errors = np.random.default_rng(SEED), []
        for _ in range(20):
            share = random.choice([0.3, 0.5, 0.8, 1.0])
            low = {group.value for group in found.groups if random.random() < share}
            predicted = -10 * np.log10(found.predicted(low).max())
            errors.append([predicted - found.sqnr(found.outputs(low, part), part) for part in (SEARCHED, HELD_OUT)])
        worst, rms = np.abs(errors).max(axis=0), np.sqrt(np.square(errors).mean(axis=0))
        lines.append(
            f"| {name} | {len(found.groups)} | {len(found.pairs)} | {worst[0]:.2f} | {rms[0]:.2f} | {worst[1]:.2f} | "
            f"{rms[1]:.2f} |"
        )
    return lines


def _searches(made: dict[str, Made]) -> list[str]:
    """What each budget costs in runs, and whether it is met on the samples held out."""
    lines = [
        "",
        "## Searches",
        "",
        "Runs beyond the sensitivity pass (one a group, up to 15 pairs, the base twice); seconds for the whole search.",
        "",
        "| model | budget | predicted | measured, held out | runs | seconds | kept high | products in INT8 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (model, recipe, calibration, ranges) in made.items():
        for budget in BUDGETS:
            start = time.process_time()
            found = within_budget(model, recipe, str(calibration), ranges, budget)
            seconds = time.process_time() - start
            lines.append(
                f"| {name} | {budget} | {found.predicted} | {found.measured} | {found.rounds} | {seconds:.1f} | "
                f"{len(found.high)} of {len(found.groups)} groups | {100 * _share(model, found.recipe):.0f} % |"
            )
    return lines


def _share(model: ir.Model, recipe: Recipe) -> float:
    """The part of all multiplications that is in 8 bits."""
    counts = {node.name or "": products(node) for node in compute_nodes(model)}
    low = sum(count for name, count in counts.items() if recipe.precision_of(name) == "int8")
    return low / sum(counts.values())


def _exhaustive() -> list[str]:
    """A net of ten groups: every one of 1,024 recipes simulated, and the search on random costs."""
    model, samples = _ten()
    recipe = decide(model, "int8", samples, "minmax")
    found = Sensitivity(model, recipe, evaluation(model, samples, collect(model, samples)), "sqnr=30dB")
    values = [group.value for group in found.groups]
    subsets = [frozenset(itertools.compress(values, bits)) for bits in itertools.product((0, 1), repeat=len(values))]
    every = {low: found.sqnr(found.outputs(low, HELD_OUT), HELD_OUT) for low in subsets}
    span = every[frozenset(values)], every[frozenset()]
    gaps, rounds = [], []
    for seed in range(20):
        random = np.random.default_rng(seed)
        limit = round(float(random.uniform(span[0], span[0] + 10)), 1)
        costs = {value: Cost(1.0, float(1 + random.uniform(0.5, 2))) for value in values}
        whole = evaluation(model, samples, collect(model, samples))
        result = within(model, recipe, whole, f"sqnr={limit}dB", costs)
        best = min(_cost(costs, low) for low, sqnr in every.items() if sqnr >= limit)
        gaps.append(_cost(costs, result.low) / best - 1)
        rounds.append(result.rounds)
    return [
        "",
        "## Against all recipes",
        "",
        f"A convolutional net of {len(values)} groups (nine 3x3 convolutions, one classifier, random weights), all "
        f"{len(subsets)} recipes simulated on 128 samples held out ({span[0]:.1f} dB all in INT8, {span[1]:.1f} dB all "
        f"in FP16); 20 searches with random costs a group and random budgets up to 10 dB above all-INT8:",
        "",
        f"the cost found is at most {100 * max(gaps):.2f} % above the least of all recipes within the budget (equal in "
        f"{sum(gap < 1e-9 for gap in gaps)} of 20), after {np.mean(rounds):.1f} runs on average, {max(rounds)} "
        "at most.",
    ]


def _ten() -> tuple[ir.Model, dict[str, Any]]:
    import keras

    keras.utils.set_random_seed(SEED)
    inputs = x = keras.Input((8, 8, 3), name="image")
    for index in range(9):
        x = keras.layers.Conv2D(8 * (1 + index % 3), 3, padding="same", activation="relu", name=f"conv{index}")(x)
    outputs = keras.layers.Dense(5, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    model = load(converters.convert(keras.Model(inputs, outputs)))
    return model, {"image": np.random.default_rng(SEED).normal(size=(256, 8, 8, 3)).astype(np.float32)}


def _cost(costs: dict[str, Cost], low: frozenset[str]) -> float:
    return sum(cost.low if value in low else cost.high for value, cost in costs.items())


def _accuracy(made: dict[str, Made]) -> list[str]:
    """2,000 digits that neither training, calibration nor search saw."""
    from scipy.stats import binomtest

    images, labels = digits_held_out()
    lines = [
        "",
        "## Does it hold?",
        "",
        f"{len(images)} held-out digits, as they are and warped, which neither training, calibration nor search saw. "
        "McNemar: exact two-sided test on the digits that only one of FP32 and INT8 gets right.",
        "",
        "| model | budget | decisions that differ | accuracy FP32 | INT8 | McNemar p | products in INT8 | kept high |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in CLASSIFIERS:
        model, recipe, calibration, ranges = made[name]
        exact = simulate(engines.recipe(ir.to_proto(model), "fp32"), model, {"image": images})
        output = next(iter(exact))
        wanted = exact[output].argmax(axis=1)
        for budget in ("none", "agreement=99.5%", "top1=0.1pp", "sqnr=35dB"):
            chosen = recipe
            if budget != "none":
                chosen = within_budget(model, recipe, str(calibration), ranges, budget).recipe
            given = simulate(chosen, model, {"image": images})[output].argmax(axis=1)
            right = wanted == labels, given == labels
            only = int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())
            p = binomtest(only[0], sum(only)).pvalue if sum(only) else 1.0
            high = sum("budget" in layer.why for layer in chosen.layers)
            lines.append(
                f"| {name} | {budget} | {100 * (wanted != given).mean():.2f} % | {100 * right[0].mean():.2f} % | "
                f"{100 * right[1].mean():.2f} % | {p:.2f} | {100 * _share(model, chosen):.1f} % | {high} layers |"
            )
    return lines


def _agreement(made: Made) -> list[str]:
    """2,000 warped faces, which have no labels: how often the largest class is another than FP32's."""
    model, recipe, calibration, ranges = made
    inputs = held_out("fer")

    def run(chosen: Recipe) -> Any:
        (found,) = simulate(chosen, model, inputs).values()
        return found

    exact = run(engines.recipe(ir.to_proto(model), "fp32"))
    ordered = np.sort(exact, axis=1)
    margins = np.quantile(ordered[:, -1] - ordered[:, -2], (0.01, 0.05))
    lines = [
        "",
        f"fer on {len(exact)} faces, mirrored and warped, without labels: 1 % of FP32's decisions are by a margin of "
        f"less than {margins[0]:.4f} in probability, 5 % by less than {margins[1]:.3f}.",
        "",
        "| recipe | decisions that differ | products in INT8 | kept high |",
        "|---|---|---|---|",
    ]
    floating = engines.recipe(ir.to_proto(model), "fp16", calibration=str(calibration))
    recipes = {"FP16": floating, "INT8": recipe}
    for budget in ("agreement=99%", "agreement=99.5%"):
        recipes[f"INT8, {budget}"] = within_budget(model, recipe, str(calibration), ranges, budget).recipe
    for name, chosen in recipes.items():
        differ = 100 * (run(chosen).argmax(axis=1) != exact.argmax(axis=1)).mean()
        high = sum("budget" in layer.why for layer in chosen.layers)
        lines.append(f"| {name} | {differ:.2f} % | {100 * _share(model, chosen):.1f} % | {high} layers |")
    return lines


def _curves(made: dict[str, Made]) -> list[str]:
    lines = [
        "",
        "## The curve",
        "",
        "Nominal cost (`engines.search.cost`, rule 1) of the best recipe for each SQNR, of what it costs all in FP16; "
        "SQNR on samples held out.",
        "",
        "| model | recipes along the curve: cost, SQNR dB |",
        "|---|---|",
    ]
    for name, (model, recipe, calibration, ranges) in made.items():
        samples = evaluation(model, str(calibration), ranges)
        points = curve(model, recipe, samples, nominal(groups_of(model, recipe)))
        lines.append(f"| {name} | " + "; ".join(f"{100 * p.cost:.0f} % {p.sqnr:.1f}" for p in points) + " |")
    return lines


if __name__ == "__main__":
    main()
