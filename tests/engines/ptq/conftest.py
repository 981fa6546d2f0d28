"""The net with an outlier, and a recipe of it with every kind of repair; none is changed by a test."""

from __future__ import annotations

import onnx
import pytest

from engines.calibration.collect import collect
from engines.graphs import load
from engines.ptq.repair import Pipeline, Plan
from engines.recipe import Recipe
from engines.recipe.rules import decide
from tests.engines.ptq.nets import inputs, with_outlier


@pytest.fixture(scope="session")
def outlier() -> onnx.ModelProto:
    return with_outlier()


@pytest.fixture(scope="session")
def repaired(outlier: onnx.ModelProto) -> Recipe:
    graph = load(outlier)
    ranges = collect(graph, inputs(32, 1), repairs=True)
    pipeline = Pipeline(graph, lambda model, seen: decide(model, "int8", seen, "minmax"))
    return pipeline.make(Plan(0.5, "rounding"), ranges)
