"""A recipe within a budget, from a graph and its samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from deploy.errors import BuildError
from engines.calibration.choice import multiplications
from engines.calibration.data import describe
from engines.calibration.listener import NOBODY, Listener
from engines.calibration.ranges import Ranges
from engines.calibration.tensorrt_cache import check_asked
from engines.graphs import load
from engines.kinds import is_keras
from engines.recipe import Recipe
from engines.recipe.rules import decide
from engines.search.budget import parse
from engines.search.cost import Cost
from engines.search.groups import groups_of
from engines.search.pareto import Point, curve, realised_curve
from engines.search.samples import FEWEST, SAMPLES, evaluation
from engines.search.within import ROUNDS, Found, within

if TYPE_CHECKING:
    from engines.targets.base import Target

WORK = 1e12
"""Multiplications that a search may take (half a minute on two cores): large models are searched on fewer samples."""


def decide_within(
    source: object,
    precision: str,
    calibration: object,
    method: str,
    budget: str,
    repairs: tuple[str, ...] = (),
    listener: Listener = NOBODY,
) -> Found:
    """`engines.recipe.rules.decide`, and then the cheapest recipe within the budget; see `engines.recipe.recipe`.

    In a floating precision there is nothing to choose: the budget is only checked.
    """
    parse(budget)
    check_asked(calibration, (precision,), method, budget)
    if calibration is None:
        raise BuildError(
            "a budget needs real samples to be measured on",
            where=f"budget {budget}",
            found="no calibration data",
            fix="give some hundred real samples: --calibration calibration.npz",
        )
    if is_keras(source):
        from converters import convert

        source = convert(source)
    model = load(source)
    ranges = listener.calibrated(model, calibration, bool(repairs))
    recipe = decide(model, precision, ranges, method, repairs=repairs, listener=listener)
    return within_budget(model, recipe, calibration, ranges, budget)


def within_budget(
    model: ir.Model,
    recipe: Recipe,
    calibration: object,
    ranges: Ranges,
    budget: str,
    costs: Mapping[str, Cost] | None = None,
) -> Found:
    """The cheapest recipe within the budget from ``recipe`` up, on samples of the calibration data."""
    samples = evaluation(model, calibration, ranges, _most(model, recipe))
    return within(model, recipe, samples, budget, costs, describe(calibration))


def curve_of(
    model: ir.Model, recipe: Recipe, calibration: str | Path, target: Target | None = None
) -> tuple[Point, ...]:
    """The curve from ``recipe`` up (`engines.search.pareto.curve`), on samples of an .npz file or a folder of such.

    ``target``: what its builder makes of each point is added.
    """
    samples = evaluation(model, calibration, Ranges({}, {}, 0), _most(model, recipe))
    points = curve(model, recipe, samples, where=describe(calibration))
    return points if target is None else realised_curve(model, recipe, points, target)


def _most(model: ir.Model, recipe: Recipe) -> int:
    """How many samples a search may look at within `WORK`."""
    runs = len(groups_of(model, recipe)) + ROUNDS
    return int(max(FEWEST, min(SAMPLES, 2 * WORK // (multiplications(model) * runs))))
