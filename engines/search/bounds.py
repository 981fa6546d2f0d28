"""What a budget allows: per bound and output a noise that adds up over fusion groups, how much of it, what it means.

1. sqnr: the error's power over the signal's (10^(-dB/10) of it); the errors of two groups are next to uncorrelated.
2. kl: the mean divergence; for small errors it is quadratic in them (Kullback 1959, "Information Theory and
   Statistics", ch. 2), so it adds up like their power.
3. agreement, top1: the power of the error in the *margin* between FP32's two largest classes (or a sigmoid's logit).
   A sample of margin m changes sides with probability Phi(-m / sigma) under normal noise of that power, which is taken
   from the samples with small margins; the mean of the probability over all is the share to expect, and finer than
   any count of few samples. top1 with labels: among the samples that FP32 gets right; what happens to come right by
   noise is not counted on.
A reading is within a bound if the noise is, and what was counted is too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deploy.errors import BuildError
from engines.logits import Logits
from engines.search.budget import Limit

Floats = npt.NDArray[np.float64]
LEAST = 1e-30
CLOSE = 16
"""Fewest decisions that the noise of the margin is taken from."""


@dataclass(frozen=True)
class Reading:
    """One bound on some samples: its ``noise``, and in the budget's terms the ``value`` (dB, nats or a share)."""

    noise: float
    value: float


@dataclass(frozen=True)
class Bound:
    """One limit at one output (position ``index``): the noise that is ``allowed``; ``labels``: classes, or None."""

    limit: Limit
    index: int
    logits: Logits
    allowed: float
    labels: npt.NDArray[np.int64] | None = None

    def read(self, exact: Floats, found: Floats, chosen: slice) -> Reading:
        """The reading for logits of the samples ``chosen`` of the labels."""
        if not np.isfinite(found).all():
            return Reading(math.inf, -math.inf if self.limit.metric == "sqnr" else math.inf)
        if self.limit.metric == "sqnr":
            noise = noise_to_signal(exact, found)
            return Reading(noise, -10 * math.log10(max(noise, LEAST)))
        if self.limit.metric == "kl":
            noise = _divergence(self.logits, exact, found)
            return Reading(noise, noise)
        noise = _margin_noise(self.logits, exact, found)
        return Reading(noise, _lost(self.logits, exact, found, None if self.labels is None else self.labels[chosen]))

    def pressure(self, reading: Reading) -> float:
        """By which factor the noise is beyond what is allowed; at most 1 within the bound."""
        over = reading.noise / self.allowed
        counted = self.limit.metric in ("agreement", "top1") and reading.value > self.limit.bound
        return max(over, 2.0) if counted else over

    def expected(self, noise: float, exact: Floats, chosen: slice) -> float:
        """The value of a noise, in the budget's terms."""
        if self.limit.metric == "sqnr":
            return -10 * math.log10(max(noise, LEAST))
        if self.limit.metric == "kl":
            return noise
        return _flipped(self.logits, exact, None if self.labels is None else self.labels[chosen], noise)

    def words(self, value: float) -> str:
        """A value as it is written in reports."""
        if self.limit.metric == "sqnr":
            return f"{value:.1f} dB"
        if self.limit.metric == "kl":
            return f"{value:.2g} nats"
        if self.limit.metric == "agreement":
            return f"{100 * (1 - value):.4g}% agree"
        what = "of the decisions differ" if self.labels is None else "points of accuracy lost"
        share = "less than 0.001" if 0 < value < 1e-5 else f"{100 * value:.2g}"
        return f"{share}{'%' if self.labels is None else ''} {what}"


def noise_to_signal(exact: Floats, found: Floats) -> float:
    """Power of the error over that of the signal; infinite where an output is."""
    if not np.isfinite(found).all():
        return math.inf
    return float(((found - exact) ** 2).sum() / max(float((exact**2).sum()), LEAST))


def bounds_of(
    limits: Sequence[Limit],
    logits: Sequence[Logits],
    exact: Sequence[Floats],
    labels: Mapping[str, npt.NDArray[np.int64]],
) -> tuple[Bound, ...]:
    """The bounds of a budget at each output that they speak of; ``exact``: FP32's logits on all samples.

    Raises BuildError where a limit is about classes and no output has any.
    """
    found = []
    for limit in limits:
        indices = [i for i, one in enumerate(logits) if limit.metric == "sqnr" or _has_classes(one, exact[i])]
        if not indices:
            raise BuildError(
                "no output of this model has classes",
                where=f"budget {limit.text}",
                expected="an output (batch, classes), or one that ends in Softmax or Sigmoid",
                found=", ".join(f"{one.output} {array.shape[1:]}" for one, array in zip(logits, exact, strict=True)),
                fix="give a budget on the noise itself: sqnr=30dB",
            )
        for i in indices:
            known = labels.get(logits[i].output) if limit.metric == "top1" else None
            found.append(Bound(limit, i, logits[i], _allowed(limit, logits[i], exact[i], known), known))
    return tuple(found)


def _has_classes(logits: Logits, exact: Floats) -> bool:
    """Of an output of plain numbers, two or more a sample are taken for logits: Keras's ``from_logits``."""
    return logits.squashing != "" or (exact.ndim == 2 and exact.shape[1] > 1)


def _allowed(limit: Limit, logits: Logits, exact: Floats, labels: npt.NDArray[np.int64] | None) -> float:
    if limit.metric == "sqnr":
        return float(10 ** (-limit.bound / 10))
    if limit.metric == "kl":
        return limit.bound
    low, high = LEAST, 1e6 * max(float((exact**2).mean()), LEAST)
    for _ in range(80):  # bisection: the share grows with the noise
        middle = math.sqrt(low * high)
        share = _flipped(logits, exact, labels, middle)
        low, high = (middle, high) if share <= limit.bound else (low, middle)
    return low


def _classes(logits: Logits, array: Floats) -> Floats:
    """(decisions, classes); of a Sigmoid (decisions, 2), a logit beside 0."""
    if logits.squashing == "Sigmoid":
        flat = array.reshape(-1)
        return np.stack([np.zeros_like(flat), flat], axis=1)
    return np.moveaxis(array, logits.axis, -1).reshape(-1, array.shape[logits.axis])


def _margin_noise(logits: Logits, exact: Floats, found: Floats) -> float:
    """Rule 3, of the quarter of the decisions with the smallest margins: the others do not change."""
    wanted = _classes(logits, exact)
    order = np.argsort(wanted, axis=1)[:, -2:]
    largest = np.take_along_axis(wanted, order, axis=1)
    error = np.take_along_axis(_classes(logits, found) - wanted, order, axis=1)
    close = np.argsort(largest[:, 1] - largest[:, 0])[: max(CLOSE, len(wanted) // 4)]
    return float(((error[close, 1] - error[close, 0]) ** 2).mean())


def _flipped(logits: Logits, exact: Floats, labels: npt.NDArray[np.int64] | None, noise: float) -> float:
    """Rule 3: the share of decisions that a noise of this power changes."""
    from scipy.special import ndtr

    classes = _classes(logits, exact)
    largest = np.sort(classes, axis=1)[:, -2:]
    flips = ndtr(-(largest[:, 1] - largest[:, 0]) / math.sqrt(max(noise, LEAST)))
    if labels is not None:
        flips = flips * (classes.argmax(axis=1) == labels.reshape(-1))
    return float(flips.mean())


def _lost(logits: Logits, exact: Floats, found: Floats, labels: npt.NDArray[np.int64] | None) -> float:
    """The share of decisions that differ, or with labels what is lost of the accuracy."""
    wanted, given = _classes(logits, exact).argmax(axis=1), _classes(logits, found).argmax(axis=1)
    if labels is None:
        return float((wanted != given).mean())
    flat = labels.reshape(-1)
    return float((wanted == flat).mean() - (given == flat).mean())


def _divergence(logits: Logits, exact: Floats, found: Floats) -> float:
    from scipy.special import log_softmax

    wanted, given = log_softmax(_classes(logits, exact), axis=1), log_softmax(_classes(logits, found), axis=1)
    return float((np.exp(wanted) * (wanted - given)).sum(axis=1).mean())


def shapes_of(logits: Sequence[Logits], exact: Sequence[Floats]) -> dict[str, tuple[int, int]]:
    """Per output with classes the number of decisions a sample, and of classes."""
    shapes = {}
    for one, array in zip(logits, exact, strict=True):
        if _has_classes(one, array):
            decisions, classes = _classes(one, array).shape
            shapes[one.output] = (decisions // len(array), classes)
    return shapes
