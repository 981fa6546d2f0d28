"""Models, samples and recipes that several tests share; none of them is changed by a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import pytest

import engines
from deploy.npz import Array
from tests.engines.graphs import cbam_residual

Run = Callable[[onnx.ModelProto, Mapping[str, Array]], dict[str, Array]]


@pytest.fixture(scope="session")
def model() -> onnx.ModelProto:
    return cbam_residual()


@pytest.fixture(scope="session")
def samples() -> dict[str, Array]:
    return {"image": np.random.default_rng(1).normal(size=(64, 12, 12, 3)).astype(np.float32)}


@pytest.fixture(scope="session")
def int8(model: onnx.ModelProto, samples: dict[str, Array]) -> engines.Recipe:
    return engines.recipe(model, "int8", calibration=samples)


@pytest.fixture(scope="session")
def run() -> Run:
    def run_graph(graph: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run_graph
