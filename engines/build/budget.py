"""A build within a budget: the search for each precision, and what is worth keeping of it on the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engines.recipe import QUANTIZED, Recipe

if TYPE_CHECKING:
    from engines.build.data import Data
    from engines.build.options import Options
    from engines.build.source import Source
    from engines.build.steps import Made
    from engines.calibration.ranges import Ranges
    from engines.search.within import Found
    from engines.targets.base import Target


def search(
    asked: Options, target: Target, source: Source, data: Data, ranges: Ranges, recipe: Recipe, made: list[Made]
) -> Found:
    """The cheapest recipe within the budget.

    What is asked for by name becomes as much INT8 or FP8 as the budget allows, by what these promise. For ``auto`` the
    cost is what the builder made of each layer: of an engine of ``recipe`` and of the FP16 one in ``made``.
    """
    from engines.search.cost import realised
    from engines.search.decide import within_budget
    from engines.search.groups import groups_of

    costs = None
    high = next((one.built.table for one in made if one.recipe.precision not in QUANTIZED), None)
    if asked.auto and recipe.precision in QUANTIZED and high is not None:
        low = target.build(source.model, recipe, asked.profile).table
        if low is not None:
            costs = realised(groups_of(source.model, recipe), low, high, asked.profile.optimum)
    return within_budget(source.model, recipe, data.calibration, ranges, asked.budget, costs)


def weigh(asked: Options, made: list[Made]) -> tuple[list[Made], list[str]]:
    """What to keep, and notes: INT8 or FP8 that costs as much as FP16 is worth one; ``auto`` keeps the cheaper."""
    from engines.search.guard import clocked, compare
    from engines.targets.timing import on_gpu

    kept, notes = list(made), []
    batch = asked.profile.optimum
    high = next((one for one in made if one.recipe.precision not in QUANTIZED), None)
    for one in made:
        if high is None or high.built.table is None or one.built.table is None or one is high:
            continue
        names = (one.recipe.precision, high.recipe.precision)
        measured = on_gpu(high.built.data, one.built.data, asked.target, batch)
        if measured is not None:
            verdict = clocked(*names, measured, batch)
        else:
            verdict = compare(names[0], one.built.table, names[1], high.built.table, batch)
        text = verdict.text
        if not any(layer.precision in QUANTIZED for layer in one.recipe.layers):
            text = f"within {asked.budget} no layer is cheaper in {names[0]} than in {names[1]}"
        if asked.auto:
            kept.remove(high if verdict.cheaper else one)
            notes.append(f"{text}: {names[0] if verdict.cheaper else names[1]} is kept")
        elif not verdict.cheaper:
            notes.append(text)
    return kept, notes
