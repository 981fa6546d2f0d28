"""Times two graphs against each other on this machine's CPU, as the runtime runs them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploy.backends.onnxruntime import OnnxRuntimeBackend
from deploy.npz import Array

SECONDS, RUNS, WARMUP = 2.0, 100, 3
"""No new pair of runs after so long or so many; at least 3 pairs."""


@dataclass(frozen=True)
class Latencies:
    """Median milliseconds of one run of each graph."""

    first: float
    second: float

    @property
    def gain(self) -> float:
        """How many times faster the second is."""
        return self.first / self.second


def latencies(first: bytes, second: bytes, inputs: Mapping[str, Array]) -> Latencies:
    """Runs two serialized graphs in turn on the same inputs, so that a busy neighbour slows both alike.

    One thread that never spins, every optimization on. Raises BackendError where a graph cannot be run.
    """
    sessions = [OnnxRuntimeBackend(graph, "onnxruntime-cpu", "graph") for graph in (first, second)]
    for session in sessions * WARMUP:
        session.run(inputs)
    found: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    while len(found[0]) < 3 or (len(found[0]) < RUNS and time.perf_counter() < end):
        for session, measured in zip(sessions, found, strict=True):
            start = time.perf_counter()
            session.run(inputs)
            measured.append(1000 * (time.perf_counter() - start))
    return Latencies(float(np.median(found[0])), float(np.median(found[1])))
