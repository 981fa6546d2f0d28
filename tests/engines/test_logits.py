"""Where outputs are compared: before a closing Softmax, with quantizers of training around it or without."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

import engines
from engines.graphs import load
from engines.logits import Logits, logits
from engines.recipe.trained import separate
from tests.engines.graphs import Graph


def classifier(before: str, behind: str, squashing: str = "Softmax") -> onnx.ModelProto:
    """A quantized Gemm and its probabilities; ``before`` and ``behind`` the squashing: Identity, pair or nothing."""
    g = Graph()

    def put(value: str, what: str, name: str, scale: float) -> str:
        if what == "pair":
            grid = [g.constant(f"{name}/scale", np.float32(scale)), g.constant(f"{name}/zero", np.int8(0))]
            whole = g.node("QuantizeLinear", [value, *grid], f"{name}/quantize")
            return g.node("DequantizeLinear", [whole, *grid], name)
        return g.node(what, [value], name) if what else value

    value = put(g.gemm(put("x", "pair", "x/grid", 1 / 32), "logits", 6, 4), before, "before", 0.05)
    value = put(g.node(squashing, [value], "probabilities"), behind, "behind", 1 / 127)
    return g.model({"x": ["batch", 6]}, [value])


@pytest.mark.parametrize("separated", [False, True])
@pytest.mark.parametrize("behind", ["", "Identity", "pair"])
@pytest.mark.parametrize("before", ["", "Identity", "pair"])
@pytest.mark.parametrize("squashing", ["Softmax", "Sigmoid"])
def test_a_squashing_is_found(squashing: str, before: str, behind: str, separated: bool) -> None:
    graph = load(classifier(before, behind, squashing))
    if separated:
        separate(graph)
    output = "behind" if behind else "probabilities"
    assert logits(graph.graph.outputs[0]) == Logits("logits", output, squashing, -1)


def test_a_pair_at_an_output_becomes_an_identity() -> None:
    """What the look through an Identity is for."""
    graph = load(classifier("", "pair"))
    separate(graph)
    producer = graph.graph.outputs[0].producer()
    assert producer is not None
    assert producer.op_type == "Identity"


@pytest.mark.parametrize("squashing", ["Relu", "Tanh"])
def test_another_operator_is_compared_itself(squashing: str) -> None:
    (output,) = load(classifier("", "pair", squashing)).graph.outputs
    assert logits(output) == Logits("behind", "behind", "", -1)


def test_an_input_is_its_own_output() -> None:
    graph = load(classifier("", ""))
    (x,) = graph.graph.inputs
    assert isinstance(x, ir.Value)
    assert logits(x) == Logits("x", "x", "", -1)


@pytest.mark.parametrize("before", ["", "pair"])
def test_a_budget_of_a_trained_graph_is_measured_at_the_logits(before: str) -> None:
    """Steps of 1/127 of the probabilities would count as noise, or hide it."""
    samples = {"x": np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)}
    plain, found = (
        engines.recipe(classifier(before, behind), calibration=samples, budget="sqnr=20dB") for behind in ("", "pair")
    )
    assert [layer.precision for layer in found.layers] == [layer.precision for layer in plain.layers] == ["int8"]
    assert found.calibration["budget"] == plain.calibration["budget"]
