"""Channels are scaled only where the outputs stay the same, and then by what evens them out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.errors import BuildError
from engines.graphs import load
from engines.ptq.channels import Channels
from engines.ptq.equalize import equalize, factors
from engines.recipe import Equalized
from engines.sessions import session
from tests.engines.graphs import Graph
from tests.engines.ptq.nets import CHANNELS

OPERATIONS = (
    "conv", "depthwise", "grouped", "norm", "relu", "leaky", "max", "average", "pad", "add", "max of two", "gate",
    "constant", "concat", "sigmoid", "clip", "channel mean", "abs",
)  # fmt: skip


def grown(operations: list[str], seed: int) -> onnx.ModelProto:
    """A graph of these operations, one after the other; those of two operands take the first of equal shape too."""
    g = Graph(seed)
    x, channels, shapes = g.conv("x", "stem", (4, 3, 3, 3)), 4, {}
    for i, operation in enumerate(operations):
        name = f"{operation.replace(' ', '_')}{i}"
        other = shapes.setdefault(channels, x)
        if operation == "conv":
            x, channels = g.conv(x, name, (6, channels, 3, 3)), 6
        elif operation == "depthwise":
            x = g.conv(x, name, (channels, 1, 3, 3), group=channels)
        elif operation == "grouped":
            x = g.conv(x, name, (channels, channels // 2, 3, 3), group=2)
        elif operation == "norm":
            numbers = [g.random.uniform(0.5, 2, channels).astype(np.float32) for _ in range(4)]
            inputs = [g.constant(f"{name}/{k}", array) for k, array in enumerate(numbers)]
            x = g.node("BatchNormalization", [x, *inputs], name)
        elif operation in ("max", "average"):
            op = "MaxPool" if operation == "max" else "AveragePool"
            x = g.node(op, [x], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        elif operation == "pad":
            pads = g.constant(f"{name}/pads", np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64))
            x = g.node("Conv", [g.node("Pad", [x, pads], f"{name}/padded"), *_kernel(g, name, channels)], name)
        elif operation in ("add", "max of two"):
            x = g.node("Add" if operation == "add" else "Max", [x, other], name)
        elif operation == "gate":
            x = g.node("Mul", [x, g.node("Sigmoid", [other], f"{name}/sigmoid")], name)
        elif operation == "constant":
            x = g.node("Add", [x, g.constant(f"{name}/c", np.full((1, channels, 1, 1), 0.1, np.float32))], name)
        elif operation == "concat":
            x, channels = g.node("Concat", [x, other], name, axis=1), 2 * channels
        elif operation == "channel mean":
            axes = g.constant(f"{name}/axes", np.array([1], np.int64))
            x = g.node("Mul", [x, g.node("ReduceMean", [x, axes], f"{name}/mean", keepdims=1)], name)
        else:
            op = {"relu": "Relu", "leaky": "LeakyRelu", "sigmoid": "Sigmoid", "clip": "Clip", "abs": "Abs"}[operation]
            limits = [g.constant(f"{name}/{k}", np.float32(k)) for k in (-1, 1)] if op == "Clip" else []
            x = g.node(op, [x, *limits], name)
    x = g.node("Flatten", [g.node("GlobalAveragePool", [x], "pooled")], "flat")
    x = g.node("Relu", [g.gemm(x, "hidden", channels, 5, transpose=True)], "hidden/relu")
    scale, bias = (g.constant(f"norm/{k}", g.random.normal(size=5).astype(np.float32)) for k in range(2))
    g.gemm(g.node("LayerNormalization", [x, scale, bias], "norm"), "y", 5, 3)
    return g.model({"x": ["batch", 3, 6, 6]}, ["y"])


def _kernel(g: Graph, name: str, channels: int) -> list[str]:
    array = g.random.normal(size=(channels, channels, 2, 2)).astype(np.float32)
    return [g.constant(f"{name}/w", array)]


def outputs(graph: onnx_ir.Model) -> Any:
    x = np.random.default_rng(0).normal(size=(2, 3, 6, 6)).astype(np.float32)
    return session(graph, optimize=False).run(None, {"x": x})[0]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(OPERATIONS), max_size=7), st.integers(0, 2**16))
def test_factors_of_two_change_no_bit_of_the_outputs(operations: list[str], seed: int) -> None:
    """Scaling by powers of two is exact in FP32, so that any rule that is wrong shows."""
    graph = load(grown(operations, seed))
    found = Channels(graph)
    random = np.random.default_rng(seed)
    chosen = np.where(found.free, 2.0 ** random.integers(-3, 4, len(found.root)), 1.0)[found.root]
    rows = [Equalized(name, tuple(chosen[ids])) for name, ids in found.makers.items()]
    assert np.array_equal(outputs(equalize(load(graph), rows)), outputs(graph))


@pytest.mark.parametrize(
    ("operations", "free"),
    [
        (["relu", "conv"], {"stem": 4, "conv1": 6}),
        (["relu", "depthwise", "leaky"], {"stem": 4, "depthwise1": 4}),
        (["sigmoid", "conv"], {"stem": 0, "conv1": 6}),
        (["constant"], {"stem": 0}),
        (["relu", "grouped"], {"stem": 0, "grouped1": 4}),
        (["norm", "gate"], {"stem": 0, "norm0": 4}),
        (["concat", "max", "conv"], {"stem": 4, "conv2": 6}),
        (["channel mean", "abs"], {"stem": 0}),
    ],
)
def test_which_channels_are_free(operations: list[str], free: dict[str, int]) -> None:
    found = Channels(load(grown(operations, 0)))
    counted = {name: int(found.free[ids].sum()) for name, ids in found.makers.items()}
    assert counted == {**free, "hidden": 0, "norm": 5, "y": 0}  # what a LayerNormalization reads cannot be scaled


def test_what_is_added_has_the_same_factors() -> None:
    found = Channels(load(grown(["conv", "conv", "add"], 0)))
    assert found.free[found.makers["conv0"]].all()
    assert np.array_equal(found.root[found.makers["conv0"]], found.root[found.makers["conv1"]])


def test_the_factors_even_the_channels_out(outlier: onnx.ModelProto) -> None:
    graph, amax = load(outlier), {"relu1": np.array([1000.0] + [1.0] * (CHANNELS - 1))}
    (row,) = factors(graph, {"conv2"}, amax, 1.0)
    assert row.name == "conv1"
    assert np.array(row.factors) / row.factors[1] == pytest.approx(amax["relu1"], rel=1e-3)
    assert np.prod(row.factors) == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (Equalized("conv1", (2.0,)), f"factors for {CHANNELS} channels"),
        (Equalized("relu1", (2.0,) * CHANNELS), "no factors"),
        (Equalized("logits", (2.0,) * 16), "1 where a channel cannot be scaled"),
    ],
)
def test_factors_that_do_not_fit_are_refused(outlier: onnx.ModelProto, row: Equalized, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        equalize(load(outlier), [row])
