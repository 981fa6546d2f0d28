"""Branches and loops in engines: a body computes in the type of its node, and what it reads from outside has it too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from keras import ops
from onnx import helper

import engines
from converters import convert
from deploy.manifest import Profile
from engines.apply.bodies import inner_nodes
from engines.apply.casting import TYPES
from engines.graphs import is_float, load
from engines.targets.base import find

RTX = importlib.util.find_spec("tensorrt_rtx") is not None

Function = Callable[[Any], Any]
FUNCTIONS: dict[str, Function] = {
    "If": lambda x: ops.cond(ops.sum(x) > 0, lambda: x * 2.0, lambda: x + 1.0),
    "Loop": lambda x: ops.fori_loop(0, 12, lambda i, y: y * 1.01 + x, x),
    "Scan": lambda x: ops.swapaxes(ops.map(lambda row: row * ops.sum(x), ops.swapaxes(x, 0, 1)), 0, 1),
}


class Apply(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type information
    def __init__(self, function: Function) -> None:
        super().__init__(name="apply")
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape


def _graph(function: Function) -> onnx.ModelProto:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((12, 16), name="x")
    x = keras.layers.Dense(16, name="first")(inputs)
    return convert(keras.Model(inputs, keras.layers.Dense(16, name="last")(Apply(function)(x))))


def _samples(scale: float = 1) -> dict[str, Any]:
    return {"x": scale * np.random.default_rng(0).standard_normal((16, 12, 16)).astype(np.float32)}


def _simulated(precision: str, proto: onnx.ModelProto, samples: dict[str, Any]) -> Any:
    (found,) = engines.simulate(engines.recipe(proto, precision, calibration=samples), proto, samples).values()
    return found


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_body_has_the_type_asked_for_and_no_cast_around_it(kind: str, precision: str) -> None:
    proto = _graph(FUNCTIONS[kind])
    typed = ir.from_proto(engines.apply(engines.recipe(proto, precision), proto, "tensorrt"))
    onnx.checker.check_model(ir.to_proto(typed), full_check=True)
    assert sum(node.op_type == "Cast" for node in typed.graph.all_nodes()) == 2  # the input's and the output's
    (node,) = (node for node in typed.graph if node.op_type == kind)
    kinds = {value.dtype for inner in inner_nodes(node) for value in inner.outputs if is_float(value)}
    assert kinds == {TYPES[precision]}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_the_simulation_rounds_within_a_body(kind: str) -> None:
    proto = _graph(FUNCTIONS[kind])
    simulated = ir.from_proto(engines.apply(engines.recipe(proto, "fp16"), proto, "simulate"))
    (node,) = (node for node in simulated.graph if node.op_type == kind)
    assert sum(inner.op_type == "Cast" for inner in inner_nodes(node)) >= 2
    exact, found = (_simulated(precision, proto, _samples()) for precision in ("fp32", "fp16"))
    assert 1e-5 < np.abs(found - exact).max() / np.abs(exact).max() < 2e-2


def test_a_loop_that_overflows_on_the_way_is_not_finite_in_the_simulation() -> None:
    """Calibration does not see the steps."""

    def there_and_back(i: Any, y: Any) -> Any:
        return ops.where(i < 16, y * 2.0, y * 0.5)

    proto = _graph(lambda x: ops.fori_loop(0, 32, there_and_back, x))
    assert np.isfinite(_simulated("fp32", proto, _samples(8))).all()
    assert not np.isfinite(_simulated("fp16", proto, _samples(8))).all()


def test_an_epsilon_in_a_body_keeps_it_high_and_says_so() -> None:
    proto = _graph(lambda x: ops.fori_loop(0, 12, lambda i, y: y / (ops.abs(y) + 1e-8), x))
    recipe = engines.recipe(proto, "fp16")
    (why,) = (layer.why for layer in recipe.layers if layer.precision == "fp32" and "in its body" in layer.why)
    assert "in its body: its constant 1e-08 is too small for FP16" in why
    onnx.checker.check_model(engines.apply(recipe, proto, "tensorrt"), full_check=True)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_body_that_cannot_have_the_type_is_fp32_and_the_recipe_says_why(precision: str) -> None:
    proto = _graph(FUNCTIONS["Loop"])
    (loop,) = (node for node in proto.graph.node if node.op_type == "Loop")
    body = loop.attribute[0].g
    limits = [
        helper.make_node("Constant", [], [name], value_float=value)
        for name, value in (("a", 0.0), ("b", 16.0), ("c", 1.0))
    ]
    ramp = helper.make_node("Range", ["a", "b", "c"], ["ramp"], name="ramp")
    last = body.node[-1 if body.node[-1].op_type == "Add" else -2]
    added = helper.make_node("Add", [last.output[0], "ramp"], ["ramped"], name="ramped")
    body.node.extend([*limits, ramp, added])
    for value in body.output:
        if value.name == last.output[0]:
            value.name = "ramped"
    proto = onnx.shape_inference.infer_shapes(proto)
    recipe = engines.recipe(proto, precision)
    (high,) = (layer for layer in recipe.layers if layer.name == loop.name)
    assert (high.precision, high.why) == ("fp32", "with its body in FP32: ONNX does not define Range (ramp) for it")
    onnx.checker.check_model(engines.apply(recipe, proto, "tensorrt"), full_check=True)


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_body_builds_in_every_precision(kind: str, precision: str) -> None:
    proto = _graph(FUNCTIONS[kind])
    assert kind in [node.op_type for node in proto.graph.node]
    recipe = engines.recipe(proto, precision, calibration=_samples())
    result = find("tensorrt-rtx").build(load(proto), recipe, Profile())
    assert {layer.name: layer.found for layer in result.layers} == {
        "first/MatMul": precision,
        "last/MatMul": precision,
    }


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_products_of_a_body_are_in_the_layer_table_as_asked(precision: str) -> None:
    weights = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float32) / 4
    proto = _graph(lambda x: ops.cond(ops.sum(x) > 0, lambda: ops.matmul(x, weights), lambda: x + 1.0))
    result = find("tensorrt-rtx").build(load(proto), engines.recipe(proto, precision), Profile())
    assert {layer.found for layer in result.layers} == {precision}
    assert len(result.layers) == 3
