"""Which repairs an INT8 recipe gets: each is kept only where it lowers the error at the outputs on samples held out.

Recipes are compared by two-fold cross-validation on the samples kept for a replay: made whole from one half of them,
ranges and all, and judged on the other, both ways. One that is judged on its own samples fits their largest values.
1. Equalization (`engines.ptq.equalize`), with each of `EXPONENTS`.
2. With the best of them or without: learned rounding (`engines.ptq.rounding`) with biases that keep the means; these
   biases alone (`engines.ptq.fit`).
A step is kept where it saves a fifth of the noise power and raises it in neither half (`engines.calibration.choice`,
whose measure of noise this is); what is kept is then made from all samples. None may raise a layer's precision.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.errors import BuildError
from engines.calibration.choice import Noise, Replay, better, decibels
from engines.calibration.collect import collect
from engines.calibration.ranges import Ranges
from engines.graphs import load
from engines.ptq.channels import Channels
from engines.ptq.equalize import equalize, factors, variables
from engines.ptq.fit import fitted
from engines.recipe import INT8_MAXIMUM, Equalized, Recipe
from engines.sessions import input_specs

EXPONENTS = (0.5, 0.75)
"""Of the equalization."""
FITS = ("rounding", "biases")
FEWEST = 16
"""Samples without which nothing can be judged: eight in each half."""
ELEMENTS = 1 << 25
"""Elements that one value may have over all samples that repairs are fitted to: 128 MiB."""

Samples = Mapping[str, npt.NDArray[np.generic]]
Decide = Callable[[ir.Model, Ranges], Recipe]


def repaired(
    model: ir.Model,
    recipe: Recipe,
    ranges: Ranges,
    decide: Decide,
    repairs: tuple[str, ...],
    tell: Callable[[str], None] = lambda _: None,
) -> Recipe:
    """The recipe with those repairs (of `engines.ptq.asked`) that help.

    ``decide`` makes a recipe of a graph and its ranges, and made this one; ``ranges`` were collected for repairs;
    ``tell`` is told of each repair that was judged. Raises BuildError where there are too few samples.
    """
    samples = _few_enough(model, ranges.replay)
    count = len(next(iter(samples.values()))) if samples else 0
    fixed = next((s.shape[0] for s in input_specs(model) if isinstance(s.shape[0], int)), 1)
    if count < (fewest := max(FEWEST, 2 * int(fixed))):
        raise BuildError(
            "too few samples to tell whether a repair helps",
            where="calibration",
            expected=f"{fewest} or more, better some hundred",
            found=f"{count}",
            fix="give more real samples, or leave --repairs out",
        )
    pipeline, halves = Pipeline(model, decide), [{n: a[half::2] for n, a in samples.items()} for half in range(2)]
    folds = [collect(model, half, repairs=True) for half in halves]

    def judged(plan: Plan) -> Noise:
        """The noise in each half, of what was made from the other."""
        made = [pipeline.make(plan, fold) for fold in folds]
        return np.array([_noise(model, made[1 - half], halves[half]) for half in range(2)])

    equalizations = [Plan(exponent) for exponent in EXPONENTS if "equalize" in repairs]
    fits = [Plan(fit=name) for name in FITS if name in repairs]
    planned = len(equalizations) + len(fits)
    best, noise = Plan(), judged(Plan())
    start, tried = noise, []
    tell(f"as it is: {decibels(noise)} dB on samples held out; {planned} to try")
    for group in (equalizations, fits):
        base, limit = best, noise
        for step in group:
            plan = Plan(step.exponent or base.exponent, step.fit)
            found = judged(plan)
            tried.append(f"{plan} {decibels(found)}")
            tell(f"{plan}: {decibels(found)} dB, {len(tried)} of {planned}")
            if better(found, limit) and found.sum() < noise.sum():
                best, noise = plan, found
    made = pipeline.make(best, dataclasses.replace(ranges, replay=samples, key="")) if best != Plan() else recipe
    if raised := [layer.name for layer in made.layers if _rank(made, layer.name) > _rank(recipe, layer.name)]:
        return _noted(recipe, f"none kept: {best} would raise the precision of {', '.join(raised[:5])}")
    kept = f"{best} kept, {decibels(start)} to {decibels(noise)}" if best != Plan() else f"none kept, {decibels(start)}"
    return _noted(made, f"{kept} dB on {count} samples, each half held out once; tried {', '.join(tried)}")


@dataclass(frozen=True)
class Plan:
    """What is to be repaired: ``exponent`` of the equalization (0: none), and ``fit``, one of `FITS` or nothing."""

    exponent: float = 0.0
    fit: str = ""

    def __str__(self) -> str:
        parts = [f"equalize {self.exponent}" if self.exponent else "", self.fit]
        return " + ".join(part for part in parts if part)


class Pipeline:
    """Makes recipes of a graph; what two plans share is made once."""

    def __init__(self, model: ir.Model, decide: Decide) -> None:
        self._model, self._decide = model, decide
        self._decided: dict[tuple[float, int], Recipe] = {}

    def make(self, plan: Plan, ranges: Ranges) -> Recipe:
        """The recipe of a plan, from these ranges and the samples that they keep."""
        key = plan.exponent, id(ranges)
        if key not in self._decided:
            self._decided[key] = self._equalized(plan.exponent, ranges)
        recipe = self._decided[key]
        return fitted(self._model, recipe, ranges.replay, plan.fit == "rounding") if plan.fit else recipe

    def _equalized(self, exponent: float, ranges: Ranges) -> Recipe:
        recipe = self._decide(self._model, ranges)
        if not exponent:
            return recipe
        int8 = {layer.name for layer in recipe.layers if layer.precision == "int8"}
        amax = {name: np.abs(limits).max(axis=0) for name, limits in ranges.channels.items()}
        rows = factors(self._model, int8, amax, exponent)
        graph = equalize(load(self._model), rows)
        found = self._decide(graph, _ranges(self._model, graph, ranges, rows)) if rows else recipe
        return dataclasses.replace(found, equalized=rows, model=recipe.model)


def _rank(recipe: Recipe, layer: str) -> int:
    """How high the precision of a layer is."""
    return ("int8", "fp16", "fp32").index(recipe.precision_of(layer))


def _noted(recipe: Recipe, why: str) -> Recipe:
    return dataclasses.replace(recipe, calibration={**recipe.calibration, "repairs": why})


def _ranges(model: ir.Model, graph: ir.Model, ranges: Ranges, rows: tuple[Equalized, ...]) -> Ranges:
    """Ranges of the equalized graph: of each channel as seen, divided; histograms from the samples kept."""
    again = collect(graph, ranges.replay)
    found = Channels(model)
    factor = variables(found, {row.name: np.asarray(row.factors) for row in rows})
    minimum, maximum, histograms = dict(ranges.minimum), dict(ranges.maximum), dict(ranges.histograms)
    for name, limits in ranges.channels.items():
        by = factor[found.root[found.values[name][1]]]
        if (by == 1).all():
            continue
        low, high = limits / by
        minimum[name], maximum[name] = float(low.min()), float(high.max())
        if name in histograms:
            histograms[name] = again.histograms[name]
            histograms[name].widen(minimum[name], maximum[name])
    return dataclasses.replace(ranges, minimum=minimum, maximum=maximum, histograms=histograms, key="")


def _few_enough(model: ir.Model, samples: Samples) -> Samples:
    """As many samples as fit `ELEMENTS`."""
    sizes = (
        int(np.prod([size for size in list(value.shape)[1:] if isinstance(size, int)]))
        for node in model.graph
        for value in node.outputs
        if value.shape is not None
    )
    count = max(FEWEST, ELEMENTS // max(1, *sizes))
    return {name: array[:count] for name, array in samples.items()}


def _noise(model: ir.Model, recipe: Recipe, samples: Samples) -> float:
    """Noise power at the outputs relative to the signal's."""
    ranges = {activation.value: activation.scale * INT8_MAXIMUM for activation in recipe.activations}
    return float(Replay(model, recipe, samples).noise(ranges).mean())
