"""What each group does to the outputs: measured one by one, so that any choice of them can be predicted by sums.

1. The noise of the base alone, and with each group alone in 8 bits.
2. Pairs among the `NOISIEST`: where two of them make `TOGETHER` more or less than their sum (a value, and the sum that
   it flows into past a layer), what they make is kept beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.recipe import Recipe
from engines.search.bounds import LEAST, Reading, bounds_of, noise_to_signal, shapes_of
from engines.search.budget import parse
from engines.search.groups import groups_of
from engines.search.samples import Evaluation, assign
from engines.search.switched import Outputs, Switched

SEARCHED, HELD_OUT = slice(0, None, 2), slice(1, None, 2)
"""The samples that the noises are measured on, and those that a choice is checked on."""
NOISIEST = 6
TOGETHER = 0.25
"""Part of the two noises' sum, 1 dB."""


class Sensitivity:
    """What was measured of a recipe on some samples, under the bounds of a budget.

    ``base`` (bounds,): the noise with all groups high. ``added`` (bounds, groups): what each adds. ``pairs``: what two
    add together beyond that. ``alone``: SQNR in dB at the worst output with that group alone in 8 bits.
    """

    def __init__(
        self, model: ir.Model, recipe: Recipe, samples: Evaluation, budget: str, where: str = "calibration data"
    ) -> None:
        self.groups = groups_of(model, recipe)
        self.precision = recipe.base
        self._run = Switched(model, recipe, self.groups)
        self._exact, self._samples = self._run.exact(samples.inputs), samples
        labels = assign(samples.labels, shapes_of(self._run.logits, self._exact), where)
        self.bounds = bounds_of(parse(budget), self._run.logits, self._exact, labels)
        self.base = self.noise(self.outputs((), SEARCHED), SEARCHED)
        self.added = np.zeros((len(self.bounds), len(self.groups)))
        self.alone: dict[str, float] = {}
        for index, group in enumerate(self.groups):
            outputs = self.outputs((group.value,), SEARCHED)
            self.added[:, index] = np.maximum(self.noise(outputs, SEARCHED) - self.base, 0)
            self.alone[group.value] = self.sqnr(outputs, SEARCHED)
        self.pairs = self._interactions()

    @property
    def runs(self) -> int:
        """Simulated runs so far."""
        return self._run.runs

    def outputs(self, low: Collection[str], part: slice) -> Outputs:
        """The logits of some samples with these groups in 8 bits."""
        return self._run.run(self._samples.part(part), low)

    def readings(self, outputs: Outputs, part: slice) -> tuple[Reading, ...]:
        """What each bound reads."""
        return tuple(bound.read(self._exact[bound.index][part], outputs[bound.index], part) for bound in self.bounds)

    def noise(self, outputs: Outputs, part: slice) -> npt.NDArray[np.float64]:
        """The noise that each bound limits."""
        return np.array([reading.noise for reading in self.readings(outputs, part)])

    def sqnr(self, outputs: Outputs, part: slice) -> float:
        """Signal to noise at the worst output, in dB."""
        noises = [noise_to_signal(e[part], f) for e, f in zip(self._exact, outputs, strict=True)]
        return -10 * math.log10(max(*noises, LEAST))

    def predicted(self, low: Collection[str]) -> npt.NDArray[np.float64]:
        """The noise of a choice by sums."""
        chosen = np.array([group.value in low for group in self.groups], bool)
        noise: npt.NDArray[np.float64] = self.base + self.added[:, chosen].sum(axis=1)
        for (i, j), more in self.pairs.items():
            noise += more * (chosen[i] and chosen[j])
        return np.maximum(noise, self.base)

    def words(self, values: Sequence[float]) -> str:
        """The bounds' values in words."""
        return ", ".join(dict.fromkeys(b.words(v) for b, v in zip(self.bounds, values, strict=True)))

    def expected(self, noise: npt.NDArray[np.float64]) -> str:
        """What a noise amounts to, in words."""
        values = [b.expected(n, self._exact[b.index], slice(None)) for b, n in zip(self.bounds, noise, strict=True)]
        return self.words(values)

    def _interactions(self) -> dict[tuple[int, int], npt.NDArray[np.float64]]:
        """Rule 2."""
        allowed = np.array([bound.allowed for bound in self.bounds])
        weight = np.nan_to_num((self.added / allowed[:, None]).max(axis=0), posinf=0)
        found = {}
        for i, j in itertools.combinations(sorted(np.argsort(-weight)[:NOISIEST].tolist()), 2):
            low = (self.groups[i].value, self.groups[j].value)
            sums = self.base + self.added[:, i] + self.added[:, j]
            more = self.noise(self.outputs(low, SEARCHED), SEARCHED) - sums
            if np.isfinite(more).all() and (np.abs(more) > TOGETHER * sums).any():
                found[i, j] = more
        return found
