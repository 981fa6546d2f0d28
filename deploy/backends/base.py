"""What every backend offers to the Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from deploy.manifest import TensorSpec
from deploy.npz import Array


class Backend(Protocol):
    """One loaded graph or engine.

    ``name`` is what really runs (``onnxruntime-cpu``, ``tensorrt-rtx``); ``batch`` the smallest and largest batch of an
    engine's profile, None where nothing of its own bounds it. `run` takes checked, contiguous arrays by input name and
    returns new arrays by output name; it may be called from several threads. `close` gives memory back; a closed
    backend is not run again.
    """

    @property
    def name(self) -> str: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def batch(self) -> tuple[int, int] | None: ...

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...

    def close(self) -> None: ...
