"""A graph of an older opset becomes one of a newer, and computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from engines.graphs import load, with_opset
from engines.sessions import run_bytes

INPUTS = {"x": np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)}
SHAPE = [2, 4, 6]


def _node(op: str, name: str, inputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [name], name, **attributes)


def _model(nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def _branch(op: str) -> onnx.GraphProto:
    node = _node(op, f"inner/{op}", ["x"], axes=[-1], keepdims=0)
    return helper.make_graph(
        [node], op, [], [helper.make_tensor_value_info(f"inner/{op}", TensorProto.FLOAT, SHAPE[:2])]
    )


REDUCTIONS = _model(
    [
        _node("ReduceMean", "mean", ["x"], axes=[1, 2]),
        _node("ReduceMax", "max", ["x"], axes=[-1], keepdims=0),
        _node("ReduceProd", "all", ["x"]),
        _node("Greater", "condition", ["all", "all"]),
        _node("Squeeze", "scalar", ["condition"]),
        _node("If", "if", ["scalar"], then_branch=_branch("ReduceMin"), else_branch=_branch("ReduceL2")),
    ],
    ["mean", "max", "all", "if"],
)
SPLIT = _model([helper.make_node("Split", ["x"], ["a", "b"], "split", axis=1)], ["a", "b"])
GRID = _model(
    [
        _node("Constant", "shape", [], value_ints=[2, 1, 4, 6]),
        _node("Reshape", "image", ["x", "shape"]),
        _node("Constant", "part", [], value_ints=[2, 4, 3, 2]),
        _node("Reshape", "grid", ["x", "part"]),
        _node("GridSample", "sampled", ["image", "grid"], mode="bilinear"),
    ],
    ["sampled"],
)


@pytest.mark.parametrize("minimum", [18, 19, 22])
@pytest.mark.parametrize("source", [REDUCTIONS, SPLIT, GRID], ids=["reductions", "split", "grid"])
def test_a_newer_opset_computes_the_same(source: onnx.ModelProto, minimum: int) -> None:
    newer = ir.to_proto(with_opset(load(source), minimum))
    onnx.checker.check_model(newer, full_check=True)
    assert [opset.version for opset in newer.opset_import] == [minimum]
    names = [value.name for value in source.graph.output]
    expected = run_bytes(source.SerializeToString(), INPUTS, names)
    found = run_bytes(newer.SerializeToString(), INPUTS, names)
    for name in names:
        np.testing.assert_array_equal(found[name], expected[name])


def test_axes_become_an_input() -> None:
    nodes = {node.name: node for node in with_opset(load(REDUCTIONS), 18).graph.all_nodes()}
    assert [len(nodes[name].inputs) for name in ("mean", "max", "all", "inner/ReduceMin")] == [2, 2, 1, 2]
    assert not any("axes" in node.attributes for node in nodes.values())


def test_a_graph_that_is_new_enough_stays() -> None:
    model = load(REDUCTIONS)
    assert with_opset(model, 17) is model
    assert model.opset_imports[""] == 17
