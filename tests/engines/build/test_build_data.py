"""Bad samples, calibration data and open sizes are refused before the model is converted, or even loaded."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest

import engines
from converters.arguments import parse_shapes
from deploy.errors import BuildError, InputError, KerasrtError
from engines.build import source
from tests.engines.build.test_build import command


@pytest.fixture(scope="module")
def network() -> Any:
    inputs = keras.Input((6, 6, 2), name="image")
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, name="conv")(inputs))


@pytest.fixture
def unconverted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion fails this test where it is reached."""

    def convert(*arguments: Any) -> None:
        raise AssertionError("converted")

    monkeypatch.setattr(source, "convert", convert)


def images(count: int = 4, size: int = 6, dtype: str = "float32", value: float = 1.0) -> Any:
    return np.full((count, size, size, 2), value, dtype)


BAD = [
    ({"image": images(size=7)}, "wrong size"),
    ({"image": images(dtype="uint8")}, "the dtype is wrong"),
    ({"image": images()[0]}, "rank 3"),
    ({"picture": images(), "other": images()}, "image"),
    ({"image": images(value=np.nan)}, "NaN"),
    ({"image": images(0)}, "empty|no sample"),
]
KINDS = ("calibration", "sample", "calibration file", "sample file")
BATCHES = [{"image": images()}, {"image": images(value=np.inf)}]
CASES = [*((kind, *case) for kind in KINDS for case in BAD), ("calibration", BATCHES, "infinite")]


@pytest.mark.usefixtures("unconverted")
@pytest.mark.parametrize(("kind", "data", "message"), CASES)
def test_bad_data_is_refused_before_the_conversion(
    network: Any, tmp_path: Path, kind: str, data: Any, message: str
) -> None:
    name, _, file = kind.partition(" ")
    if file:
        np.savez(tmp_path / "data.npz", **data)
        data = tmp_path / "data.npz"
    with pytest.raises(InputError, match=message):
        engines.build(network, tmp_path / "b", "fp16", quiet=True, **{name: data})
    assert not (tmp_path / "b").exists()


@pytest.mark.usefixtures("unconverted")
def test_the_first_item_of_a_stream_is_looked_at(network: Any, tmp_path: Path) -> None:
    stream = iter([{"image": images(size=7)}])
    with pytest.raises(InputError, match="wrong size"):
        engines.build(network, tmp_path / "b", "fp16", calibration=stream, quiet=True)


@pytest.mark.parametrize("flag", ["--calibration", "--sample"])
@pytest.mark.parametrize("content", ["truncated", "pickled", "no array", "no sample", "text", "missing"])
def test_headers_are_read_before_tensorflow_is_imported(tmp_path: Path, flag: str, content: str) -> None:
    path = tmp_path / "data.npz"
    if content == "no array":
        np.savez(path)
    elif content == "text":
        path.write_text("image")
    elif content != "missing":
        array = np.array([{}]) if content == "pickled" else images(0 if content == "no sample" else 4)
        np.savez(path, allow_pickle=True, image=array)
    if content == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    (tmp_path / "model.keras").write_bytes(b"not read")
    script = (
        "import sys, atexit\natexit.register(lambda: print([m for m in ('tensorflow', 'keras') if m in sys.modules]))"
    )
    arguments = (tmp_path / "model.keras", "-o", tmp_path / "b", "--precision", "fp16", flag, path)
    result = command(*arguments, code=script)
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert str(path) in result.stderr
    assert "to do: " in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == "[]\n"


def test_few_samples_are_remarked_upon(network: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for count, said in ((4, True), (32, False)):
        data = {"image": np.random.default_rng(0).normal(size=(count, 6, 6, 2)).astype(np.float32)}
        engines.build(network, tmp_path / f"b{count}", "int8", "onnxruntime", calibration=data)
        assert (f"only {count} calibration samples" in capsys.readouterr().out) == said


def open_network() -> Any:
    inputs = keras.Input((None, None, 2), name="image")
    return keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same", name="conv")(inputs))


@pytest.mark.usefixtures("unconverted")
@pytest.mark.parametrize(("sample", "size"), [(None, 224), ({"image": images(2)}, 6)])
def test_an_open_size_is_refused_with_the_argument_that_closes_it(tmp_path: Path, sample: Any, size: int) -> None:
    pytest.importorskip("tensorrt_rtx")
    with pytest.raises(BuildError, match="input image: has a size that is not known") as caught:
        engines.build(open_network(), tmp_path / "b", "fp16", "tensorrt-rtx", sample=sample, quiet=True)
    flag, text, *_ = shlex.split(caught.value.fix)
    assert flag == "--shapes"
    assert parse_shapes(text) == {"image": [None, size, size, 2]}


def test_the_argument_for_an_open_size_works(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    shapes = parse_shapes('{"image": [null, 6, 6, 2]}')
    sample = {"image": images(2)}
    bundle = engines.build(
        open_network(), tmp_path / "b", "fp16", "tensorrt-rtx", sample=sample, shapes=shapes, quiet=True
    )
    assert bundle.manifest.inputs[0].shape == ("batch", 6, 6, 2)


def test_onnxruntime_takes_an_open_size_with_a_sample_that_shows_one(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="or a sample that shows them"):
        engines.build(open_network(), tmp_path / "b", "fp32", "onnxruntime", quiet=True)
    bundle = engines.build(
        open_network(), tmp_path / "b", "fp32", "onnxruntime", sample={"image": images(2)}, quiet=True
    )
    assert [isinstance(size, int) for size in bundle.manifest.inputs[0].shape] == [False, False, False, True]


def test_an_open_size_of_an_onnx_graph(model: onnx.ModelProto, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "height"
    with pytest.raises(KerasrtError, match="make_dynamic_shape_fixed --dim_param height") as caught:
        engines.build(copy, tmp_path / "b", "fp16", "tensorrt-rtx", quiet=True)
    assert caught.value.where == "input image"


SHAPES = {"image": (6, 6, 2), "offset": (3,)}
REPEATED = [
    ("image", "offset", "offset is the same in all 34 calibration samples"),
    ("offset", "image", "image is the same in all 34 calibration samples"),
    ("", "image, offset", "all 34 calibration samples are identical (image, offset)"),
    ("image, offset", "", ""),
]


@pytest.mark.parametrize("stream", [False, True], ids=["arrays", "stream"])
@pytest.mark.parametrize(("varied", "same", "message"), REPEATED)
def test_inputs_that_never_change_are_remarked_upon(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], varied: str, same: str, message: str, stream: bool
) -> None:
    inputs = keras.Input((6, 6, 2), name="image"), keras.Input((3,), name="offset")
    network = keras.Model(inputs, keras.layers.Conv2D(3, 3, name="conv")(inputs[0]) + inputs[1][:, None, None])
    random = np.random.default_rng(0)
    arrays = {name: np.repeat(random.normal(size=(1, *shape)), 34, 0) for name, shape in SHAPES.items()}
    for name in filter(None, varied.split(", ")):
        arrays[name][33:] += 1  # the last sample alone, in the second batch
    samples = {name: array.astype(np.float32) for name, array in arrays.items()}
    given = iter([{n: a[:20] for n, a in samples.items()}, {n: a[20:] for n, a in samples.items()}])
    engines.build(network, tmp_path / "b", "int8", "onnxruntime", calibration=given if stream else samples)
    said = capsys.readouterr().out
    assert message in said
    assert ("calibration samples" in said) == bool(message)
    recorded = engines.recipe(network, "int8", samples).calibration.get("equal in all samples", "")
    assert recorded == same
