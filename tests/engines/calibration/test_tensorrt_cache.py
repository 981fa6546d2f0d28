"""Calibration caches of TensorRT: their scales are taken as they are, and what does not fit is said with numbers."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from rich.console import Console

import engines
from deploy.errors import BuildError, InputError, KerasrtError
from deploy.npz import Array
from engines.apply.placement import place
from engines.build import progress
from engines.calibration.tensorrt_cache import is_cache, read
from engines.graphs import load
from engines.recipe.curves import show

HEADER = "TRT-8601-EntropyCalibration2"


def written(path: Path, scales: Mapping[str, float]) -> Path:
    """A cache as TensorRT writes it."""
    lines = (f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in scales.items())
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def scales_of(recipe: engines.Recipe) -> dict[str, float]:
    return {activation.value: activation.scale for activation in recipe.activations}


@pytest.fixture(scope="module")
def read_by_int8(int8: engines.Recipe) -> dict[str, float]:
    """The scale of each value that an INT8 layer of the shared recipe reads."""
    inputs = {layer.input for layer in int8.layers if layer.precision == "int8"}
    return {name: scale for name, scale in scales_of(int8).items() if name in inputs}


def test_nvidias_own_example_is_read(tmp_path: Path) -> None:
    cache = tmp_path / "CalibrationTable"
    cache.write_text("TRT-7000-EntropyCalibration2\ndata: 3c008912\nconv2: 3ddc858b\nprob: 3c010a14\n")
    found = read(cache).scales
    assert found == pytest.approx({"data": 0.00784518, "conv2": 0.1076766, "prob": 0.00787594}, rel=1e-5)


def test_names_may_hold_colons_and_spaces_and_zeros_in_front_may_be_missing(tmp_path: Path) -> None:
    cache = tmp_path / "cache.txt"
    cache.write_bytes(f"{HEADER}\r\n(Unnamed Layer* 48) [Constant]_output: 3c010a14\r\na/b:0: 800000\r\n\r\n".encode())
    assert list(read(cache).scales) == ["(Unnamed Layer* 48) [Constant]_output", "a/b:0"]
    assert read(cache).scales["a/b:0"] == 2.0**-126


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("conv1 3c88edfc", "line 3"),
        ("conv1: 3c88edfc0", "line 3"),
        ("conv1: 0.0167", "line 3"),
        (": 3c88edfc", "line 3"),
        ("conv1: 7fc00000", "nan"),
        ("conv1: 7f800000", "inf"),
        ("conv1: bc88edfc", "-0.016"),
        ("data: 3c88edfc", "second scale"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: str, message: str) -> None:
    cache = tmp_path / "cache.txt"
    cache.write_text(f"{HEADER}\ndata: 3c008912\n{line}\n")
    with pytest.raises(InputError, match=message) as caught:
        read(cache)
    assert "line 3" in str(caught.value)
    assert caught.value.fix


@pytest.mark.parametrize("content", [HEADER.encode(), HEADER.encode() + b"\n\n", HEADER.encode() + b"\n\xff\xfe: 00\n"])
def test_a_cache_without_scales_is_refused(tmp_path: Path, content: bytes, model: onnx.ModelProto) -> None:
    cache = tmp_path / "cache.txt"
    cache.write_bytes(content)
    with pytest.raises(InputError, match=r"holds no scale|is no text"):
        engines.recipe(model, "int8", calibration=cache)


def test_an_empty_file_is_no_cache_and_is_refused(tmp_path: Path, model: onnx.ModelProto) -> None:
    cache = tmp_path / "cache.txt"
    cache.touch()
    assert not is_cache(cache)
    with pytest.raises(InputError, match=r"cache\.txt"):
        engines.recipe(model, "int8", calibration=cache)


def test_the_scales_of_a_cache_are_the_recipes(
    tmp_path: Path, model: onnx.ModelProto, int8: engines.Recipe, read_by_int8: dict[str, float]
) -> None:
    given = {name: 1.25 * scale for name, scale in read_by_int8.items()}
    recipe = engines.recipe(model, "int8", calibration=written(tmp_path / "cache.txt", given))
    found = scales_of(recipe)
    assert {name: found[name] for name in given} == pytest.approx(given, rel=1e-6)
    assert {a.name: a.precision for a in recipe.layers} == {a.name: a.precision for a in int8.layers}
    assert recipe.calibration["cache"] == HEADER
    assert "not" not in recipe.calibration["why"]


def test_a_layer_whose_input_is_not_in_the_cache_stays_fp16(
    tmp_path: Path, model: onnx.ModelProto, int8: engines.Recipe, read_by_int8: dict[str, float]
) -> None:
    left_out = list(read_by_int8)[-1]
    given = {name: scale for name, scale in read_by_int8.items() if name != left_out} | {"other": 1.0}
    recipe = engines.recipe(model, "int8", calibration=written(tmp_path / "cache.txt", given))
    readers = {layer.name for layer in int8.layers if layer.precision == "int8" and layer.input == left_out}
    high = {x.name: x.why for x in recipe.layers if x.precision != int8.precision_of(x.name)}
    assert set(high) == readers
    assert all("is not in the calibration cache" in why for why in high.values())
    assert f"not {left_out}; 1 of its names are not in the graph: other" in recipe.calibration["why"]


def test_a_cache_of_another_model_is_refused(tmp_path: Path, model: onnx.ModelProto) -> None:
    cache = written(tmp_path / "cache.txt", {"other": 0.1, "more": 0.2})
    with pytest.raises(InputError, match="another model") as caught:
        engines.recipe(model, "int8", calibration=cache)
    assert caught.value.found == "other, more"


def test_a_keras_model_is_matched_by_layer_paths_without_a_suffix(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 3), name="image")
    inner = keras.layers.Conv2D(4, 3, activation="relu", name="first")(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(2, 3, name="second")(inner))
    cache = written(tmp_path / "cache.txt", {"image": 0.02, "first:0": 0.03})
    recipe = engines.recipe(network, "int8", calibration=cache)
    assert [layer.precision for layer in recipe.layers] == ["int8", "int8"]
    assert sorted(scales_of(recipe)[layer.input] for layer in recipe.layers) == pytest.approx([0.02, 0.03], rel=1e-6)


@pytest.mark.parametrize(
    ("precision", "options"),
    [("fp8", {}), ("int8", {"calibration_method": "mse"}), ("int8", {"budget": "sqnr=20dB"})],
)
def test_what_needs_samples_is_refused(
    tmp_path: Path, model: onnx.ModelProto, precision: str, options: dict[str, str]
) -> None:
    with pytest.raises(BuildError, match="needs calibration samples"):
        engines.recipe(model, precision, calibration=written(tmp_path / "cache.txt", {"image": 0.1}), **options)


def test_a_build_needs_samples_beside_a_cache(tmp_path: Path, model: onnx.ModelProto) -> None:
    cache = written(tmp_path / "cache.txt", {"image": 0.1})
    with pytest.raises(KerasrtError, match="golden") as caught:
        engines.build(model, tmp_path / "bundle", precision="int8", target="onnxruntime", calibration=cache)
    assert "--sample" in caught.value.fix
    assert not (tmp_path / "bundle").exists()


def test_a_build_takes_the_scales_and_says_what_is_missing(
    tmp_path: Path,
    model: onnx.ModelProto,
    samples: dict[str, Array],
    read_by_int8: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress.Progress, "warn", lambda self, text: said.append(text))
    left_out = list(read_by_int8)[-1]
    given = {name: scale for name, scale in read_by_int8.items() if name != left_out}
    bundle = engines.build(
        model,
        tmp_path / "bundle",
        precision="int8",
        target="onnxruntime",
        calibration=written(tmp_path / "cache.txt", given),
        sample=samples,
        quiet=True,
    )
    recipes = [json.loads(path.read_text()) for path in bundle.folder.rglob("*recipe*.json")]
    rows = {row["value"]: row["scale"] for row in recipes[0]["activations"]}
    assert {name: rows[name] for name in given} == pytest.approx(given, rel=1e-6)
    assert any(f"not {left_out}" in text for text in said)
    assert np.isfinite(list(rows.values())).all()


def test_a_scale_that_a_recipe_lacks_comes_from_the_cache(
    tmp_path: Path,
    model: onnx.ModelProto,
    samples: dict[str, Array],
    int8: engines.Recipe,
    read_by_int8: dict[str, float],
) -> None:
    lacking = next(iter(read_by_int8))
    rows = tuple(row for row in int8.activations if row.value != lacking)
    given = dataclasses.replace(int8, activations=rows)
    cache = written(tmp_path / "cache.txt", {lacking: 0.5})
    options = {"target": "onnxruntime", "calibration": cache, "sample": samples, "quiet": True}
    bundle = engines.build(model, tmp_path / "bundle", "int8", recipe=given, **options)
    path = next(iter(bundle.folder.rglob("*recipe*.json")))
    found = {row["value"]: row["scale"] for row in json.loads(path.read_text())["activations"]}
    assert found == {**scales_of(given), lacking: 0.5}


def test_a_network_trained_in_int8_has_scales_already(
    tmp_path: Path, model: onnx.ModelProto, int8: engines.Recipe
) -> None:
    graph = load(model)
    place(graph, int8, np.float32)
    cache = written(tmp_path / "cache.txt", {"image": 0.1})
    with pytest.raises(BuildError, match="give the scales already"):
        engines.recipe(ir.to_proto(graph), "int8", calibration=cache)


def test_what_overflows_fp16_by_the_cache_stays_fp32(tmp_path: Path, model: onnx.ModelProto) -> None:
    recipe = engines.recipe(model, "fp16", calibration=written(tmp_path / "cache.txt", {"image": 0.1, "stem": 700.0}))
    assert recipe.precision_of("stem") == "fp32"
    assert recipe.precision_of("logits") == "fp16"


def test_no_curve_without_samples(tmp_path: Path, model: onnx.ModelProto, int8: engines.Recipe) -> None:
    with pytest.raises(BuildError, match="--pareto needs real samples"):
        show([(int8, load(model))], str(written(tmp_path / "cache.txt", {"image": 0.1})), Console(), as_json=True)
