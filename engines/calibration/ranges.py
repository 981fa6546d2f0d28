"""What calibration saw of every value, updated batch by batch: its memory doesn't grow with the number of samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.errors import InputError
from deploy.npz import Array
from engines.calibration.histogram import Histogram


@dataclass(frozen=True)
class Ranges:
    """Smallest and largest element of each value over all samples, by the value's name.

    ``histograms``: of the values that products read. ``replay``: some of the samples, model inputs by name, on which
    ranges can be compared. ``same``: the model inputs that are equal in all samples, where there are several. ``key``:
    of the kept pass that they come from (`engines.calibration.kept`), else empty. ``channels``, where repairs are asked
    for: smallest and largest element of each channel, (2, channels), of values whose channels can be scaled.
    """

    minimum: dict[str, float]
    maximum: dict[str, float]
    samples: int
    source: dict[str, str] = field(default_factory=dict)
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    replay: Mapping[str, Array] = field(default_factory=dict)
    same: tuple[str, ...] = ()
    key: str = ""
    channels: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    def amax(self, value: str) -> float:
        """The largest magnitude that was seen."""
        return max(abs(self.minimum[value]), abs(self.maximum[value]))

    def provenance(self) -> dict[str, Any]:
        """What a recipe records of them."""
        same = {"equal in all samples": ", ".join(self.same)} if self.same else {}
        return {**self.source, "samples": self.samples, **same}


class Accumulator:
    """Accumulates `Ranges`, one batch after the other.

    ``counted`` names the values that get a histogram; ``axes`` those with ranges of their channels, and their axis.
    """

    def __init__(self, counted: Collection[str], axes: Mapping[str, int]) -> None:
        self._axes = axes
        self._channels: dict[str, npt.NDArray[np.float32]] = {}
        self._minimum: dict[str, float] = {}
        self._maximum: dict[str, float] = {}
        self._histograms = {name: Histogram() for name in counted}
        self._samples = 0

    @property
    def samples(self) -> int:
        """How many samples were taken in."""
        return self._samples

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
            if name in self._histograms:
                self._histograms[name].update(array, low, high)
            if name in self._axes:
                others = tuple(axis for axis in range(array.ndim) if axis != self._axes[name])
                found = np.stack([array.min(axis=others), array.max(axis=others)])
                seen = self._channels.get(name, found)
                self._channels[name] = np.stack([np.minimum(seen[0], found[0]), np.maximum(seen[1], found[1])])
        self._samples += samples

    def ranges(self, source: dict[str, str], replay: Mapping[str, Array], same: tuple[str, ...] = ()) -> Ranges:
        """What has been seen so far."""
        seen = {name: histogram for name, histogram in self._histograms.items() if name in self._minimum}
        channels = dict(self._channels)
        return Ranges(
            dict(self._minimum), dict(self._maximum), self._samples, source, seen, replay, same, channels=channels
        )

    def state(self) -> dict[str, Any]:
        """Everything that it holds, for `restore`."""
        histograms = {n: histogram.state() for n, histogram in self._histograms.items() if n in self._minimum}
        found = {"minimum": self._minimum, "maximum": self._maximum, "samples": self._samples, "histograms": histograms}
        return {**found, "channels": self._channels}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from that `state`."""
        self._minimum, self._maximum = dict(state["minimum"]), dict(state["maximum"])
        self._samples, self._channels = int(state["samples"]), dict(state["channels"])
        self._histograms |= {name: Histogram.restored(one) for name, one in state["histograms"].items()}


class Repeats:
    """Which inputs of a stream of samples never change: one sample of each is kept to compare with."""

    def __init__(self) -> None:
        self._first: dict[str, Array] | None = None
        self._samples = 0

    def update(self, batch: Mapping[str, Array]) -> None:
        """Takes in a batch of model inputs, samples along the first axis."""
        if self._first is None:
            self._first = {name: array[:1].copy() for name, array in batch.items()}
        self._first = {name: one for name, one in self._first.items() if _repeats(batch[name], one)}
        self._samples += len(next(iter(batch.values())))

    def names(self) -> tuple[str, ...]:
        """The inputs that were equal in all samples; none where there was one sample alone."""
        return tuple(self._first or ()) if self._samples > 1 else ()

    def state(self) -> dict[str, Any]:
        """Everything that it holds, for `restore`."""
        return {"first": self._first, "samples": self._samples}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from that `state`."""
        self._first, self._samples = state["first"], int(state["samples"])


def _repeats(array: Array, one: Array) -> bool:
    return array.shape[1:] == one.shape[1:] and bool((array == one).all())


class Reservoir:
    """A uniform random choice of at most ``size`` samples of a stream (Vitter 1985, algorithm R), always the same."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self._kept: list[dict[str, Array]] = []
        self._random = np.random.default_rng(0)

    def update(self, batch: Mapping[str, Array]) -> None:
        """Takes in a batch of model inputs, samples along the first axis."""
        for index in range(len(next(iter(batch.values())))):
            self._seen += 1
            place = len(self._kept) if len(self._kept) < self._size else int(self._random.integers(self._seen))
            if place < self._size:
                self._kept[place : place + 1] = [{name: array[index].copy() for name, array in batch.items()}]

    def samples(self) -> dict[str, Array]:
        """The chosen ones, inputs by name."""
        if not self._kept:
            return {}
        return {name: np.stack([sample[name] for sample in self._kept]) for name in self._kept[0]}

    def state(self) -> dict[str, Any]:
        """Everything that it holds, for `restore`; the random numbers that come next too."""
        return {"seen": self._seen, "kept": self.samples(), "random": self._random.bit_generator.state}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from that `state`."""
        kept = state["kept"]
        count = len(next(iter(kept.values()), ()))
        self._kept = [{name: array[index] for name, array in kept.items()} for index in range(count)]
        self._seen, self._random.bit_generator.state = int(state["seen"]), state["random"]


class Seen:
    """Everything that one pass over the samples has seen so far.

    ``whole``: whether it is up to a batch, and not in the midst of one: only then a `state` can be gone on from.
    """

    def __init__(self, counted: Collection[str], axes: Mapping[str, int], replayed: int) -> None:
        self._accumulated, self._reservoir, self._repeats = Accumulator(counted, axes), Reservoir(replayed), Repeats()
        self.whole = True

    @property
    def samples(self) -> int:
        """How many samples were taken in."""
        return self._accumulated.samples

    def update(self, inputs: Mapping[str, Array], values: Mapping[str, npt.NDArray[Any]], count: int) -> None:
        """Takes in a batch: the model's inputs, all its values, and the number of samples."""
        self.whole = False
        self._accumulated.update(values, count)
        self._reservoir.update(inputs)
        self._repeats.update(inputs)
        self.whole = True

    def ranges(self, source: dict[str, str]) -> Ranges:
        """What has been seen so far; ``source``: where the samples come from."""
        return self._accumulated.ranges(source, self._reservoir.samples(), self._repeats.names())

    def state(self) -> dict[str, Any]:
        """Everything that it holds, numbers, text and arrays, for `restore`."""
        return {
            "accumulated": self._accumulated.state(),
            "reservoir": self._reservoir.state(),
            "repeats": self._repeats.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from that `state`."""
        self._accumulated.restore(state["accumulated"])
        self._reservoir.restore(state["reservoir"])
        self._repeats.restore(state["repeats"])
