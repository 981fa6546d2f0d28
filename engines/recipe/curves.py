"""`kerasrt recipe --pareto`: for each recipe in 8 bits, what they save against what they do to the outputs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError
from engines.calibration.tensorrt_cache import is_cache
from engines.recipe import QUANTIZED, Recipe

if TYPE_CHECKING:
    import onnx_ir
    from rich.console import Console

    from engines.search.pareto import Point


def show(
    found: Iterable[tuple[Recipe, onnx_ir.Model | None]],
    calibration: str | None,
    console: Console,
    as_json: bool,
    target: str | None = None,
) -> None:
    """Prints the curve of each recipe in INT8 or FP8, as tables or as JSON (a list where there are several).

    ``calibration``: an .npz file of real samples, or a folder of such. ``target``: each point is built for it. Raises
    BuildError where a curve has no samples, no model or no layer to choose.
    """
    from engines.search.decide import curve_of
    from engines.targets.base import find

    builder = None if target is None else find(target)
    curves = []
    for recipe, model in _quantized(found):
        if calibration is None or is_cache(calibration):
            raise BuildError(
                "--pareto needs real samples to be measured on",
                where=f"recipe of {recipe.precision}",
                found="no calibration data" if calibration is None else "a TensorRT calibration cache",
                fix="give some hundred real samples: --calibration calibration.npz",
            )
        if model is None:
            raise BuildError(
                "--pareto needs the model that the recipe is of",
                where=f"recipe of {recipe.precision}",
                found="a recipe alone",
                fix="give it: --model model.keras",
            )
        curves.append((recipe, curve_of(model, recipe, calibration, builder)))
    if as_json:
        rows = [_as_json(recipe, points) for recipe, points in curves]
        print(json.dumps(rows[0] if len(rows) == 1 else rows, indent=1))
        return
    for recipe, points in curves:
        _print(recipe, points, console, target)


def _quantized(found: Iterable[tuple[Recipe, Any]]) -> list[tuple[Recipe, Any]]:
    """Those with layers to choose. Raises BuildError where there are none."""
    recipes = list(found)
    chosen = [(recipe, model) for recipe, model in recipes if recipe.precision in QUANTIZED]
    if not chosen:
        raise BuildError(
            "--pareto weighs 8 bits against the base: there is nothing to weigh",
            where=f"recipe of {', '.join(recipe.precision for recipe, _ in recipes)}",
            expected=" or ".join(QUANTIZED),
            fix="ask for one: --precision int8",
        )
    return chosen


def _print(recipe: Recipe, points: tuple[Point, ...], console: Console, target: str | None) -> None:
    from rich.text import Text

    from engines.search.pareto import table

    console.print(table(points))
    head = (
        f"{recipe.precision}: cost is nominal, of what all layers cost in {recipe.base}; SQNR at the worst output, on "
    )
    console.print(Text(head + "samples held out. Choose a point: --budget sqnr=30dB", style="bold"))
    if target is not None:
        text = f"kernels, what they move and their cost: of the engine of each point for {target}, at a batch of 1"
        console.print(Text(text, style="bold"))


def _as_json(recipe: Recipe, points: tuple[Point, ...]) -> dict[str, Any]:
    rows = [{**dataclasses.asdict(point), "low": sorted(point.low)} for point in points]
    return {"precision": recipe.precision, "base": recipe.base, "points": rows}
