"""Which range each quantized value gets: of one estimator for all, which ``auto`` chooses by the error at the outputs.

``auto`` compares complete INT8 recipes on a replay of calibration samples, simulated as the engine computes:
1. It starts from the ranges of least error behind the layers that read each value (`engines.calibration.consumers`).
   They are found layer by layer, so that they suit other samples nearly as well as those of the replay; min-max, the
   usual start, hangs on single outliers (on our nets 0.3 to 10 dB worse on samples held out).
2. Each other estimator for all values, against that: kept where it saves `NEAR` of the error.
Value by value nothing more is changed by the error at the outputs: what that gained on the replay (1.5 dB) MEAN_Spot
with CBAM lost on samples held out.
The error is the noise power relative to the signal's, summed over the outputs (the logits where an output is a closing
Softmax or Sigmoid). A change must hold in both halves of the samples: what only suits some of them is not taken. No
estimator is best for all networks (Wu et al. 2020, "Integer Quantization for Deep Learning Inference").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.apply import applied
from engines.calibration.consumers import PARTS, least_errors
from engines.calibration.estimators import ESTIMATORS, METHODS, OUTPUT, minmax
from engines.calibration.open_scales import half, open_scales
from engines.calibration.ranges import Ranges
from engines.graphs import compute_nodes, load, name_of, products
from engines.logits import logits, return_values
from engines.recipe import INT8_MAXIMUM, Recipe
from engines.recipe.fp16 import SMALLEST_NORMAL
from engines.sessions import input_specs, session

GAIN = 0.2
"""Part of the noise power that a change must save: 1 dB. With less, the held-out error of our models got worse too."""
NEAR = 0.05
"""The same for one estimator for all values, of which few are compared; one half of the samples may lose it twice."""
ENOUGH = 8
"""Fewer samples than this do not tell estimators apart: all values keep min-max."""
WORK = 2e11
"""Multiplications that a choice may take: seconds on two cores."""
BATCH = 64

Noise = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Choice:
    """Per value the largest magnitude that is kept and the estimator that gave it; ``why``: what was measured."""

    amax: dict[str, float] = field(default_factory=dict)
    estimators: dict[str, str] = field(default_factory=dict)
    method: str = "minmax"
    why: str = ""


def uniform(ranges: Ranges, method: str) -> Choice:
    """One method of `engines.calibration.estimators.METHODS` for every value that has a histogram, but `OUTPUT`."""
    estimator = METHODS[method]
    return Choice(_estimated(ranges, ranges.histograms, estimator), dict.fromkeys(ranges.histograms, estimator), method)


def by_outputs(model: ir.Model, recipe: Recipe, ranges: Ranges) -> Choice:
    """The method ``output`` for an INT8 recipe that has min-max ranges."""
    values, samples = _values(model, recipe, ranges), _replayed(model, ranges)
    if not (values and samples):
        return uniform(ranges, "minmax")
    amax = _raised(ranges, least_errors(model, recipe, ranges, values, samples))
    return Choice(amax, _told(ranges, amax, OUTPUT), OUTPUT)


def choose(model: ir.Model, recipe: Recipe, ranges: Ranges) -> Choice:
    """The choice of ``auto`` for an INT8 recipe that has min-max ranges."""
    values, samples = _values(model, recipe, ranges), _replayed(model, ranges)
    there = len(next(iter(ranges.replay.values()), ()))
    if there < ENOUGH or not values:
        return Choice(
            method="auto",
            why=f"min-max: only {there} sample{'s' * (there != 1)}, too few to compare with" if values else "",
        )
    estimates = {name: _estimated(ranges, values, name) for name in ESTIMATORS}
    estimates[OUTPUT] = _raised(ranges, least_errors(model, recipe, ranges, values, samples))
    replay, count = Replay(model, recipe, samples), len(next(iter(samples.values())))
    found = {name: replay.noise(amax) for name, amax in estimates.items()}
    best = least(found)
    measured = ", ".join(f"{name} {decibels(noise)}" for name, noise in found.items())
    why = f"{count} samples replayed, {measured} dB; {best} taken"
    return Choice(estimates[best], _told(ranges, estimates[best], best), "auto", why)


def _told(ranges: Ranges, amax: Mapping[str, float], estimator: str) -> dict[str, str]:
    """The estimators to record: where nothing is clipped, that of all that was seen."""
    return {value: "minmax" if kept >= ranges.amax(value) else estimator for value, kept in amax.items()}


def _values(model: ir.Model, recipe: Recipe, ranges: Ranges) -> list[str]:
    """The values that INT8 layers read, in the graph's order."""
    int8 = [node for node in compute_nodes(model) if recipe.precision_of(node.name or "") == "int8"]
    values = dict.fromkeys(name_of(node.inputs[0]) for node in int8 if node.inputs[0] is not None)
    return [value for value in values if value in ranges.histograms]


def _replayed(model: ir.Model, ranges: Ranges) -> dict[str, npt.NDArray[Any]]:
    """As many samples of the replay as `WORK` allows, but 4."""
    count = int(max(4, WORK // (multiplications(model) * (len(ESTIMATORS) + len(PARTS)))))
    return {name: array[:count] for name, array in ranges.replay.items()}


def least(found: Mapping[str, Noise]) -> str:
    """The estimator of least noise among those that are better than `OUTPUT`; that where none is.

    Each is held against that, not against the one before it: two that differ by little may both be better.
    """
    good = [name for name in found if better(found[name], found[OUTPUT], NEAR, 2 * NEAR)]
    return min(good, key=lambda name: float(found[name].sum()), default=OUTPUT)


def multiplications(model: ir.Model) -> float:
    """Of all Conv, Gemm and MatMul with constant weights, per sample."""
    return max(1.0, sum(products(node) for node in compute_nodes(model)))


def _estimated(ranges: Ranges, values: Iterable[str], estimator: str) -> dict[str, float]:
    """Ranges by one estimator of histograms."""
    return _raised(ranges, {value: ESTIMATORS[estimator](ranges.histograms[value]) for value in values})


def _raised(ranges: Ranges, amax: Mapping[str, float]) -> dict[str, float]:
    """None has a smaller scale than FP16 can hold, if its min-max range does not."""
    least = SMALLEST_NORMAL * INT8_MAXIMUM
    return {value: max(found, min(least, minmax(ranges.histograms[value]))) for value, found in amax.items()}


def better(noise: Noise, than: Noise, gain: float = GAIN, loss: float = 0.0) -> bool:
    """Whether a change is to be kept, by the noise in each half of the samples: by ``gain`` less in both together, and
    by no more than ``loss`` more in either, parts of the noise without it.
    """
    return bool(noise.sum() < (1 - gain) * than.sum() and (noise <= (1 + loss) * than).all())


def decibels(noise: Noise) -> str:
    """Noise relative to the signal, as the SQNR in dB."""
    return f"{-10 * np.log10(max(float(noise.mean()), 1e-30)):.1f}"


class Replay:
    """The simulated graph, with the scales of its values as inputs, and what FP32 gives on the same samples."""

    def __init__(self, model: ir.Model, recipe: Recipe, samples: Mapping[str, npt.NDArray[np.generic]]) -> None:
        fixed = next((s.shape[0] for s in input_specs(model) if isinstance(s.shape[0], int)), None)
        size, count = fixed or BATCH, len(next(iter(samples.values())))
        count = count // fixed * fixed if fixed else count
        self._batches = [{n: a[i : i + size] for n, a in samples.items()} for i in range(0, count, size)]
        exact, simulated = load(model), applied(recipe, model, "simulate")
        names = [logits(value).value for value in exact.graph.outputs]
        self._scales = open_scales(simulated)
        return_values(exact, names)
        return_values(simulated, names)
        run = session(exact, optimize=True)
        self._expected = self._outputs(run, {})
        self._session = session(simulated, optimize=False)

    def noise(self, amax: Mapping[str, float]) -> Noise:
        """Noise power relative to the signal's with these ranges, summed over outputs; of each half of the samples."""
        scales = {name: half(amax[value]) for value, name in self._scales.items()}
        noise = np.zeros(2)
        for found, exact in zip(self._outputs(self._session, scales), self._expected, strict=True):
            error = (found - exact) ** 2
            noise += [error[half::2].sum() / max(float((exact[half::2] ** 2).sum()), 1e-30) for half in range(2)]
        return np.where(np.isfinite(noise), noise, np.inf)

    def _outputs(self, run: Any, scales: Mapping[str, npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float64]]:
        """The outputs for all batches, samples along the first axis."""
        found = [run.run(None, {**batch, **scales}) for batch in self._batches]
        return [np.concatenate(arrays).astype(np.float64) for arrays in zip(*found, strict=True)]
