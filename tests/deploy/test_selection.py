"""Which artifact is taken, on machines this one is not."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from deploy import selection
from deploy.errors import BackendError
from deploy.gpu import Gpu
from deploy.manifest import Artifact, Manifest


def item(kind: str, precision: str, target: str | None, **details: Any) -> Artifact:
    return Artifact(f"{precision}.{target}.{kind}", "0" * 64, 1, kind, precision, target, details)


MANIFEST = Manifest(
    "m",
    (),
    (),
    (
        item("graph", "fp32", None),
        item("graph", "fp16", "tensorrt"),
        item("graph", "int8", "onnxruntime"),
        item("engine", "int8", "tensorrt-rtx", compute_capabilities=["SM86", "SM120"]),
        item("engine", "fp16", "tensorrt-rtx", compute_capabilities=["8.6"]),
        item("engine", "fp16", "tensorrt"),
        item("golden", "fp32", None),
    ),
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the GPUs and the installed modules of the machine."""

    def set_machine(capability: tuple[int, int] | None, *modules: str) -> None:
        gpus = () if capability is None else (Gpu("a GPU", capability),)
        monkeypatch.setattr(selection, "gpus", lambda: gpus)
        found = importlib.util.find_spec

        def find_spec(name: str, package: str | None = None) -> Any:
            known = ("onnxruntime", "tensorrt", "tensorrt_rtx")
            return (name in modules or None) if name in known else found(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        gpu_build = {"onnxruntime-cpu"} | ({"onnxruntime-cuda"} if "onnxruntime-gpu" in modules else set())
        monkeypatch.setattr(selection.onnxruntime, "available", lambda: frozenset(gpu_build))

    return set_machine


def usable(backend: str = "auto", precision: str | None = None) -> list[tuple[str | None, str]]:
    found = selection.candidates(MANIFEST, backend, precision)
    return [(c.artifact.precision, c.backend) for c in found if not c.obstacle]


def test_without_a_gpu_the_fp32_graph_runs_on_the_cpu(machine: Any) -> None:
    machine(None, "onnxruntime", "tensorrt_rtx", "onnxruntime-gpu")
    assert usable() == [("fp32", "onnxruntime-cpu")]
    assert usable(precision="int8") == [("int8", "onnxruntime-cpu")]
    assert usable(precision="fp16") == []
    assert {w.reason for w in selection.waiting(MANIFEST)} == {"needs an NVIDIA GPU"}
    assert len(selection.waiting(MANIFEST)) == 3


def test_with_a_gpu_the_fp16_engine_comes_first(machine: Any) -> None:
    machine((8, 6), "onnxruntime", "tensorrt_rtx")
    assert usable() == [("fp16", "tensorrt-rtx"), ("int8", "tensorrt-rtx"), ("fp32", "onnxruntime-cpu")]
    assert usable(precision="int8") == [("int8", "tensorrt-rtx"), ("int8", "onnxruntime-cpu")]
    (waiting,) = selection.waiting(MANIFEST)
    assert waiting.reason == "needs the Python package tensorrt (pip install 'kerasrt[tensorrt]')"


def test_an_engine_for_another_gpu_is_left_waiting(machine: Any) -> None:
    machine((12, 0), "onnxruntime", "tensorrt_rtx", "onnxruntime-gpu")
    assert usable() == [("int8", "tensorrt-rtx"), ("fp32", "onnxruntime-cuda"), ("fp32", "onnxruntime-cpu")]
    reasons = {w.artifact.file: w.reason for w in selection.waiting(MANIFEST)}
    assert reasons["fp16.tensorrt-rtx.engine"] == "was built for SM86; this GPU (a GPU) is SM120"


def test_a_graph_for_tensorrt_is_never_run_by_onnxruntime(machine: Any) -> None:
    machine(None, "onnxruntime")
    with pytest.raises(BackendError, match="has nothing for"):
        selection.candidates(MANIFEST, "onnxruntime-cpu", "fp16")


def test_nothing_installed(machine: Any) -> None:
    machine(None)
    (only,) = [c for c in selection.candidates(MANIFEST) if c.backend == "onnxruntime-cpu"]
    assert only.obstacle == "needs the Python package onnxruntime (pip install 'kerasrt[cpu]')"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [(["SM86", "sm120"], ((8, 6), (12, 0))), (["8.6", 75], ((8, 6), (7, 5))), (["CURRENT"], ()), (None, ())],
)
def test_compute_capabilities(listed: Any, expected: Any) -> None:
    assert selection.compute_capabilities(item("engine", "fp16", "tensorrt", compute_capabilities=listed)) == expected
