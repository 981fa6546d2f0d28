"""Repairs are asked for by name, are part of a build's key, and are refused where they cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy import cli
from deploy.bundle import Bundle
from deploy.errors import BuildError
from engines.build import command as build_command
from engines.ptq.asked import parse
from engines.recipe import Recipe
from engines.recipe import command as recipe_command
from tests.engines.graphs import Graph
from tests.engines.ptq.nets import inputs


def of_bundle(bundle: Bundle, precision: str = "int8") -> Recipe:
    artifact = bundle.manifest.find("recipe", precision)
    assert artifact is not None
    return engines.read_recipe(bundle.path(artifact))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("", ()),
        (None, ()),
        ((), ()),
        ("auto", ("equalize", "rounding", "biases")),
        (("auto",), ("equalize", "rounding", "biases")),
        ("rounding, equalize", ("equalize", "rounding")),
        (["rounding"], ("rounding",)),
    ],
)
def test_names(asked: Any, found: tuple[str, ...]) -> None:
    assert parse(asked) == found


def test_another_name() -> None:
    with pytest.raises(BuildError, match=r"unknown repair(.|\n)*expected: auto, or some of equalize, rounding, biases"):
        parse("equalize,bias")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp32"}, "repairs are for INT8"),
        ({"calibration": None}, "repairs need real samples"),
        (
            {"budget": "sqnr=30dB", "repairs": "equalize,biases"},
            r"and biases are fitted (.|\n)*found: budget sqnr=30dB",
        ),
    ],
)
def test_what_does_not_go_with_them(
    outlier: onnx.ModelProto, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    given = {"precision": "int8", "calibration": inputs(32, 1), "repairs": "auto", **options}
    with pytest.raises(BuildError, match=message):
        engines.recipe(outlier, **given)
    with pytest.raises(BuildError, match=message):
        engines.build(outlier, tmp_path / "b", target="onnxruntime", quiet=True, **given)
    assert not (tmp_path / "b").exists()


def test_a_given_recipe_is_followed_as_it_is(outlier: onnx.ModelProto, repaired: Recipe, tmp_path: Path) -> None:
    options: dict[str, Any] = {"target": "onnxruntime", "calibration": inputs(32, 1), "quiet": True}
    with pytest.raises(BuildError, match="a recipe that is given is followed as it is"):
        engines.build(outlier, tmp_path / "b", recipe=repaired, repairs="auto", **options)
    assert of_bundle(engines.build(outlier, tmp_path / "b", recipe=repaired, **options)) == repaired


def test_scales_of_training_stay() -> None:
    g = Graph()
    scale, zero = g.constant("scale", np.float32(0.05)), g.constant("zero", np.int8(0))
    q = g.node("QuantizeLinear", ["x", scale, zero], "q")
    g.conv(g.node("DequantizeLinear", [q, scale, zero], "dq"), "y", (4, 3, 3, 3))
    trained = g.model({"x": ["batch", 3, 10, 10]}, ["y"])
    with pytest.raises(BuildError, match="the scales are those of training"):
        engines.recipe(trained, "int8", inputs(32, 1), repairs="auto")


def test_a_build_has_them_in_its_recipe_and_key(outlier: onnx.ModelProto, tmp_path: Path) -> None:
    options: dict[str, Any] = {"target": "onnxruntime", "calibration": inputs(32, 1), "quiet": True}
    plain = engines.build(outlier, tmp_path / "b", "fp32,int8", **options)
    assert of_bundle(plain).equalized == ()
    bundle = engines.build(outlier, tmp_path / "b", "fp32,int8", repairs="equalize", **options)
    assert [row.name for row in of_bundle(bundle).equalized] == ["conv1", "conv2"]
    assert of_bundle(bundle, "fp32").equalized == ()
    assert bundle.manifest.key not in ("", plain.manifest.key)
    again = engines.build(outlier, tmp_path / "b", "fp32,int8", repairs=("equalize",), **options)
    assert again.manifest == bundle.manifest


def run(command: Any, *arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run_module(command, [str(argument) for argument in arguments])
    return int(caught.value.code or 0)


def test_the_commands(outlier: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, samples, made = (tmp_path / name for name in ("model.onnx", "real.npz", "made.json"))
    onnx.save(outlier, model)
    np.savez(samples, **inputs(32, 1))
    given = ("--calibration", samples, "--repairs", "equalize")
    assert run(recipe_command, model, *given, "-o", made) == 0
    shown = capsys.readouterr().out
    said = engines.read_recipe(made).calibration["repairs"].partition(" dB")[0]
    assert said.startswith("equalize 0.5 kept, ")
    assert f"calibration repairs: {said}" in shown
    assert shown.count("; its output's channels equalized") == 2
    assert "all else fp16, channels of 2 nodes equalized" in shown
    assert (
        run(build_command, model, "-o", tmp_path / "b", "--target", "onnxruntime", "--precision", "int8", *given) == 0
    )
    assert f"repairs     {said}" in capsys.readouterr().out
    bundle = engines.read_recipe(tmp_path / "b" / "recipe.int8.json")
    assert bundle.equalized == engines.read_recipe(made).equalized != ()
    assert run(recipe_command, made, *given) == 2
    assert "a recipe that is given is followed as it is" in capsys.readouterr().err
    assert run(recipe_command, model, *given[:-1], "rounding", "--pareto") == 2
    assert "found: --pareto" in capsys.readouterr().err
