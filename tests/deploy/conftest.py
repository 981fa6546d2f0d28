"""Real graphs and bundles for the runtime's tests.

The graphs are made by onnx.helper, the golden outputs by onnx's reference evaluator: neither is what the runtime runs.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from deploy.bundle import artifact, write_manifest
from deploy.golden import Golden, write_golden
from deploy.manifest import LayerOutput, Manifest, Profile, TensorSpec

CLASSES = tuple(f"digit {i}" for i in range(10))


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "main", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def classifier() -> onnx.ModelProto:
    """(batch, 8, 8, 1) -> (batch, 10): Transpose, Conv + ReLU, GlobalAveragePool, Gemm; NHWC outside, NCHW inside."""
    random = np.random.default_rng(7)
    nodes = [
        helper.make_node("Transpose", ["image"], ["image/nchw"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["image/nchw", "conv/kernel", "conv/bias"], ["conv/linear"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv/linear"], ["block/conv"], name="block/conv"),
        helper.make_node("GlobalAveragePool", ["block/conv"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "dense/kernel", "dense/bias"], ["logits"]),
    ]
    constants = {
        "conv/kernel": random.normal(size=(16, 1, 3, 3)).astype(np.float32),
        "conv/bias": random.normal(size=16).astype(np.float32),
        "dense/kernel": random.normal(size=(16, 10)).astype(np.float32),
        "dense/bias": random.normal(size=10).astype(np.float32),
    }
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 8, 8, 1])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    return _model(nodes, [image], [logits], constants)


def two_inputs() -> onnx.ModelProto:
    """u, v: (batch, 6) -> spot: (batch, 1) and strength: (batch, 6)."""
    nodes = [
        helper.make_node("Add", ["u", "v"], ["strength"]),
        helper.make_node("MatMul", ["strength", "kernel"], ["spot"]),
    ]
    specs = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 6]) for n in ("u", "v", "strength")}
    spot = helper.make_tensor_value_info("spot", TensorProto.FLOAT, ["batch", 1])
    kernel = np.linspace(-1, 1, 6, dtype=np.float32).reshape(6, 1)
    return _model(nodes, [specs["u"], specs["v"]], [spot, specs["strength"]], {"kernel": kernel})


def specs(values: Any) -> tuple[TensorSpec, ...]:
    shapes = [tuple(d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim) for v in values]
    return tuple(TensorSpec(v.name, shape, "float32") for v, shape in zip(values, shapes, strict=True))


def quantized() -> bytes:
    """The classifier with its Gemm's input rounded to 8 bits: a real INT8 Q/DQ graph for ONNX Runtime."""
    model = classifier()
    gemm = model.graph.node[-1]
    gemm.input[0] = "flat/dequantized"
    scale = numpy_helper.from_array(np.float32(0.02), "scale")
    zero = numpy_helper.from_array(np.uint8(0), "zero")
    model.graph.initializer.extend([scale, zero])
    nodes = [
        helper.make_node("QuantizeLinear", ["flat", "scale", "zero"], ["flat/quantized"]),
        helper.make_node("DequantizeLinear", ["flat/quantized", "scale", "zero"], ["flat/dequantized"]),
    ]
    for node in nodes:
        model.graph.node.insert(len(model.graph.node) - 1, node)
    return bytes(model.SerializeToString())


def write_bundle(folder: Path, model: onnx.ModelProto, **fields: Any) -> Path:
    """A bundle of a graph, with golden pairs of 4 samples, and an engine file that no machine without a GPU opens."""
    folder.mkdir(parents=True)
    onnx.save(model, folder / "model.fp32.onnx")
    (folder / "model.fp16.engine").write_bytes(b"an engine for a GPU")
    inputs, outputs = specs(model.graph.input), specs(model.graph.output)
    random = np.random.default_rng(1)
    given = {s.name: random.normal(size=(4, *s.shape[1:])).astype(np.float32) for s in inputs}
    layers = fields.get("layers", ())
    values = [layer.value for layer in layers]
    reference = ReferenceEvaluator(model)
    results = dict(zip([s.name for s in outputs], reference.run(None, given), strict=True))
    inner = dict(zip(values, ReferenceEvaluator(model).run(values, given), strict=True)) if values else {}
    in_keras = {layer.path: inner[layer.value].transpose(np.argsort(layer.order)) for layer in layers}
    write_golden(folder, Golden(given, results, in_keras))
    artifacts = [
        artifact(folder, "model.fp32.onnx", "graph", "fp32"),
        artifact(
            folder, "model.fp16.engine", "engine", "fp16", "tensorrt-rtx", details={"compute_capabilities": ["SM86"]}
        ),
        artifact(folder, "golden.npz", "golden"),
    ]
    if fields.pop("int8", False):
        (folder / "model.int8.onnx").write_bytes(quantized())
        artifacts.append(artifact(folder, "model.int8.onnx", "graph", "int8", "onnxruntime"))
    write_manifest(folder, Manifest(folder.name, inputs, outputs, tuple(artifacts), profile=Profile(1, 1, 8), **fields))
    return folder


@pytest.fixture(scope="session")
def classifier_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layers = (LayerOutput("block/conv", "block/conv", (0, 3, 1, 2), "float32"),)
    folder = tmp_path_factory.mktemp("bundles") / "digits"
    return write_bundle(folder, classifier(), task="classification", labels=CLASSES, layers=layers, int8=True)


@pytest.fixture(scope="session")
def two_inputs_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("bundles") / "spot", two_inputs(), task="regression")


@pytest.fixture
def digits(classifier_template: Path, tmp_path: Path) -> Path:
    """A classifier's bundle of this test's own: image (batch, 8, 8, 1) -> logits (batch, 10)."""
    return Path(shutil.copytree(classifier_template, tmp_path / "build" / "digits"))


@pytest.fixture
def spot(two_inputs_template: Path, tmp_path: Path) -> Path:
    """A bundle with two inputs and two outputs of this test's own."""
    return Path(shutil.copytree(two_inputs_template, tmp_path / "build" / "spot"))


@pytest.fixture
def image() -> np.ndarray[Any, Any]:
    """Three samples for the classifier."""
    return np.random.default_rng(3).random((3, 8, 8, 1), dtype=np.float32)


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    """Writes arrays to an .npz and returns its path."""

    def write(**arrays: Any) -> Path:
        path = tmp_path / "input.npz"
        np.savez(path, **arrays)
        return path

    return write
