"""`kerasrt recipe`: shows, makes and checks recipes, in one command."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy import cli
from deploy.npz import Array
from engines.recipe import Recipe, command

Run = Callable[..., tuple[int, str, str]]
GATES = ("block/cbam/fc1", "block/cbam/fc2", "block/cbam/conv7")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: exit code, stdout, stderr."""

    def call(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.run_module(command, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def files(model: onnx.ModelProto, samples: dict[str, Array], int8: Recipe, tmp_path: Path) -> Path:
    """A folder with model.onnx, calibration.npz and the INT8 recipe of both."""
    onnx.save(model, tmp_path / "model.onnx")
    np.savez(tmp_path / "calibration.npz", **samples)
    engines.write_recipe(int8, tmp_path / "recipe.json")
    return tmp_path


def edit(path: Path, layer: str, **changes: Any) -> None:
    data = json.loads(path.read_text())
    next(row for row in data["layers"] if row["name"] == layer).update(changes)
    path.write_text(json.dumps(data))


def line_of(output: str, layer: str) -> str:
    return next(line for line in output.splitlines() if line.startswith(layer + " "))


def test_a_file_alone_is_shown_layer_by_layer(run: Run, files: Path, int8: Recipe) -> None:
    edit(files / "recipe.json", "stem/conv", why="the camera is noisy")
    code, out, _ = run(files / "recipe.json")
    assert code == 0
    stem = line_of(out, "stem/conv")
    scale, estimator = next((a.scale, a.estimator) for a in int8.activations if a.value == "to_nchw")
    for cell in ("int8", "to_nchw", f"{scale:.4g}", f"±{127 * scale:.4g}", estimator, "by hand: the camera is noisy"):
        assert cell in stem
    scales = int8.layers[0].weight_scales
    assert f"{min(scales):.3g} to {max(scales):.3g}" in stem
    assert "a gate: small" in line_of(out, "block/cbam/fc1")
    assert "int8: 4 layers int8, 3 layers fp16, all else fp16, 1 entry by hand" in out


def test_with_the_model_the_share_of_the_work_is_shown(run: Run, files: Path) -> None:
    code, out, _ = run(files / "recipe.json", "--model", files / "model.onnx", "--json")
    assert code == 0
    found = json.loads(out)
    # multiplications of stem, conv1, conv2 and logits; of the shared MLP on both vectors, and of the 7x7 convolution
    int8_work = 12 * 12 * 16 * 3 * 9 + 2 * 6 * 6 * 16 * 16 * 9 + 16 * 20
    fp16_work = 2 * (16 * 4 + 4 * 16) + 6 * 6 * 2 * 49
    assert found["shares"] == [
        {"precision": "int8", "layers": 4, "work": pytest.approx(int8_work / (int8_work + fp16_work))},
        {"precision": "fp16", "layers": 3, "work": pytest.approx(fp16_work / (int8_work + fp16_work))},
    ]
    assert {row["layer"] for row in found["layers"] if row["precision"] == "fp16"} == set(GATES)
    assert found["layers"][0]["operator"] == "Conv"


def test_one_is_made_without_building(run: Run, files: Path, int8: Recipe) -> None:
    made = files / "made.json"
    code, _, _ = run(files / "model.onnx", "--calibration", files / "calibration.npz", "-o", made)
    assert code == 0
    assert engines.read_recipe(made).layers == int8.layers
    code, _, error = run(files / "model.onnx", "-o", files / "none.json")
    assert code == 2
    assert "--calibration calibration.npz" in error
    assert not (files / "none.json").exists()


def test_what_is_done_meanwhile_is_said(run: Run, files: Path, samples: dict[str, Array]) -> None:
    """On stderr: what is kept from an earlier run, doubtful samples, and each repair."""
    few = {"image": np.repeat(samples["image"][:1], 20, axis=0)}
    np.savez(files / "few.npz", **few)
    arguments = (files / "model.onnx", "--calibration", files / "few.npz", "--repairs", "biases")
    _, table, out = run(*arguments)
    assert "calibrate   20 samples, range of" in out
    assert "note       only 20 calibration samples" in out
    assert "note       all 20 calibration samples are identical (image)" in out
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith("repairs")] == [
        "repairs     as it is",
        "repairs     biases",
    ]
    assert "kept from an earlier build" not in out
    _, again, out = run(*arguments)
    assert again == table
    assert "values, kept from an earlier build" in out
    assert "int8        the choice of ranges kept from an earlier build" in out


def test_one_is_made_of_a_keras_file(run: Run, tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, name="first")(inputs)
    keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(x))).save(tmp_path / "m.keras")
    code, out, _ = run(tmp_path / "m.keras", "--precision", "fp16")
    assert code == 0
    assert "fp16" in line_of(out, "first")
    assert "2 layers fp16 (100.0% of the multiplications)" in out


def test_a_bundles_recipes_are_shown(run: Run, files: Path, model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    engines.build(model, files / "b", "fp32,int8", "onnxruntime", calibration=samples, quiet=True)
    code, out, _ = run("--bundle", files / "b", "--precision", "int8")
    assert code == 0
    assert "of the multiplications" in out
    assert "fp32: " not in out
    assert run(files / "b" / "recipe.int8.json")[1] == out
    code, _, error = run("--bundle", files / "b", "--precision", "fp8")
    assert (code, "has no recipe of fp8" in error, "expected: fp32, int8" in error) == (2, True, True)


def test_all_that_is_wrong_with_an_edited_recipe_is_said_at_once(run: Run, files: Path) -> None:
    path = files / "recipe.json"
    edit(path, "stem/conv", weight_scales=[0.1, 0.2])
    edit(path, "block/conv1", input="image")
    edit(path, "block/conv2", weight_scales=[1e-7] * 16)
    code, out, error = run(path, "--model", files / "model.onnx")
    assert (code, out) == (2, "")
    assert "recipe.json: 3 things are wrong" in error
    for layer in ("stem/conv: wrong number", "block/conv1: the layer does not read", "block/conv2: a scale is outside"):
        assert f"\n  layer {layer}" in error


def test_the_targets_own_rules_are_checked(
    run: Run, files: Path, model: onnx.ModelProto, samples: dict[str, Array]
) -> None:
    engines.write_recipe(engines.recipe(model, "fp8", calibration=samples), files / "recipe.json")
    code, _, error = run(files / "recipe.json", "--model", files / "model.onnx", "--target", "onnxruntime")
    assert code == 2
    assert "layer stem/conv: onnxruntime does not compute in fp8" in error


def test_a_checked_recipe_is_completed(run: Run, files: Path, int8: Recipe) -> None:
    path = files / "recipe.json"
    edit(path, "block/cbam/fc1", precision="int8")
    code, out, _ = run(path, "--model", files / "model.onnx", "-o", files / "full.json")
    assert code == 0
    assert "to be computed" not in out
    full = engines.read_recipe(files / "full.json")
    layer = next(layer for layer in full.layers if layer.name == "block/cbam/fc1")
    assert (len(layer.weight_scales), layer.by_hand) == (4, True)
    engines.write_recipe(dataclasses.replace(int8, model="0" * 16), path)
    assert "the recipe is of another model" in run(path, "--model", files / "model.onnx")[2]


def test_the_curve_of_a_model_is_shown_in_place_of_the_layers(run: Run, files: Path) -> None:
    asked = (files / "model.onnx", "--calibration", files / "calibration.npz", "--pareto")
    code, out, _ = run(*asked)
    assert code == 0
    first, *_, last, _ = lines = out.splitlines()[1:]
    assert (first.split()[0], last.split()[0]) == ("50%", "100%")
    assert lines[-1].startswith("int8: cost is nominal, of what all layers cost in fp16; SQNR at the worst output")
    points = json.loads(run(*asked, "--json")[1])["points"]
    assert [f"{point['sqnr']:.1f}" for point in points] == [line.split()[1] for line in lines[:-1]]
    assert len(points[0]["low"]) == 4
    assert points[-1]["low"] == []


def test_the_curve_for_a_target_says_what_its_builder_made_of_each_point(run: Run, files: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    asked = (files / "model.onnx", "--calibration", files / "calibration.npz", "--pareto", "--target", "tensorrt-rtx")
    code, out, _ = run(*asked)
    assert code == 0
    assert "of the engine of each point for tensorrt-rtx" in out.splitlines()[-1]
    points = json.loads(run(*asked, "--json")[1])["points"]
    assert all(point["realised"]["kernels"] > 0 and point["realised"]["moved"] > 0 for point in points)
    assert points[-1]["realised"]["cost"] == 1  # all in FP16
    assert points[0]["realised"]["moved"] != points[-1]["realised"]["moved"]


def test_a_target_without_a_table_of_layers_has_no_realised_curve(run: Run, files: Path) -> None:
    asked = (files / "model.onnx", "--calibration", files / "calibration.npz", "--pareto", "--target", "onnxruntime")
    code, out, error = run(*asked)
    assert (code, out) == (2, "")
    assert "gives no table of layers" in error
    assert "leave --target out" in error


def test_a_recipe_within_a_budget_is_that_of_a_build_and_is_written(
    run: Run, files: Path, model: onnx.ModelProto
) -> None:
    calibration = files / "calibration.npz"
    budget = ("--budget", "sqnr=48dB", "--calibration", calibration)
    code, out, _ = run(files / "model.onnx", *budget, "-o", files / "mine.json")
    assert code == 0
    assert out.startswith("budget sqnr=48dB: predicted ")
    assert "kept high by the budget" in out
    made = engines.read_recipe(files / "mine.json")
    assert made.calibration["budget"]["asked"] == "sqnr=48dB"
    built = engines.build(
        model, files / "b", "int8", "onnxruntime", calibration=str(calibration), budget="sqnr=48dB", quiet=True
    )
    (artifact,) = (one for one in built.manifest.artifacts if one.kind == "recipe")
    assert made.layers == engines.read_recipe(built.path(artifact)).layers
    assert json.loads(run(files / "model.onnx", *budget, "--json")[1])["calibration"] == made.calibration


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["recipe.json"], "the recipe has chosen them", "give a model, or leave --budget out"),
        (["model.onnx", "--pareto"], "--pareto shows the recipe of every budget", "leave one of the two out"),
        (["model.onnx"], "a budget needs real samples", "--calibration calibration.npz"),
        (["model.onnx", "--precision", "int9"], "unknown precision", "give one of them"),
    ],
)
def test_a_budget_for_nothing_is_refused(run: Run, files: Path, arguments: list[str], problem: str, fix: str) -> None:
    output = files / "none.json"
    code, out, error = run(*(files / a if "." in a else a for a in arguments), "--budget", "sqnr=30dB", "-o", output)
    assert (code, out, output.exists()) == (2, "", False)
    assert problem in error
    assert fix in error


def test_the_curve_of_a_bundle_is_of_its_int8_recipes(run: Run, files: Path, model: onnx.ModelProto) -> None:
    calibration = files / "calibration.npz"
    engines.build(model, files / "b", "fp32,int8", "onnxruntime", calibration=str(calibration), quiet=True)
    code, out, _ = run("--bundle", files / "b", "--pareto", "--calibration", calibration)
    assert code == 0
    assert out.count("cost is nominal") == 1
    assert out == run(files / "model.onnx", "--calibration", calibration, "--pareto")[1]


@pytest.mark.parametrize(
    ("arguments", "problem", "fix"),
    [
        (["recipe.json", "--model", "model.onnx"], "--pareto needs real samples", "--calibration calibration.npz"),
        (["recipe.json", "--calibration", "calibration.npz"], "needs the model that the recipe", "--model model.keras"),
        (["model.onnx", "--precision", "fp16"], "weighs 8 bits against the base", "--precision int8"),
        (["model.onnx", "--calibration", "few.npz"], "too few samples", "give some hundred real samples"),
    ],
)
def test_a_curve_of_nothing_is_refused(
    run: Run, files: Path, samples: dict[str, Array], arguments: list[str], problem: str, fix: str
) -> None:
    np.savez(files / "few.npz", **{name: array[:2] for name, array in samples.items()})
    code, out, error = run(*(files / a if "." in a else a for a in arguments), "--pareto")
    assert (code, out) == (2, "")
    assert problem in error
    assert fix in error
