"""The range of every value, updated batch by batch: its memory doesn't grow with the number of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.errors import InputError


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest element of each value over all samples, by the value's name."""

    minimum: dict[str, float]
    maximum: dict[str, float]
    samples: int
    source: dict[str, str] = field(default_factory=dict)

    def amax(self, value: str) -> float:
        """The largest magnitude that was seen."""
        return max(abs(self.minimum[value]), abs(self.maximum[value]))

    def provenance(self) -> dict[str, Any]:
        """What a recipe records of them."""
        return {**self.source, "samples": self.samples, "estimator": "min-max"}


class MinMax:
    """Accumulates `Ranges`, one batch after the other."""

    def __init__(self) -> None:
        self._minimum: dict[str, float] = {}
        self._maximum: dict[str, float] = {}
        self._samples = 0

    def update(self, values: Mapping[str, npt.NDArray[Any]], samples: int) -> None:
        """Takes in one batch.

        Raises InputError where a value came out NaN or infinite: its range would mean nothing.
        """
        for name, array in values.items():
            if not array.size:
                continue
            low, high = float(array.min()), float(array.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise InputError(
                    f"{name} becomes NaN or infinite in FP32",
                    where=f"calibration samples {self._samples} to {self._samples + samples - 1}",
                    fix="leave such samples out, or mend the model: its own FP32 outputs are not finite on them",
                )
            self._minimum[name] = min(low, self._minimum.get(name, low))
            self._maximum[name] = max(high, self._maximum.get(name, high))
        self._samples += samples

    def ranges(self, source: dict[str, str]) -> Ranges:
        """What has been seen so far."""
        return Ranges(dict(self._minimum), dict(self._maximum), self._samples, source)
