"""Times two graphs against each other on this machine's CPU, or two engines on its GPU, as the runtime runs them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deploy.backends.base import Backend
from deploy.backends.onnxruntime import OnnxRuntimeBackend
from deploy.backends.tensorrt import TensorRTBackend
from deploy.errors import BackendError
from deploy.gpu import gpus
from deploy.manifest import TensorSpec
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
    return in_turn([OnnxRuntimeBackend(graph, "onnxruntime-cpu", "graph") for graph in (first, second)], inputs)


def on_gpu(first: bytes, second: bytes, target: str, batch: int) -> Latencies | None:
    """Runs two engines of a target in turn on random inputs, copies to and from the GPU included.

    None where this machine has no GPU that runs both.
    """
    if not gpus():
        return None
    with contextlib.ExitStack() as opened:
        try:
            engines = []
            for data in (first, second):
                engines.append(TensorRTBackend(data, target, "the engine that was built"))
                opened.callback(engines[-1].close)
        except BackendError:
            return None
        return in_turn(engines, random_inputs(engines[0].inputs, batch))


def random_inputs(specs: Iterable[TensorSpec], batch: int) -> dict[str, Array]:
    """Normal floats, and integers of 0 and 1; an unknown size is the batch."""
    random = np.random.default_rng(0)
    inputs = {}
    for spec in specs:
        shape = tuple(batch if isinstance(size, str) else size for size in spec.shape)
        values = random.normal(size=shape) if np.dtype(spec.dtype).kind == "f" else random.integers(0, 2, shape)
        inputs[spec.name] = np.asarray(values, spec.dtype)
    return inputs


def in_turn(sessions: Sequence[Backend], inputs: Mapping[str, Array]) -> Latencies:
    """Runs both of two sessions in turn for `SECONDS`, or `RUNS` times."""
    for session in [*sessions] * WARMUP:
        session.run(inputs)
    found: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + SECONDS
    while len(found[0]) < 3 or (len(found[0]) < RUNS and time.perf_counter() < end):
        for session, measured in zip(sessions, found, strict=True):
            start = time.perf_counter()
            session.run(inputs)
            measured.append(1000 * (time.perf_counter() - start))
    return Latencies(float(np.median(found[0])), float(np.median(found[1])))
