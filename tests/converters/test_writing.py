"""A file written tensor by tensor is what serializing the whole model gives; large weights lie beside it."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from converters.convert import Conversion, convert_model
from converters.writing import write_model
from deploy.errors import KerasrtError


@pytest.fixture(scope="module")
def conversion() -> Conversion:
    inputs = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(200, 3, name="conv")(inputs)
    x = keras.layers.Dense(5, name="dense")(keras.layers.Flatten()(x))
    return convert_model(keras.Model(inputs, x))


def _run(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": x})[0]


def test_the_file_holds_the_same_model(conversion: Conversion, tmp_path: Path) -> None:
    write_model(conversion.model, tmp_path / "model.onnx")
    found, expected = onnx.load(tmp_path / "model.onnx"), ir.serde.serialize_model(conversion.model)
    assert [x.SerializeToString() for x in found.graph.node] == [x.SerializeToString() for x in expected.graph.node]
    for a, b in zip(found.graph.initializer, expected.graph.initializer, strict=True):
        assert a.name == b.name
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(a), onnx.numpy_helper.to_array(b))
    assert found.metadata_props == expected.metadata_props
    weights = {x.name for x in expected.graph.initializer}
    assert list(found.graph.value_info) == [x for x in expected.graph.value_info if x.name not in weights]
    onnx.checker.check_model(tmp_path / "model.onnx", full_check=True)
    assert list(conversion.model.graph.initializers)
    assert (tmp_path / "model.onnx").read_bytes() == _written_again(conversion, tmp_path)


def _written_again(conversion: Conversion, folder: Path) -> bytes:
    write_model(conversion.model, folder / "again.onnx")
    return (folder / "again.onnx").read_bytes()


def test_large_weights_lie_beside_the_file(conversion: Conversion, tmp_path: Path) -> None:
    write_model(conversion.model, tmp_path / "one.onnx")
    write_model(conversion.model, tmp_path / "two.onnx", limit=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.onnx", "two.onnx", "two.onnx.data"]
    assert (tmp_path / "two.onnx").stat().st_size < 4000
    onnx.checker.check_model(tmp_path / "two.onnx", full_check=True)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(_run(tmp_path / "two.onnx", x), _run(tmp_path / "one.onnx", x))
    for value in conversion.model.graph.initializers.values():
        assert not isinstance(value.const_value, ir.ExternalTensor)


@pytest.mark.parametrize("limit", [2**31, 1000])
def test_nothing_is_left_where_it_cannot_be_written(conversion: Conversion, tmp_path: Path, limit: int) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KerasrtError):
        write_model(conversion.model, tmp_path / "file" / "model.onnx", limit=limit)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
