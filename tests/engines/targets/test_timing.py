"""Two engines against each other on a GPU, by the clock; here on engines that wait as long as they are told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy.errors import BackendError
from deploy.gpu import Gpu
from deploy.manifest import BATCH, TensorSpec
from deploy.npz import Array
from engines.build.budget import weigh
from engines.layer_table import LayerTable, Row
from engines.recipe import LayerPrecision, Recipe
from engines.targets import timing


class Engine:
    """Its bytes say how many milliseconds a run takes; ``x`` if the GPU refuses it."""

    inputs = (TensorSpec("image", (BATCH, 4, "axis1"), "float32"), TensorSpec("ids", (BATCH,), "int32"))
    closed: list[bytes] = []  # noqa: RUF012

    def __init__(self, data: bytes, name: str, where: str) -> None:
        if data == b"x":
            raise BackendError("the engine is for another GPU", where=where)
        self.data, self.seconds = data, int(data) / 1000

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        assert inputs["image"].shape == (2, 4, 2)
        assert inputs["ids"].dtype == np.int32
        time.sleep(self.seconds)
        return {}

    def close(self) -> None:
        Engine.closed.append(self.data)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "gpus", lambda: (Gpu("a GPU", (8, 6)),))
    monkeypatch.setattr(timing, "TensorRTBackend", Engine)
    monkeypatch.setattr(timing, "SECONDS", 0.1)
    Engine.closed.clear()


def test_without_a_gpu_nothing_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "gpus", lambda: ())
    assert timing.on_gpu(b"1", b"1", "tensorrt-rtx", 1) is None


def test_engines_run_in_turn_and_are_closed(gpu: None) -> None:
    measured = timing.on_gpu(b"6", b"2", "tensorrt-rtx", 2)
    assert measured is not None
    assert measured.first >= 6
    assert measured.gain > 1
    assert sorted(Engine.closed) == [b"2", b"6"]
    assert timing.on_gpu(b"6", b"x", "tensorrt-rtx", 2) is None
    assert Engine.closed[2:] == [b"6"]


@pytest.mark.parametrize(("fp16", "int8", "kept"), [(b"6", b"1", "int8"), (b"1", b"6", "fp16"), (b"6", b"x", "fp16")])
def test_auto_keeps_what_is_faster_on_the_gpu(gpu: None, fp16: bytes, int8: bytes, kept: str) -> None:
    """Whatever the layer tables say: here that 8 bits take a kernel more, which counts where the clock cannot."""

    def made(precision: str, kernels: int, data: bytes) -> Any:
        layers = (LayerPrecision("conv", precision, ""),)
        table = LayerTable((Row("k", "kgen", (), (), (), "", ()),) * kernels)
        return SimpleNamespace(recipe=Recipe(precision, "fp16", layers), built=SimpleNamespace(table=table, data=data))

    asked: Any = SimpleNamespace(
        auto=True, target="tensorrt-rtx", budget="sqnr=30dB", profile=SimpleNamespace(optimum=2)
    )
    found, notes = weigh(asked, [made("fp16", 1, fp16), made("int8", 2, int8)])
    assert [one.recipe.precision for one in found] == [kept]
    assert ("on this machine's GPU" in notes[0]) == (int8 != b"x")
    assert notes[0].endswith(f": {kept} is kept")
