"""Latency, measured honestly: warmed up, with percentiles, and with the conditions said."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Benchmark:
    """Latency of one call in milliseconds, host to host (copies to and from a GPU included), and samples a second."""

    backend: str
    precision: str
    batch: int
    runs: int
    minimum: float
    median: float
    mean: float
    p90: float
    p99: float
    maximum: float

    @property
    def throughput(self) -> float:
        """Samples a second at the mean latency, one call after the other."""
        return 1000.0 * self.batch / self.mean


def latencies(call: Callable[[], object], runs: int, seconds: float, warmup: int) -> list[float]:
    """Milliseconds of up to ``runs`` calls, at least 3, no new one after ``seconds``; ``warmup`` calls come before."""
    for _ in range(warmup):
        call()
    measured: list[float] = []
    begin = time.perf_counter()
    while len(measured) < max(3, runs):
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        measured.append(1000.0 * (end - start))
        if end - begin > seconds and len(measured) >= 3:
            break
    return measured


def summarize(measured: list[float], backend: str, precision: str, batch: int) -> Benchmark:
    """The figures of a list of latencies in milliseconds."""
    low, median, p90, p99, high = (float(x) for x in np.percentile(measured, (0, 50, 90, 99, 100)))
    return Benchmark(backend, precision, batch, len(measured), low, median, float(np.mean(measured)), p90, p99, high)
