"""Branches and loops in engines: what a body reads from the graph around it has the type the body computes in."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import ops

import engines
from converters import convert
from deploy.manifest import Profile
from engines.graphs import load
from engines.targets.base import find

RTX = importlib.util.find_spec("tensorrt_rtx") is not None

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "If": lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2.0, lambda: x + 1.0),
    "Loop": lambda x: ops.fori_loop(0, 12, lambda i, y: y * 1.01 + x, x),
    "Scan": lambda x: ops.swapaxes(ops.map(lambda row: row * ops.sum(x), ops.swapaxes(x, 0, 1)), 0, 1),
}


class Apply(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type information
    def __init__(self, kind: str) -> None:
        super().__init__(name="apply")
        self.kind = kind

    def call(self, x: Any) -> Any:
        return FUNCTIONS[self.kind](x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def _graph(kind: str) -> onnx.ModelProto:
    inputs = keras.Input((12, 8), name="x")
    x = keras.layers.Dense(8, name="first")(inputs)
    return convert(keras.Model(inputs, keras.layers.Dense(4, name="last")(Apply(kind)(x))))


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_body_builds_in_every_precision(kind: str, precision: str) -> None:
    proto = _graph(kind)
    assert kind in [node.op_type for node in proto.graph.node]
    samples = {"x": np.random.default_rng(0).standard_normal((16, 12, 8)).astype(np.float32)}
    result = find("tensorrt-rtx").build(load(proto), engines.recipe(proto, precision, calibration=samples), Profile())
    assert {layer.name: layer.found for layer in result.layers} == {
        "first/MatMul": precision,
        "last/MatMul": precision,
    }
