"""`kerasrt build --recipe`: what a user wrote into a recipe is what is built, or an error that names the layer."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.bundle import Bundle
from deploy.errors import BuildError
from deploy.inspect import describe
from deploy.npz import Array
from engines.recipe import Recipe
from engines.targets import nvidia

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")


@pytest.fixture
def build(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> Any:
    def build_with(recipe: Any, precision: str | None = None, target: str = "onnxruntime", **options: Any) -> Bundle:
        given = {"sample": {name: array[:8] for name, array in samples.items()}, **options}
        return engines.build(model, tmp_path / "b", precision, target, recipe=recipe, quiet=True, **given)

    return build_with


@pytest.fixture
def edited(int8: Recipe, tmp_path: Path) -> Path:
    """A file in which one layer was raised to FP16, one lowered to INT8, and one scale doubled."""
    path = tmp_path / "mine.json"
    data = json.loads(int8.to_json())
    layers = {row["name"]: row for row in data["layers"]}
    layers["stem/conv"] |= {"precision": "fp16", "why": "the camera is noisy"}
    layers["block/cbam/fc1"]["precision"] = "int8"
    next(row for row in data["activations"] if row["value"] == "block/relu1")["scale"] *= 2
    path.write_text(json.dumps(data))
    return path


def recipe_of(bundle: Bundle) -> Recipe:
    artifact = bundle.manifest.find("recipe")
    assert artifact is not None
    return engines.read_recipe(bundle.path(artifact))


@rtx
def test_what_was_edited_is_what_is_built(build: Any, edited: Path, int8: Recipe) -> None:
    bundle = build(edited, target="tensorrt-rtx")
    built = recipe_of(bundle)
    assert [a.precision for a in bundle.manifest.artifacts if a.kind == "engine"] == ["int8"]
    assert built.edits() == ("layer stem/conv", "layer block/cbam/fc1", "value block/relu1")
    assert (built.layers[0].precision, built.layers[0].why) == ("fp16", "the camera is noisy")
    lowered = next(layer for layer in built.layers if layer.name == "block/cbam/fc1")
    assert len(lowered.weight_scales) == 4
    engine = bundle.manifest.find("engine", "int8")
    assert engine is not None
    assert engine.details["layers"] == {"fp16": 3, "int8": 4}
    artifact = bundle.manifest.find("recipe")
    assert artifact is not None
    assert artifact.details == {"from": "mine.json", "by_hand": list(built.edits())}
    assert any("layer block/cbam/fc1" in line for line in describe(bundle))
    typed = bundle.manifest.find("graph", "int8")
    assert typed is not None
    constants = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(bundle.path(typed)).graph.initializer}
    was = next(a.scale for a in int8.activations if a.value == "block/relu1")
    assert constants["block/relu1/scale"] == np.float16(2 * was)


def test_an_untouched_recipe_needs_no_calibration_and_gives_the_same_graph(
    build: Any, int8: Recipe, samples: dict[str, Array]
) -> None:
    decided = build(None, "int8", calibration=samples)
    first = decided.read(decided.manifest.find("graph", "int8"))
    followed = build(int8)
    assert followed.read(followed.manifest.find("graph", "int8")) == first
    assert recipe_of(followed) == int8
    assert recipe_of(followed).edits() == ()


def test_the_recipe_is_part_of_the_key(build: Any, int8: Recipe) -> None:
    first = build(int8).manifest
    assert build(int8).manifest == first
    scale = dataclasses.replace(int8.activations[0], scale=int8.activations[0].scale * 1.5)
    other = dataclasses.replace(int8, activations=(scale, *int8.activations[1:]))
    assert build(other).manifest.key not in ("", first.key)


def test_missing_scales_are_calibrated_or_asked_for(
    build: Any, model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    data = json.loads(engines.recipe(model, "fp16").to_json())
    data |= {"precision": "int8"}
    next(row for row in data["layers"] if row["name"] == "block/conv2")["precision"] = "int8"
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data))
    with pytest.raises(BuildError, match=r"mine\.json, layer block/conv2: .*no scale(.|\n)*--calibration NPZ"):
        build(path)
    built = recipe_of(build(path, calibration=samples))
    assert [activation.value for activation in built.activations] == ["block/relu1"]
    assert built.calibration["samples"] == 64


def test_other_precisions_are_decided_as_ever(build: Any, int8: Recipe, samples: dict[str, Array]) -> None:
    bundle = build(int8, "fp32,int8", calibration=samples)
    assert {a.precision for a in bundle.manifest.artifacts if a.kind == "recipe"} == {"fp32", "int8"}
    with pytest.raises(BuildError, match="the recipe is for another precision"):
        build(int8, "fp32")


def test_a_recipe_of_another_model_or_target_is_refused_and_nothing_written(
    build: Any, int8: Recipe, model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="the recipe is of another model"):
        build(dataclasses.replace(int8, model="0" * 16))
    fp8 = engines.recipe(model, "fp8", calibration=samples)
    with pytest.raises(BuildError, match="does not compute in fp8"):
        build(fp8)
    wrong = dataclasses.replace(int8.layers[0], weight_scales=(1.0,))
    with pytest.raises(BuildError, match="layer stem/conv: wrong number of weight scales"):
        build(dataclasses.replace(int8, layers=(wrong, *int8.layers[1:])))
    assert not (tmp_path / "b").exists()


@rtx
def test_the_ladder_climbs_from_an_edited_recipe_too(build: Any, edited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = nvidia.build

    def refusing(trt: Any, graph: bytes, *arguments: Any) -> Any:
        if b"block/cbam/fc1/weight/quantized" in graph:
            raise nvidia.Failure("Could not find any implementation for node block/cbam/fc1.")
        return real(trt, graph, *arguments)

    monkeypatch.setattr(nvidia, "build", refusing)
    built = recipe_of(build(edited, target="tensorrt-rtx"))
    raised = next(layer for layer in built.layers if layer.name == "block/cbam/fc1")
    assert (raised.precision, raised.by_hand) == ("fp16", False)
    assert raised.why == "raised from int8, for which the builder has no kernel"
    assert built.edits() == ("layer stem/conv", "value block/relu1")
