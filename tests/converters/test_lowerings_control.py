"""Branches and loops: subgraphs where they must be, none where the steps are few and known."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import pytest
from keras import layers, ops

from converters.convert import Conversion, convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, Function, check, check_graph, operations, randomize, run_session


def _check(function: Any, shape: Any = (4,), expects: str = "") -> Conversion:
    return Case(Function(function), shape, expects).check()


def _positive(x: Any) -> Any:
    return ops.sum(x) > 0


def _double_until(x: Any, limit: int | None = None) -> Any:
    return ops.while_loop(lambda y: ops.sum(y * y) < 100, lambda y: (y * 1.5,), (x,), maximum_iterations=limit)[0]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.cond(_positive(x), lambda: x + 1.0, lambda: x * 2.0),
        lambda x: ops.cond(_positive(x), lambda: x, lambda: x * 2.0),
        lambda x: ops.cond(_positive(x), lambda: {"a": x * 2.0, "b": x}, lambda: {"a": x, "b": x})["a"],
        lambda x: ops.cond(_positive(x), lambda: ops.ones((4,)), lambda: ops.zeros((4,))) + x,
        lambda x: ops.cond(_positive(x), lambda: ops.cond(x[0, 0] > 0, lambda: x * 3.0, lambda: x), lambda: x * 2.0),
        lambda x: ops.switch(ops.cast(ops.sum(x), "int32"), [lambda a: a + 1, lambda a: a * 2, lambda a: a - 3], x),
    ],
    ids=["computed", "captured", "structure", "constants", "nested", "switch"],
)
def test_branches(function: Any) -> None:
    assert _check(function).report.operations["If"] == 1


def test_a_branch_that_is_known_is_taken() -> None:
    assert operations(_check(lambda x: ops.cond(True, lambda: ops.relu(x), lambda: x))) == "Relu:1"
    assert operations(_check(lambda x: ops.switch(1, [ops.relu, ops.tanh], x))) == "Tanh:1"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_condition_takes_either_branch(batch: int) -> None:
    model = Case(Function(lambda x: ops.cond(_positive(x), lambda: x + 1.0, lambda: x * 2.0)), (2,)).model()
    session = run_session(check_graph(convert_model(model)))
    for sign, expected in ((1.0, 2.0), (-1.0, -2.0)):
        (found,) = session([np.full((batch, 2), sign, np.float32)])
        np.testing.assert_array_equal(found, np.full((batch, 2), expected))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: ops.while_loop(lambda i, y: i < 20, lambda i, y: (i + 1, y * 1.1), (0, x))[1],
        _double_until,
        lambda x: _double_until(x, 2),
        lambda x: ops.fori_loop(0, 12, lambda i, y: y + ops.cast(i, "float32") * x, x * 0.5),
        lambda x: ops.fori_loop(2, 12, lambda i, y: y + x[:, i][:, None], x),
        lambda x: ops.fori_loop(0, ops.cast(ops.shape(x)[0], "int32"), lambda i, y: y + x[i], ops.zeros((12,))) + x,
        lambda x: ops.fori_loop(0, 12, lambda i, y: ops.cond(i > 3, lambda: y + x, lambda: y), x),
        lambda x: ops.fori_loop(0, 10, lambda i, y: ops.fori_loop(0, 9, lambda j, z: z * 1.01 + x, y), x),
    ],
    ids=["while", "until", "limited", "for", "index", "computed", "branch", "nested"],
)
def test_loops(function: Any) -> None:
    assert _check(function, (12,)).report.operations["Loop"] == 1


def test_a_few_known_steps_are_unrolled() -> None:
    _check(lambda x: ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, ops.tanh(y)), (0, x))[1], expects="Tanh:3")
    _check(lambda x: ops.fori_loop(0, 4, lambda i, y: y + x[:, i][:, None], x), expects="Add:4,Split:1")
    converted = _check(lambda x: ops.scan(lambda c, v: (c + v, c * v), x[:, 0] * 0.0, ops.transpose(x))[0], (4,))
    assert "Scan" not in operations(converted)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan(reverse: bool) -> None:
    def over_time(x: Any) -> Any:
        steps = ops.swapaxes(x, 0, 1)
        last, every = ops.scan(lambda c, v: (c + v, c * v), steps[0] * 0.5, steps, reverse=reverse)
        return {"last": last, "every": every}

    for time in (12, None):
        assert _check(over_time, (time, 3)).report.operations["Scan"] == 1


def test_a_scan_over_an_unknown_batch() -> None:
    _check(lambda x: ops.scan(lambda c, v: (c + v, c * v), x[0], x)[1], (3,), "Reshape:1,Scan:1,Slice:1")
    _check(lambda x: ops.scan(lambda c, _: (c * 1.5, c), x, length=10)[0], (3,), "Scan:1")


def test_map() -> None:
    _check(lambda x: ops.map(lambda v: v * ops.sum(v), x), (4,), "Scan:1")
    _check(lambda x: ops.vectorized_map(lambda v: ops.matmul(v, ops.transpose(v)), x), (3, 4), "Scan:1")
    _check(lambda x: ops.map(lambda v: {"sum": v[0] + v[1], "first": v[0]}, (x, x * 2.0)), (4,))


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("reverse", [False, True])
def test_associative_scan(reverse: bool, size: int) -> None:
    class Prefix(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.associative_scan(lambda a, b: a * b + 0.0, x, axis=1, reverse=reverse)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    check(Case(Prefix(), (size, 3)).model())


def test_a_layer_in_a_loop_keeps_its_weights_and_is_in_the_report() -> None:
    class Iterated(layers.Layer):
        def __init__(self) -> None:
            super().__init__(name="iterated")
            self.dense = layers.Dense(3, activation="tanh", name="dense")

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, x: Any) -> Any:
            return ops.fori_loop(0, 12, lambda i, y: self.dense(y), x)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    converted = check(randomize(Case(Iterated(), (3,)).model()))
    graph = converted.model.graph
    (body,) = [attribute.value for node in graph for attribute in node.attributes.values() if attribute.name == "body"]
    assert isinstance(body, ir.Graph)
    assert [node.op_type for node in body if node.op_type != "Identity"] == ["Gemm", "Tanh"]
    assert not body.initializers
    assert "iterated/dense" in [row.path for row in converted.report.layers]
    assert "iterated/dense" not in [layer.path for layer in converted.layers]


def test_values_from_outside_stay_in_the_graph() -> None:
    """A product that only a branch reads is no dead code, and an Add in the branch isn't folded into it."""

    def function(x: Any) -> Any:
        product = ops.matmul(x, np.eye(4, dtype=np.float32))
        return ops.cond(_positive(x), lambda: product + np.ones(4, np.float32), lambda: x)

    assert operations(_check(function)) == "Gemm:1,Greater:1,If:1,ReduceSum:1"


def test_branches_that_differ_are_refused() -> None:
    class Differ(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.cond(_positive(x), lambda: x, lambda: ops.cast(x, "int32"))

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    with pytest.raises(ConversionError, match="layer 'differ'"):
        convert_model(Case(Differ(name="differ"), (4,)).model())


def test_a_variable_written_in_a_loop_is_refused() -> None:
    class Counting(layers.Layer):
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

        def call(self, x: Any) -> Any:
            def step(i: Any, y: Any) -> Any:
                self.count.assign_add(1.0)
                return y * 1.1

            return ops.fori_loop(0, 12, step, x)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    with pytest.raises(ConversionError, match="counting/count"):
        convert_model(Case(Counting(name="counting"), (4,)).model())


def test_a_function_that_cannot_be_saved_is_no_hindrance() -> None:
    """Keras cannot write down a lambda without source code, as one typed at a prompt is; the model has no config."""
    inputs = keras.Input((3,))
    function = eval("lambda row: row * 2.0 + 1.0")
    check(keras.Model(inputs, ops.map(function, inputs)))
