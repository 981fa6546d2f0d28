"""The curve of what 8 bits save against what they do to the outputs: the best recipe for each of many budgets.

Costs are nominal or realised (`engines.search.cost`); `realised_curve` builds the recipe of every point for a target
and adds what its builder made of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir

from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.recipe import Recipe
from engines.search.cost import Cost, moved, nominal, total
from engines.search.groups import chosen, groups_of
from engines.search.knapsack import choose
from engines.search.samples import Evaluation
from engines.search.sensitivity import HELD_OUT, SEARCHED, Sensitivity

if TYPE_CHECKING:
    from engines.targets.base import Target

PROFILE = Profile()
POINTS = 16
"""Budgets along the curve, from all layers in 8 bits to none: their steps of dB grow from the one to the other, as the
first decibels cost most."""
BAR = 24


@dataclass(frozen=True)
class Point:
    """One recipe: ``low``, the values of its groups in 8 bits; ``cost``, a part of what it costs all high; ``sqnr``, in
    dB at the worst output, measured on samples held out, and as ``predicted`` from the others; ``layers`` in 8 bits;
    ``last``: the layer that is noisiest among those. ``realised``: of the engine, where one was built.
    """

    low: frozenset[str]
    cost: float
    sqnr: float
    predicted: float
    layers: int
    last: str
    realised: Realised | None = None


@dataclass(frozen=True)
class Realised:
    """By an engine's layer table: ``kernels``; ``moved``, bytes of their operands; ``cost``, these and the launches
    (`engines.search.cost.total`), a part of what it is with all groups high.
    """

    kernels: int
    moved: int
    cost: float


def curve(
    model: ir.Model,
    recipe: Recipe,
    samples: Evaluation,
    costs: Mapping[str, Cost] | None = None,
    where: str = "calibration data",
) -> tuple[Point, ...]:
    """The curve from all high to as low as ``recipe``; a point that costs more and errs more than another is left out.

    ``costs``: by group value, else nominal ones (`engines.search.cost`).
    """
    found = Sensitivity(model, recipe, samples, "sqnr=1dB", where)
    costs = nominal(found.groups) if costs is None else costs
    gain = np.array([costs[group.value].high - costs[group.value].low for group in found.groups])
    lowest = frozenset(group.value for group, saved in zip(found.groups, gain, strict=True) if saved > 0)
    ends = [found.sqnr(found.outputs(low, SEARCHED), SEARCHED) for low in (frozenset[str](), lowest)]
    choices: dict[frozenset[str], None] = {frozenset(): None, lowest: None}
    low_end, high_end = min(ends) - 0.5, max(ends)
    for decibels in low_end + (high_end - low_end) * np.linspace(1, 0, POINTS) ** 2:
        allowed = np.full(len(found.bounds), 10 ** (-decibels / 10)) - found.base
        picked = choose(gain, found.added, allowed, found.pairs)
        choices[frozenset(g.value for g, one in zip(found.groups, picked, strict=True) if one)] = None
    return _best(_point(found, costs, low) for low in choices)


def realised_curve(
    model: ir.Model, recipe: Recipe, points: Sequence[Point], target: Target, profile: Profile = PROFILE
) -> tuple[Point, ...]:
    """The points with what ``target`` makes of each. Raises BuildError where its builder gives no table of layers."""
    groups, batch = groups_of(model, recipe), profile.optimum
    tables = {}
    for low in dict.fromkeys((frozenset[str](), *(point.low for point in points))):
        built = target.build(model, chosen(recipe, groups, low, "high at this point of the curve"), profile)
        if built.table is None:
            raise BuildError(
                "gives no table of layers, so that nothing is known of what it makes of a recipe",
                where=f"--target {target.name}",
                expected="tensorrt-rtx, or tensorrt on a GPU",
                fix="choose one of these, or leave --target out: the cost is nominal then",
            )
        tables[low] = built.table
    whole = total(tables[frozenset()], batch)
    return tuple(
        dataclasses.replace(
            point,
            realised=Realised(len(found.rows), moved(found, batch), total(found, batch) / whole),
        )
        for point in points
        for found in (tables[point.low],)
    )


def table(points: Iterable[Point]) -> Any:
    """The curve as a `rich.table.Table`, with a bar for each SQNR."""
    from rich.table import Table

    rows = list(points)
    built = all(point.realised is not None for point in rows)
    result = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("cost", "SQNR", "predicted", "8-bit layers", *(("kernels", "moved", "built cost") if built else ())):
        result.add_column(head, justify="right", no_wrap=True)
    result.add_column("", no_wrap=True)
    result.add_column("noisiest of them", no_wrap=True)
    most = max(point.sqnr for point in rows)
    for point in rows:
        bar = "█" * max(1, round(BAR * point.sqnr / most))
        figures = [f"{100 * point.cost:.0f}%", f"{point.sqnr:.1f} dB", f"{point.predicted:.1f} dB", str(point.layers)]
        if (found := point.realised) is not None:
            figures += [str(found.kernels), f"{found.moved / 2**20:.2f} MiB", f"{100 * found.cost:.0f}%"]
        result.add_row(*figures, bar, point.last.replace("[", "\\["))
    return result


def _point(found: Sensitivity, costs: Mapping[str, Cost], low: frozenset[str]) -> Point:
    whole = sum(cost.high for cost in costs.values())
    cost = sum(one.low if value in low else one.high for value, one in costs.items()) / whole if whole else 1.0
    groups = sorted((g for g in found.groups if g.value in low), key=lambda group: found.alone[group.value])
    return Point(
        low,
        cost,
        found.sqnr(found.outputs(low, HELD_OUT), HELD_OUT),
        float(-10 * np.log10(max(found.predicted(low).max(), 1e-30))),
        sum(len(group.layers) for group in groups),
        groups[0].title if groups else "",
    )


def _best(points: Iterable[Point]) -> tuple[Point, ...]:
    """Those that no cheaper one equals or beats, the cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda one: (one.cost, -one.sqnr)):
        if not kept or point.sqnr > kept[-1].sqnr:
            kept.append(point)
    return tuple(kept)
