"""How often a value has which magnitude: a histogram whose memory is fixed and whose range grows with the data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 2048
"""As many as NVIDIA's calibrators take."""
THINNED = 1 << 18
"""Most elements of one batch that are counted, evenly spread over it; minimum and maximum are of all elements."""


class Histogram:
    """Counts of |x|, and the exact minimum and maximum of x.

    The bins span 0 to a power of two, the smallest one that holds every magnitude. A larger magnitude doubles the span:
    neighbouring bins are then added, which is exact, so the order in which values come does not change the counts, and
    at least half of the bins are in use.
    """

    def __init__(self) -> None:
        self.minimum, self.maximum = math.inf, -math.inf
        self.counts: npt.NDArray[np.int64] = np.zeros(BINS, np.int64)
        self._exponent: int | None = None

    def state(self) -> dict[str, Any]:
        """Everything that it holds, for `restored`."""
        return {"minimum": self.minimum, "maximum": self.maximum, "exponent": self._exponent, "counts": self.counts}

    @classmethod
    def restored(cls, state: Mapping[str, Any]) -> Histogram:
        """The histogram that had this `state`. Raises ValueError where its counts are not of this kind."""
        histogram = cls()
        counts = np.array(state["counts"])
        if counts.shape != (BINS,) or counts.dtype != np.int64:
            raise ValueError(f"counts {counts.shape} {counts.dtype}")
        histogram.minimum, histogram.maximum = float(state["minimum"]), float(state["maximum"])
        histogram._exponent, histogram.counts = state["exponent"], counts
        return histogram

    @property
    def amax(self) -> float:
        """The largest magnitude, exactly; 0 before any was seen."""
        return max(abs(self.minimum), abs(self.maximum)) if self.minimum <= self.maximum else 0.0

    @property
    def width(self) -> float:
        """The width of a bin."""
        return math.ldexp(1.0, self._exponent or 0) / BINS

    def update(self, array: npt.NDArray[Any], low: float, high: float) -> None:
        """Takes in an array of finite numbers; ``low`` and ``high`` are its smallest and largest element."""
        self.widen(low, high)
        step = -(-array.size // THINNED) | 1  # odd: not in step with channels or rows
        index = (np.abs(array.reshape(-1)[::step]) / np.float64(self.width)).astype(np.intp)
        self.counts += np.bincount(np.minimum(index, BINS - 1, out=index), minlength=BINS)

    def widen(self, low: float, high: float) -> None:
        """Takes note of a range that was seen elsewhere, without counting anything."""
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        if self.amax:
            self._hold(self.amax)

    def _hold(self, amax: float) -> None:
        """Doubles the span until it holds a magnitude."""
        needed = max(math.frexp(amax)[1], -100)  # beneath any scale
        if self._exponent is None:
            self._exponent = needed
        while self._exponent < needed:
            self.counts = np.concatenate([self.counts.reshape(-1, 2).sum(axis=1), np.zeros(BINS // 2, np.int64)])
            self._exponent += 1
