"""Keras itself as the reference, and layers against the graph."""

from __future__ import annotations

import importlib
import os
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import deploy
from deploy import BundleError, InputError
from deploy.bundle import artifact, open_bundle, write_manifest
from deploy.manifest import LayerOutput, Manifest, TensorSpec
from deploy.parity import keras_reference
from deploy.parity.graph_layers import graph_layers, with_outputs


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def model(keras: Any) -> Any:
    """Inputs x, y (batch, 5) and two outputs; a nested model inside, a shared layer, and a Dropout."""
    keras.utils.set_random_seed(3)
    inner_input = keras.Input((5,), name="inner_input")
    inner = keras.Model(inner_input, keras.layers.Dense(4, activation="relu", name="dense")(inner_input), name="inner")
    shared = keras.layers.Dense(5, name="shared")
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    joined = keras.layers.Concatenate(name="join")([inner(shared(x)), shared(y)])
    joined = keras.layers.Dropout(0.5, name="drop")(joined)
    first = keras.layers.Dense(2, name="first")(joined)
    return keras.Model([x, y], [first, keras.layers.Dense(1, name="second")(joined)], name="two")


def to_onnx(model: Any, error: float = 0.0) -> onnx.ModelProto:
    """The fixture's model in ONNX, by hand; ``error`` falsifies the weights of ``inner/dense``."""
    weights = {}
    for path, layer in {
        "shared": model.get_layer("shared"),
        "inner/dense": model.get_layer("inner").get_layer("dense"),
        "first": model.get_layer("first"),
        "second": model.get_layer("second"),
    }.items():
        kernel, bias = layer.get_weights()
        weights[f"{path}/kernel"] = kernel * (1 + error) if path == "inner/dense" else kernel
        weights[f"{path}/bias"] = bias

    def dense(given: str, layer: str, result: str) -> Any:
        return helper.make_node("Gemm", [given, f"{layer}/kernel", f"{layer}/bias"], [result])

    nodes = [
        dense("x", "shared", "shared"),
        dense("shared", "inner/dense", "inner/linear"),
        helper.make_node("Relu", ["inner/linear"], ["inner/dense"]),
        dense("y", "shared", "shared_1"),
        helper.make_node("Concat", ["inner/dense", "shared_1"], ["join"], axis=1),
        dense("join", "first", "first_out"),
        dense("join", "second", "second_out"),
    ]
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 5]) for n in ("x", "y")}
    results = [
        helper.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, ["batch", s])
        for n, s in (("first", 2), ("second", 1))
    ]
    initializers = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", list(values.values()), results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def bundle_of(folder: Path, proto: onnx.ModelProto) -> Path:
    """A bundle without golden pairs."""
    folder.mkdir()
    onnx.save(proto, folder / "model.fp32.onnx")
    inputs = tuple(TensorSpec(name, ("batch", 5), "float32") for name in ("x", "y"))
    outputs = (TensorSpec("first_out", ("batch", 2), "float32"), TensorSpec("second_out", ("batch", 1), "float32"))
    layers = tuple(
        LayerOutput(path, value, (0, 1), "float32")
        for path, value in (("inner/dense", "inner/dense"), ("join", "join"), ("drop", "join"), ("gone", None))
    )
    graph = artifact(folder, "model.fp32.onnx", "graph", "fp32")
    write_manifest(folder, Manifest("two", inputs, outputs, (graph,), layers=layers))
    return folder


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    x, y = np.random.default_rng(0).normal(size=(2, 7, 5)).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", x=x, y=y)
    return tmp_path / "inputs.npz"


def test_a_right_graph_equals_keras(model: Any, inputs: Path, tmp_path: Path) -> None:
    model.save(tmp_path / "model.keras")
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    result = deploy.verify(bundle, reference=tmp_path / "model.keras", layers=True, inputs=inputs)
    assert result.passed
    assert result.samples == 7
    assert set(result.metrics) == {"first_out", "second_out"}
    assert [layer.name for layer in result.layers] == ["inner/dense", "join", "drop"]
    assert result.first_diverging is None
    assert max(metrics.relative for metrics in result.metrics.values()) < 1e-6


def test_a_wrong_layer_is_found(model: Any, inputs: Path, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "wrong", to_onnx(model, error=0.01))
    result = deploy.verify(bundle, reference=model, layers=True, inputs=inputs)
    assert not result.passed
    assert result.first_diverging is not None
    assert result.first_diverging.name == "inner/dense"


def test_the_model_is_as_it_was_after_layers_were_recorded(model: Any, inputs: Path, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    deploy.verify(bundle, reference=model, layers=True, inputs=inputs)
    assert all("call" not in vars(layer) for layer in model._flatten_layers())


def test_another_model_is_refused(keras: Any, model: Any, inputs: Path, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    x = keras.Input((5,), name="x")
    with pytest.raises(InputError):
        deploy.verify(bundle, reference=keras.Model(x, keras.layers.Dense(2)(x)), inputs=inputs)
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    other = keras.Model([x, y], keras.layers.Dense(2)(keras.layers.Add()([x, y])))
    with pytest.raises(InputError, match="another number of outputs"):
        deploy.verify(bundle, reference=other, inputs=inputs)
    other = keras.Model([x, y], [keras.layers.Dense(3)(x), keras.layers.Dense(1)(y)])
    with pytest.raises(BundleError, match="cannot be compared"):
        deploy.verify(bundle, reference=other, inputs=inputs)


def test_a_lambda_is_not_run(keras: Any, model: Any, inputs: Path, tmp_path: Path) -> None:
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    risky = keras.Model([x, y], keras.layers.Lambda(lambda v: v[0] + v[1])([x, y]))
    risky.save(tmp_path / "lambda.keras")
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    with pytest.raises(InputError, match="Keras cannot load the model") as caught:
        deploy.verify(bundle, reference=tmp_path / "lambda.keras", inputs=inputs)
    assert "Lambda" in str(caught.value)


def test_a_class_that_is_not_known_is_named(
    keras: Any, model: Any, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaled = type("Scaled", (keras.layers.Dense,), {"__module__": "no_such_module"})
    x, y = keras.Input((5,), name="x"), keras.Input((5,), name="y")
    keras.Model([x, y], [scaled(2)(x), scaled(1)(y)]).save(tmp_path / "own.keras")
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    with pytest.raises(InputError, match="its class Scaled is not known here") as caught:
        deploy.verify(bundle, reference=tmp_path / "own.keras", inputs=inputs)
    assert caught.value.fix == "name where it is defined: --custom-objects module:Scaled"

    def register(name: str) -> Any:
        assert name == "some.layers"
        keras.saving.register_keras_serializable("test")(scaled)

    found = importlib.import_module
    entry = EntryPoint("test", "some.layers", "kerasrt.keras_layers")
    monkeypatch.setattr(keras_reference, "entry_points", lambda group: [entry])
    monkeypatch.setattr(importlib, "import_module", lambda name: register(name) if name == entry.value else found(name))
    keras.saving.register_keras_serializable("test")(scaled)
    keras.Model([x, y], [scaled(2)(x), scaled(1)(y)]).save(tmp_path / "own.keras")
    del keras.saving.get_custom_objects()["test>Scaled"]
    assert not deploy.verify(bundle, reference=tmp_path / "own.keras", inputs=inputs).passed


@pytest.mark.parametrize("content", [None, b"", b"\x89HDF\r\n\x1a\n broken"])
def test_a_reference_that_is_no_model(
    keras: Any, model: Any, inputs: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "bad.h5"
    if content is not None:
        path.write_bytes(content)
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    with pytest.raises(InputError) as caught:
        deploy.verify(bundle, reference=path, inputs=inputs)
    assert caught.value.where == str(path)


def test_without_keras(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.import_module

    def without(name: str, package: str | None = None) -> Any:
        if name == "keras":
            raise ImportError("No module named 'keras'")
        return found(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(InputError, match="needs Keras, which is not installed") as caught:
        deploy.verify(digits, reference="model.keras")
    assert "golden pairs need no Keras" in caught.value.fix


def test_golden_pairs_and_layers(digits: Path) -> None:
    result = deploy.verify(digits, layers=True)
    assert result.passed
    assert [layer.name for layer in result.layers] == ["block/conv"]
    assert result.layers[0].metrics.relative < 1e-6


def test_inputs_without_a_reference(digits: Path, inputs: Path) -> None:
    with pytest.raises(InputError, match="need a reference"):
        deploy.verify(digits, inputs=inputs)


def test_no_golden_pairs(model: Any, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "right", to_onnx(model))
    with pytest.raises(InputError, match="no golden pairs"):
        deploy.verify(bundle)
    with pytest.raises(InputError, match="no golden inputs"):
        deploy.verify(bundle, reference=model)


def test_with_outputs_is_the_same_model_with_more_outputs(digits: Path) -> None:
    data = (digits / "model.fp32.onnx").read_bytes()
    long = "a" * 300  # its length takes two bytes
    merged = onnx.load_from_string(with_outputs(data, ["pool", long]))
    assert [value.name for value in merged.graph.output] == ["logits", "pool", long]
    del merged.graph.output[1:]
    assert merged == onnx.load_from_string(data)
    assert with_outputs(data, []) == data


def test_a_layer_map_that_does_not_fit(digits: Path, tmp_path: Path) -> None:
    bundle = open_bundle(digits)
    fields = {**vars(bundle.manifest), "layers": (LayerOutput("block/conv", "block/conv", (0, 2, 1), "float32"),)}
    wrong = type(bundle)(bundle.folder, Manifest(**fields))
    with pytest.raises(BundleError, match="the layer map does not fit"):
        graph_layers(wrong, {"image": np.zeros((1, 8, 8, 1), np.float32)}, ["block/conv"])
