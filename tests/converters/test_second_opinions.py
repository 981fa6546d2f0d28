"""Other optimizers find nothing left; the stricter tools accept the graphs; every process gives the same bytes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import onnx
import onnx_ir as ir
import onnxscript.optimizer
import pytest
from onnxruntime.quantization import quant_pre_process

import converters
from converters.convert import convert_model
from examples.cbam_resnet.model import digits
from examples.mean_spot.model import mean_spot
from examples.speech.model import speech
from tests.converters.checking import randomize

ROOT = Path(__file__).parents[2]
MODELS: dict[str, Callable[[], keras.Model]] = {
    "mean_spot": mean_spot,
    "mean_spot_cbam": lambda: mean_spot("cbam"),
    "digits": digits,
    "speech": speech,
    "mobilenet_v3": lambda: keras.applications.MobileNetV3Small((64, 64, 3), weights=None),
    "efficientnet": lambda: keras.applications.EfficientNetB0(weights=None, input_shape=(64, 64, 3)),
}


@pytest.fixture(scope="module", params=MODELS, name="proto")
def _proto(request: pytest.FixtureRequest) -> onnx.ModelProto:
    model = randomize(MODELS[request.param]())
    return ir.serde.serialize_model(convert_model(model).model)


def _nodes(proto: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in proto.graph.node)


def test_onnxslim_removes_nothing(proto: onnx.ModelProto) -> None:
    onnxslim = pytest.importorskip("onnxslim", reason="onnxslim is not installed")
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    assert _nodes(onnxslim.slim(copy)) == _nodes(proto)


def test_the_onnxscript_optimizer_removes_nothing(proto: onnx.ModelProto) -> None:
    model = ir.serde.deserialize_model(proto)
    onnxscript.optimizer.optimize(model)
    assert len(list(model.graph)) >= len(proto.graph.node)


def test_quantization_can_be_prepared(proto: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(proto, tmp_path / "model.onnx")
    quant_pre_process(tmp_path / "model.onnx", tmp_path / "prepared.onnx")
    assert (tmp_path / "prepared.onnx").exists()


def test_every_size_but_the_batch_is_known(proto: onnx.ModelProto) -> None:
    values = [*proto.graph.value_info, *proto.graph.output]
    assert values
    for value in values:
        dims = value.type.tensor_type.shape.dim
        assert all(dim.HasField("dim_value") or dim.dim_param == "batch" for dim in dims), value.name


def test_another_process_gives_the_same_bytes(tmp_path: Path) -> None:
    path = ROOT / "examples" / "mean_spot" / "mean_spot_cbam.keras"
    converters.export(path, tmp_path / "model.onnx")
    code = f"import converters; converters.export({str(path)!r}, {str(tmp_path / 'other.onnx')!r})"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    hashes = {hashlib.sha256(file.read_bytes()).hexdigest() for file in tmp_path.glob("*.onnx")}
    assert len(hashes) == 1
