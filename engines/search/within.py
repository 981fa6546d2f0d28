"""The search itself: noise of each group alone, a knapsack, a check on samples held out, and again with less noise.

1. Sensitivity (`engines.search.sensitivity`), on every other sample: the noise of the base, and of each group alone.
2. Knapsack: the cheapest groups in 8 bits whose noises, added to the base's, stay within the budget.
3. Check, on the other samples: the choice as a whole is simulated. Where it is beyond a bound by a factor, the knapsack
   is solved again with less noise by that factor. Then any that saves `WORTH` more, and may be within if the prediction
   errs as it did last or by a factor of `DOUBTS`, is run too; what is found beyond is cut off. The cheapest choice that
   was *measured* to be within is the result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.errors import BuildError
from engines.recipe import LayerPrecision, Recipe
from engines.search.bounds import LEAST, Bound, Floats, Reading
from engines.search.cost import Cost, nominal
from engines.search.groups import Group
from engines.search.knapsack import choose
from engines.search.samples import Evaluation
from engines.search.sensitivity import HELD_OUT, Sensitivity

ROUNDS = 30
"""Most choices that are run."""
WORTH = 0.01
"""Part of the whole cost that another choice must save."""
DOUBTS = (1.1, 1.25, 1.5)
"""By how much less noise there may be than predicted; the likely first."""


@dataclass(frozen=True)
class Found:
    """A recipe within the budget, and how it was found.

    ``predicted`` and ``measured``: each bound in words, of the summed noises and on the samples held out. ``low``: the
    values of the groups in 8 bits, of ``groups``. ``alone``: per group SQNR in dB with it alone in 8 bits. ``rounds``:
    choices that were run; ``runs``: those and the sensitivity pass.
    """

    recipe: Recipe
    groups: tuple[Group, ...]
    low: frozenset[str]
    alone: dict[str, float]
    predicted: str
    measured: str
    held_out: int
    rounds: int
    runs: int
    notes: tuple[str, ...] = ()

    @property
    def high(self) -> tuple[Group, ...]:
        """The groups that stay high, the noisiest first."""
        high = [group for group in self.groups if group.value not in self.low]
        return tuple(sorted(high, key=lambda group: self.alone[group.value]))

    def summary(self) -> str:
        """What was found, on one line."""
        if not self.groups:
            return f"measured {self.measured} on {self.held_out} held out"
        kept = "nothing kept high"
        if self.high:
            names = ", ".join(f"{g.title} ({self.alone[g.value]:.0f} dB alone)" for g in self.high[:4])
            more = f" and {len(self.high) - 4} more" if len(self.high) > 4 else ""
            kept = f"{len(self.high)} of {len(self.groups)} groups kept high: {names}{more}"
        rounds = "1 round" if self.rounds == 1 else f"{self.rounds} rounds"
        return f"predicted {self.predicted}, measured {self.measured} on {self.held_out} held out, {rounds}; {kept}"


def within(
    model: ir.Model,
    recipe: Recipe,
    samples: Evaluation,
    budget: str,
    costs: Mapping[str, Cost] | None = None,
    where: str = "calibration data",
) -> Found:
    """The cheapest recipe between ``recipe``, with its INT8 or FP8 layers, and its base, that keeps the budget.

    ``costs``: by group value, else nominal ones (`engines.search.cost`). Raises BuildError where even the base is
    beyond the budget.
    """
    measured = Sensitivity(model, recipe, samples, budget, where)
    groups = measured.groups
    costs = nominal(groups) if costs is None else costs
    gain = np.array([costs[group.value].high - costs[group.value].low for group in groups])
    floor = measured.readings(measured.outputs((), HELD_OUT), HELD_OUT)
    before = measured.runs
    if _pressure(measured.bounds, floor) > 1:
        raise _out_of_reach(measured, floor, budget)
    low, readings = _cheapest(measured, gain, sum(cost.high for cost in costs.values()), floor)
    rounds = measured.runs - before
    values = [reading.value for reading in readings]
    found = Found(
        recipe,
        groups,
        low,
        measured.alone,
        measured.expected(measured.predicted(low)),
        measured.words(values),
        len(range(*HELD_OUT.indices(samples.count))),
        rounds,
        measured.runs,
        _notes(measured, samples),
    )
    return dataclasses.replace(found, recipe=_written(recipe, found, costs, budget))


def _cheapest(
    measured: Sensitivity, gain: Floats, whole: float, floor: tuple[Reading, ...]
) -> tuple[frozenset[str], tuple[Reading, ...]]:
    """Rules 2 and 3: the groups that go low, and what was read of them; those of the base where nothing is within."""
    allowed = np.array([bound.allowed for bound in measured.bounds])
    known, factor = np.ones(len(allowed)), np.ones(len(allowed))
    doubts, widened = iter(DOUBTS), False
    beyond: list[npt.NDArray[np.bool_]] = []
    last = measured.runs + ROUNDS
    most, best, readings = 0.0, frozenset[str](), floor
    while measured.runs < last:
        picked = choose(gain, measured.added, factor * allowed - measured.base, measured.pairs, beyond)
        if gain[picked].sum() <= most + (WORTH * whole if best else 0):
            doubt = next(doubts, None)
            if doubt is None:
                break
            factor, widened = doubt * known, True
            continue
        low = frozenset(group.value for group, one in zip(measured.groups, picked, strict=True) if one)
        found = measured.readings(measured.outputs(low, HELD_OUT), HELD_OUT)
        pressure = _pressure(measured.bounds, found)
        if pressure > 1:
            beyond.append(picked)
            factor = factor if best or widened else 0.98 * factor / min(pressure, 1e6)
        else:
            most, best, readings = float(gain[picked].sum()), low, found
            noise = np.array([max(reading.noise, LEAST) for reading in found])
            known = factor = np.maximum(measured.predicted(low), LEAST) / noise
            doubts = iter(DOUBTS)
    return best, readings


def _pressure(bounds: Sequence[Bound], readings: Sequence[Reading]) -> float:
    return max(bound.pressure(reading) for bound, reading in zip(bounds, readings, strict=True))


def _written(recipe: Recipe, found: Found, costs: Mapping[str, Cost], budget: str) -> Recipe:
    """The recipe with the layers of the high groups in its base, and what was found among its calibration."""
    high: dict[str, LayerPrecision] = {}
    for group in found.high:
        cost = costs[group.value]
        if cost.low >= cost.high:
            why = f"{recipe.precision} costs more here: {cost.low / 1024:.0f} KiB against {cost.high / 1024:.0f}"
        elif len(group.layers) == 1:
            why = f"kept high by the budget: its noise alone is {found.alone[group.value]:.0f} dB"
        else:
            why = f"kept high by the budget: {len(group.layers)} layers read {group.value}, "
            why += f"and their noise alone is {found.alone[group.value]:.0f} dB"
        high |= {name: LayerPrecision(name, recipe.base, why) for name in group.layers}
    report = {
        "asked": budget,
        "predicted": found.predicted,
        "measured": found.measured,
        "held_out": found.held_out,
        "rounds": found.rounds,
        "runs": found.runs,
    }
    layers = tuple(high.get(layer.name, layer) for layer in recipe.layers)
    return dataclasses.replace(recipe, layers=layers, calibration={**recipe.calibration, "budget": report})


def _notes(measured: Sensitivity, samples: Evaluation) -> tuple[str, ...]:
    """What a count of so few samples cannot show."""
    held_out = samples.count // 2
    coarse = [b for b in measured.bounds if b.limit.metric in ("agreement", "top1") and b.limit.bound * held_out < 1]
    return tuple(
        f"{bound.limit.text} is finer than {held_out} held-out samples can show: judged by their margins"
        for bound in coarse[:1]
    )


def _out_of_reach(measured: Sensitivity, readings: Sequence[Reading], budget: str) -> BuildError:
    return BuildError(
        f"cannot be met: {measured.precision.upper()} alone is beyond it",
        where=f"budget {budget}",
        expected=", ".join(dict.fromkeys(bound.limit.text for bound in measured.bounds)),
        found=f"{measured.words([reading.value for reading in readings])} with no layer in 8 bits",
        fix="give a wider budget, or ask for fp32",
    )
