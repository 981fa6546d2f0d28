"""Builds within a budget, for TensorRT-RTX as far as this machine can build for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from engines.recipe.file import read_recipe
from tests.engines.search.nets import chain, normal

SAMPLES = normal((32, 3, 8, 8))


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    return chain(4)


def build(graph: onnx.ModelProto, folder: Path, **options: Any) -> Any:
    pytest.importorskip("tensorrt_rtx")
    return engines.build(graph, folder / "net", target="tensorrt-rtx", calibration=SAMPLES, **options)


def test_a_build_keeps_to_its_budget_and_says_so(
    graph: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(graph, tmp_path, precision="int8", budget="sqnr=45dB")
    recipe = read_recipe(tmp_path / "net" / "recipe.int8.json")
    kinds = [layer.precision for layer in recipe.layers]
    assert set(kinds) == {"int8", "fp16"}
    assert recipe.calibration["budget"]["asked"] == "sqnr=45dB"
    said = " ".join(capsys.readouterr().out.split())
    assert f"{kinds.count('fp16')} of 4 groups kept high" in said
    assert recipe.calibration["budget"]["measured"] in said


def test_auto_keeps_fp16_where_8_bits_save_nothing_in_the_builders_table(
    graph: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = build(graph, tmp_path, precision="auto", budget="sqnr=20dB")
    assert {a.precision for a in bundle.manifest.artifacts if a.kind == "engine"} == {"fp16"}
    assert "fp16 is kept" in " ".join(capsys.readouterr().out.split())


def test_int8_that_is_not_cheaper_is_built_where_it_was_asked_for_and_said_loudly(
    graph: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = build(graph, tmp_path, precision="fp16,int8")
    assert {a.precision for a in bundle.manifest.artifacts if a.kind == "engine"} == {"fp16", "int8"}
    assert "int8 is not cheaper than fp16 here" in " ".join(capsys.readouterr().out.split())


def test_auto_without_a_budget_weighs_no_8_bits(
    graph: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = build(graph, tmp_path, precision="auto")
    assert {a.precision for a in bundle.manifest.artifacts if a.kind == "engine"} == {"fp16"}
    assert "only within a budget" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{"budget": "top1=many"}, {"budget": "sqnr=30dB", "calibration": None}])
def test_a_budget_that_cannot_be_searched_is_refused_before_anything_is_made(
    graph: onnx.ModelProto, tmp_path: Path, options: dict[str, Any]
) -> None:
    given = {"calibration": SAMPLES, **options}
    with pytest.raises(BuildError, match="budget"):
        engines.build(graph, tmp_path / "net", precision="fp32", target="onnxruntime", **given)
    assert not list(tmp_path.iterdir())


def test_a_recipe_and_a_budget_contradict_each_other(graph: onnx.ModelProto, tmp_path: Path) -> None:
    recipe = engines.recipe(graph, "int8", SAMPLES)
    with pytest.raises(BuildError, match="the recipe has chosen"):
        engines.build(
            graph, tmp_path / "net", target="onnxruntime", calibration=SAMPLES, recipe=recipe, budget="sqnr=30dB"
        )


def test_onnx_runtime_builds_within_a_budget_too(graph: onnx.ModelProto, tmp_path: Path) -> None:
    bundle = engines.build(
        graph, tmp_path / "net", "int8", "onnxruntime", calibration=SAMPLES, budget="sqnr=40dB", quiet=True
    )
    assert np.isfinite(bundle.manifest.simulated["int8"]["logits"]["sqnr_db"])
