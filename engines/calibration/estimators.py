"""Estimators of an activation's range: each gives, from a histogram of magnitudes, the largest one that is kept.

What lies beyond it is clipped. A smaller range has finer steps for all that it holds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from deploy.errors import BuildError
from engines.calibration.histogram import BINS, Histogram

LEVELS = 128
"""Magnitudes of symmetric 8-bit integers: 0 to 127."""
ENTROPY_STRIDE = 8
"""Bins between two ranges that `entropy` compares: a quarter of a percent of the span of the histogram."""


def minmax(histogram: Histogram) -> float:
    """The largest magnitude that was seen: nothing is clipped."""
    return histogram.amax


def percentile(histogram: Histogram, percent: float) -> float:
    """The magnitude that ``percent`` of the elements do not exceed (Wu et al. 2020, "Integer Quantization for Deep
    Learning Inference"), to the upper edge of its bin.
    """
    wanted = percent / 100 * histogram.counts.sum()
    index = int(np.searchsorted(np.cumsum(histogram.counts), wanted))
    return float(min((index + 1) * histogram.width, histogram.amax))


def mse(histogram: Histogram) -> float:
    """The range of least mean squared error of the rounded and clipped values themselves.

    With the step d = amax / 127: an element below d / 2 becomes 0 and errs by itself, one within the range by d^2 / 12
    on average (Widrow and Kollar 2008, "Quantization Noise"), one beyond it by its distance to amax.
    """
    centers = (np.arange(BINS) + 0.5) * histogram.width
    counts = histogram.counts.astype(np.float64)
    first, second = np.cumsum(counts * centers), np.cumsum(counts * centers**2)
    total = np.cumsum(counts)
    ends = np.arange(1, _used(histogram) + 1)
    amax = ends * histogram.width
    amax[-1] = histogram.amax
    step = amax / (LEVELS - 1)
    zeros = np.clip((step / 2 / histogram.width).astype(np.intp), 0, ends)  # bins that become 0
    below = np.where(zeros > 0, second[zeros - 1], 0.0)
    inside = (total[ends - 1] - np.where(zeros > 0, total[zeros - 1], 0.0)) * step**2 / 12
    beyond = total[-1] - total[ends - 1]
    clipped = (second[-1] - second[ends - 1]) - 2 * amax * (first[-1] - first[ends - 1]) + amax**2 * beyond
    return float(amax[np.argmin(below + inside + np.maximum(clipped, 0))])


def entropy(histogram: Histogram) -> float:
    """The range whose quantized distribution diverges least (Kullback-Leibler) from the one that was seen.

    Migacz 2017, "8-bit Inference with TensorRT" (GTC): for each range of at least 128 bins, P is the histogram within
    it with all that is clipped in the last bin; Q is the same without it, merged to 128 levels and spread again
    evenly over the bins of each level that are not empty. Zeros, which every range represents, are left out.
    """
    used = _used(histogram)
    counts = histogram.counts[:used].astype(np.float64)
    counts[0] = 0
    if used <= LEVELS or not counts.any():
        return histogram.amax
    ends = [*range(LEVELS, used, ENTROPY_STRIDE), used]
    divergences = [_divergence(counts, end) for end in ends]
    return float(min(ends[int(np.argmin(divergences))] * histogram.width, histogram.amax))


def _divergence(counts: npt.NDArray[np.float64], end: int) -> float:
    filled = counts[:end] > 0
    level = np.arange(end) * LEVELS // end
    mass = np.bincount(level, weights=counts[:end], minlength=LEVELS)
    bins = np.bincount(level, weights=filled, minlength=LEVELS)
    p = counts[:end].copy()
    p[-1] += counts[end:].sum()
    # what is clipped to a bin that was empty meets one element there: the divergence stays finite
    q = np.where(filled, mass[level] / np.maximum(bins[level], 1), p > 0)
    p, q = p[p > 0] / p.sum(), q[p > 0] / q.sum()
    return float((p * np.log(p / q)).sum())


def _used(histogram: Histogram) -> int:
    """Bins up to the largest magnitude."""
    return max(1, min(BINS, int(np.ceil(histogram.amax / histogram.width))))


def _percentile(percent: float) -> Callable[[Histogram], float]:
    return lambda histogram: percentile(histogram, percent)


ESTIMATORS: dict[str, Callable[[Histogram], float]] = {
    "minmax": minmax,
    "percentile 99.999": _percentile(99.999),
    "percentile 99.99": _percentile(99.99),
    "percentile 99.9": _percentile(99.9),
    "entropy": entropy,
    "mse": mse,
}
"""By the name that a recipe records."""
OUTPUT = "output"
"""The one that a histogram alone does not give: by the error behind the layers (`engines.calibration.consumers`)."""
METHODS = {"minmax": "minmax", "percentile": "percentile 99.99", "entropy": "entropy", "mse": "mse", OUTPUT: OUTPUT}
"""What may be asked for by name, beside ``auto``, and its estimator."""


def clips(estimator: str) -> bool:
    """Whether it may give less than all that was seen."""
    return estimator == OUTPUT or (estimator in ESTIMATORS and estimator != "minmax")


def check_method(method: str) -> None:
    """Raises BuildError for a calibration method of another name."""
    if method not in ("auto", *METHODS):
        raise BuildError(
            "unknown calibration method",
            where="calibration method",
            expected=", ".join(("auto", *METHODS)),
            found=repr(method),
            fix="leave it out: auto takes for each value what errs least at the outputs",
        )
