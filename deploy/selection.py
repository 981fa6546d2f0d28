"""Which artifact of a bundle runs on this machine, by which backend, and why the others do not."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass

from deploy.backends import onnxruntime
from deploy.errors import BackendError
from deploy.gpu import gpus
from deploy.manifest import Artifact, Manifest

ENGINES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Target of an engine to the Python module that runs it."""

BACKENDS = ("auto", *onnxruntime.PROVIDERS, *ENGINES)
"""What can be asked for."""

PREFERENCE = ("fp16", "bf16", "int8", "fp8", "fp32")
"""The order in which ``auto`` tries engines when no precision is asked for. FP16 is first: nearly as fast as INT8 or
faster (TensorRT-RTX requantizes INT8 convolutions in a second kernel), and accurate without calibration."""


@dataclass(frozen=True)
class Candidate:
    """An artifact with the backend that would run it; ``obstacle`` says why it cannot here, "" where it can."""

    artifact: Artifact
    backend: str
    obstacle: str = ""


@dataclass(frozen=True)
class Waiting:
    """An engine of the bundle that does not run on this machine, and why."""

    artifact: Artifact
    reason: str


def candidates(manifest: Manifest, backend: str = "auto", precision: str | None = None) -> list[Candidate]:
    """What could run, best first: engines, then graphs on a GPU, then graphs on the CPU; blocked ones included.

    ``auto`` without a precision takes only the FP32 graph from ONNX Runtime: quantized graphs are run on request. A
    precision that is asked for is never replaced by another. Raises BackendError for a backend or precision that the
    bundle has nothing for.
    """
    if backend not in BACKENDS:
        raise BackendError("no such backend", where=backend, expected=", ".join(BACKENDS), fix="choose one of these")
    found = [
        candidate
        for candidate in (*_engines(manifest), *_graphs(manifest))
        if backend in ("auto", candidate.backend) and precision in (None, candidate.artifact.precision)
    ]
    if precision is None:
        found = [c for c in found if c.artifact.kind == "engine" or c.artifact.precision in ("fp32", None)]
    if not found:
        offers = sorted({f"{c.artifact.precision} on {c.backend}" for c in (*_engines(manifest), *_graphs(manifest))})
        raise BackendError(
            "the bundle has nothing for this backend and precision",
            where=manifest.name,
            expected=", ".join(offers),
            found=f"{precision or 'any precision'} on {backend}",
            fix="ask for one of these, or build the bundle with that precision and target",
        )
    return found


def waiting(manifest: Manifest) -> tuple[Waiting, ...]:
    """The engines of a bundle that this machine cannot run."""
    return tuple(Waiting(c.artifact, c.obstacle) for c in _engines(manifest) if c.obstacle)


def _engines(manifest: Manifest) -> Iterator[Candidate]:
    engines = [a for a in manifest.artifacts if a.kind == "engine" and a.target in ENGINES]
    rank = {precision: index for index, precision in enumerate(PREFERENCE)}
    for artifact in sorted(engines, key=lambda a: rank.get(a.precision or "", len(rank))):
        yield Candidate(artifact, str(artifact.target), _engine_obstacle(artifact))


def _graphs(manifest: Manifest) -> Iterator[Candidate]:
    graphs = [a for a in manifest.artifacts if a.kind == "graph" and a.target in (None, "onnxruntime")]
    graphs = [a for a in graphs if a.target == "onnxruntime" or a.precision in ("fp32", None)]
    for backend in ("onnxruntime-cuda", "onnxruntime-cpu", "onnxruntime-tensorrt"):
        for artifact in graphs:
            yield Candidate(artifact, backend, _graph_obstacle(backend))


def _engine_obstacle(artifact: Artifact) -> str:
    if not gpus():
        return "needs an NVIDIA GPU"
    module = ENGINES[str(artifact.target)]
    if importlib.util.find_spec(module) is None:
        extra = "rtx" if module == "tensorrt_rtx" else "tensorrt"
        return f"needs the Python package {module} (pip install 'kerasrt[{extra}]')"
    built_for = compute_capabilities(artifact)
    gpu = gpus()[0]
    if built_for and gpu.compute_capability not in built_for:
        named = ", ".join(f"SM{major}{minor}" for major, minor in built_for)
        return f"was built for {named}; this GPU ({gpu.name}) is SM{''.join(map(str, gpu.compute_capability))}"
    return ""


def _graph_obstacle(backend: str) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        return "needs the Python package onnxruntime (pip install 'kerasrt[cpu]')"
    if backend != "onnxruntime-cpu":
        if not gpus():
            return "needs an NVIDIA GPU"
        if backend not in onnxruntime.available():
            return "needs ONNX Runtime's GPU build (pip install 'kerasrt[gpu]')"
    return ""


def compute_capabilities(artifact: Artifact) -> tuple[tuple[int, int], ...]:
    """``details["compute_capabilities"]`` of an engine as (major, minor); "8.6", "SM86" and 86 mean the same.

    Empty where the engine does not say: it is then left to the engine's own check when it is deserialized.
    """
    listed = artifact.details.get("compute_capabilities")
    texts = [str(item) for item in listed] if isinstance(listed, (list, tuple)) else []
    digits = [re.sub(r"\D", "", text) for text in texts]
    return tuple((int(d[:-1]), int(d[-1])) for d in digits if len(d) >= 2)
