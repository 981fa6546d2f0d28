from __future__ import annotations

import dataclasses

import onnx

import engines
from engines.graphs import load
from engines.search.groups import groups_of
from tests.engines.graphs import Graph


def test_readers_of_one_value_are_one_group_and_gates_are_in_none(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    groups = {group.value: group.layers for group in groups_of(load(model), int8)}
    assert groups == {
        "to_nchw": ("stem/conv",),
        "pool": ("block/conv1",),
        "block/relu1": ("block/conv2",),
        "average": ("logits",),
    }


def test_two_convolutions_of_one_value_go_together() -> None:
    g = Graph()
    left, right = g.conv("x", "left", (8, 4, 3, 3)), g.conv("x", "right", (8, 4, 3, 3))
    g.node("Add", [left, right], "sum")
    graph = g.model({"x": ["batch", 4, 8, 8]}, ["sum"])
    x = {"x": g.random.normal(size=(8, 4, 8, 8)).astype("float32")}
    (group,) = groups_of(load(graph), engines.recipe(graph, "int8", x, calibration_method="minmax"))
    assert (group.layers, group.title) == (("left", "right"), "left (+1)")
    assert group.products == 2 * 8 * 4 * 9 * 64
    assert (group.read, group.weights) == (2 * 4 * 64, 2 * 8 * 4 * 9)


def test_what_a_recipe_keeps_high_is_no_choice(model: onnx.ModelProto, int8: engines.Recipe) -> None:
    layers = tuple(dataclasses.replace(one, precision="fp16") for one in int8.layers)
    assert groups_of(load(model), dataclasses.replace(int8, layers=layers)) == ()
