"""A recipe carries its repairs: in its file, into the graph of every target, and only where they fit."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engines
from deploy.errors import BuildError
from deploy.manifest import Profile
from deploy.npz import Array
from engines.apply.placement import quantize
from engines.calibration.collect import collect
from engines.graphs import load
from engines.ptq.carried import decoded, encoded
from engines.recipe import Recipe
from engines.recipe.completion import complete
from engines.simulate import simulate
from engines.targets.base import find
from tests.engines.ptq.nets import inputs

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
Run = Callable[[onnx.ModelProto, dict[str, Array]], dict[str, Array]]


def sqnr(exact: Array, found: Array) -> float:
    return float(10 * np.log10((exact**2).sum() / ((found - exact) ** 2).sum()))


def edited(recipe: Recipe, name: str, **changes: Any) -> Recipe:
    layers = (dataclasses.replace(one, **changes) if one.name == name else one for one in recipe.layers)
    return dataclasses.replace(recipe, layers=tuple(layers))


@given(st.lists(st.tuples(st.integers(-127, 127), st.integers(-2, 2)), min_size=1, max_size=50))
def test_steps_are_read_as_they_were_written(pairs: list[tuple[int, int]]) -> None:
    near, steps = np.array(pairs, np.int8).T.copy()
    integers = np.clip(near.astype(int) + steps, -127, 127)
    text = encoded(integers - near, integers)
    assert np.array_equal(decoded(text, near), integers)
    assert decoded(text, np.roll(near + 3, 1)) is None
    assert decoded(text, near[:-1]) is None
    assert decoded(text[:-3] + "?!", near) is None


def test_it_has_every_kind_of_repair(repaired: Recipe) -> None:
    assert [row.name for row in repaired.equalized] == ["conv1", "conv2"]
    assert all(layer.precision == "int8" and layer.rounding and layer.bias for layer in repaired.layers)


def test_the_file_holds_them(repaired: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    engines.write_recipe(repaired, path)
    assert engines.read_recipe(path) == repaired
    data = json.loads(path.read_text())
    data["equalized"][0]["factors"][0] *= 2
    path.write_text(json.dumps(data))
    assert engines.read_recipe(path).edits() == ("factors of conv1",)
    data["equalized"][0]["factors"][0] = -1
    path.write_text(json.dumps(data))
    with pytest.raises(BuildError, match=r"layer conv1: a factor is not a positive number(.|\n)*found: -1"):
        engines.read_recipe(path)


def test_a_plain_recipe_says_nothing_of_them(int8: Recipe) -> None:
    text = int8.to_json()
    assert not any(f'"{name}"' in text for name in ("equalized", "bias", "rounding", "repairs"))


@pytest.mark.parametrize("target", ["simulate", "onnxruntime", "tensorrt", "tensorrt-rtx"])
def test_every_target_gets_them(outlier: onnx.ModelProto, repaired: Recipe, run: Run, target: str) -> None:
    """The typed graph holds the very integers and biases; those that this CPU can run are near FP32."""
    graph = engines.apply(repaired, outlier, target)
    held_out = inputs(100, 9)
    if target in ("simulate", "onnxruntime"):
        assert sqnr(run(outlier, held_out)["logits"], run(graph, held_out)["logits"]) > 25
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    layer = repaired.layers[-1]
    weights = onnx.numpy_helper.to_array(next(t for t in outlier.graph.initializer if t.name == "logits/w"))
    weights = weights * np.array(repaired.equalized[1].factors)[:, None]  # which are those of what it reads
    near = quantize(weights.astype(np.float32), np.float32(np.float16(layer.weight_scales)))
    expected = decoded(layer.rounding, near)
    assert expected is not None
    assert any(a.dtype == np.int8 and np.array_equal(a, expected) for a in constants.values())


@rtx
def test_tensorrt_rtx_builds_it_as_asked(outlier: onnx.ModelProto, repaired: Recipe) -> None:
    built = find("tensorrt-rtx").build(load(outlier), repaired, Profile())
    assert {layer.name: layer.found for layer in built.layers} == dict.fromkeys(("conv1", "conv2", "logits"), "int8")


def test_a_layer_raised_by_hand_leaves_its_repairs(outlier: onnx.ModelProto, repaired: Recipe, run: Run) -> None:
    raised = complete(edited(repaired, "conv2", precision="fp16"), load(outlier))
    layer = next(layer for layer in raised.layers if layer.name == "conv2")
    assert (layer.bias, layer.rounding) == ((), "")
    held_out = inputs(100, 9)
    assert sqnr(run(outlier, held_out)["logits"], simulate(raised, outlier, held_out)["logits"]) > 25


def test_what_does_not_fit_is_refused(outlier: onnx.ModelProto, repaired: Recipe) -> None:
    scales = tuple(2 * scale for scale in repaired.layers[0].weight_scales)
    with pytest.raises(BuildError, match="layer conv1: its rounding was learned for other weights or scales"):
        engines.apply(edited(repaired, "conv1", weight_scales=scales), outlier)
    with pytest.raises(BuildError, match=r"layer conv1: the recipe has a bias that does not fit(.|\n)*expected: 16"):
        engines.apply(edited(repaired, "conv1", bias=(0.5,)), outlier)
    with pytest.raises(BuildError, match="factors of conv1: the recipe has more than one entry for it"):
        engines.apply(dataclasses.replace(repaired, equalized=(*repaired.equalized, repaired.equalized[0])), outlier)
    factors = dataclasses.replace(repaired.equalized[0], factors=(2.0,))
    with pytest.raises(BuildError, match=r"layer conv1: .*equalization does not fit"):
        engines.apply(dataclasses.replace(repaired, equalized=(factors,)), outlier)


def test_scales_of_equalized_values_are_not_made_up(outlier: onnx.ModelProto, repaired: Recipe) -> None:
    graph = load(outlier)
    ranges = collect(graph, inputs(32, 1))
    for value, equalized in (("x", False), ("relu1", True)):
        rest = tuple(one for one in repaired.activations if one.value != value)
        bare = dataclasses.replace(repaired, activations=rest)
        if equalized:
            with pytest.raises(BuildError, match="value relu1: its scale is missing, and the recipe equalizes"):
                complete(bare, graph, ranges)
        else:
            assert complete(bare, graph, ranges).activations[-1].value == "x"
