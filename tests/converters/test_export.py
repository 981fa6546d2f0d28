"""File to file, by the function and by the command: exit codes, what is written, that nothing is half-written."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import onnx
import pytest
from keras import layers

import converters
from converters import export
from converters.export import command
from deploy import cli
from deploy.errors import KerasrtError
from tests.converters.checking import randomize

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="act")(x)), name="open")
    path = tmp_path_factory.mktemp("model") / "model.keras"
    randomize(model).save(path)
    return path


def _run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run_module(command, [str(argument) for argument in arguments], program="kerasrt convert")
    assert isinstance(caught.value.code, int)
    return caught.value.code


def test_function(model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "new" / "model.onnx"
    assert export(model_file, target) == target
    proto = onnx.load(target)
    onnx.checker.check_model(proto, full_check=True)
    assert [value.name for value in proto.graph.output] == ["pool"]
    assert os.listdir(target.parent) == ["model.onnx"]


def test_function_with_options(model_file: Path, tmp_path: Path) -> None:
    export(str(model_file), str(tmp_path / "m.onnx"), opset=20, input_layout="nchw", shapes={"image": (None, 8, 8, 3)})
    proto = onnx.load(tmp_path / "m.onnx")
    assert [(i.domain, i.version) for i in proto.opset_import] == [("", 20)]
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 3, 8, 8]


def test_an_older_file_stays_when_the_conversion_fails(model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_bytes(b"older")
    with pytest.raises(KerasrtError):
        export(model_file, target, shapes={"image": (None, 8, 8, 4)})
    with pytest.raises(KerasrtError):
        export(tmp_path / "missing.keras", target)
    assert target.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_a_target_that_cannot_be_written(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(KerasrtError, match="cannot be written"):
        export(model_file, tmp_path / "file" / "model.onnx")
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_target_that_is_a_folder(model_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").mkdir()
    with pytest.raises(KerasrtError, match="cannot be written"):
        export(model_file, tmp_path / "model.onnx")
    assert os.listdir(tmp_path) == ["model.onnx"]


def test_command(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(model_file, "-o", tmp_path / "m.onnx") == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'm.onnx'}: 4 nodes, 1 Transpose" in out
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)


def test_command_explains(model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(model_file, "-o", tmp_path / "m.onnx", "--explain") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "conv  Conv2D  opened  nothing of its own" in lines
    assert "norm  BatchNormalization  opened  Conv" in lines
    assert "pool  GlobalAveragePooling2D  opened  ReduceMean" in lines


def test_command_with_shapes(model_file: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.onnx"
    assert _run(model_file, "-o", target, "--shapes", '{"image": [null, 9, 8, 3]}') == 0
    dims = onnx.load(target).graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == ["batch", 9, 8, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shapes", '{"image": [null, 9, 8, 4]}'], "does not fit"),
        (["--shapes", '{"image": [null, 9, 8]}'], "does not fit"),
        (["--shapes", '{"other": [null, 9, 8, 3]}'], "no input of that name"),
        (["--shapes", "{image"], "cannot be read"),
        (["--shapes", "[1, 2]"], "cannot be read"),
        (["--shapes", '{"image": ["a", 9, 8, 3]}'], "positive integer"),
        (["--shapes", '{"image": [null, 0, 8, 3]}'], "positive integer"),
        (["--shapes", '{"image": [null, 1.5, 8, 3]}'], "positive integer"),
        (["--shapes", '{"image": [null, 1, 1, 3]}'], "layer 'conv': its outputs cannot be computed"),
        (["--opset", "9"], "unsupported opset"),
        (["--custom-objects", "nowhere:Class"], "--custom-objects"),
    ],
)
def test_command_refuses(
    arguments: list[str], message: str, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model_file, "-o", tmp_path / "m.onnx", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert os.listdir(tmp_path) == []


def test_command_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04junk")
    assert _run(tmp_path / "bad.keras", "-o", tmp_path / "m.onnx") == 2
    assert "not a whole .keras file" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["bad.keras"]


def test_command_without_arguments() -> None:
    assert _run() == 2


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_both_commands_in_processes_of_their_own(model_file: Path, tmp_path: Path) -> None:
    first = _process("-m", "converters.export", str(model_file), "-o", str(tmp_path / "a.onnx"))
    assert (first.returncode, first.stdout.count("4 nodes")) == (0, 1), first.stderr
    second = _process("-m", "deploy.cli", "convert", str(tmp_path / "missing.keras"), "-o", str(tmp_path / "b.onnx"))
    assert second.returncode == 2
    assert "missing.keras: no such file" in second.stderr
    assert "Traceback" not in first.stderr + second.stderr
    assert os.listdir(tmp_path) == ["a.onnx"]


def test_importing_converters_is_light() -> None:
    code = "import sys, converters; print(sorted({'keras', 'tensorflow', 'onnx', 'onnx_ir'} & set(sys.modules)))"
    assert _process("-c", code).stdout.strip() == "[]"


def test_python_3_10_gets_one_sentence() -> None:
    code = """
        import sys
        sys.version_info = (3, 10, 4, "final", 0)
        try:
            import converters
        except ImportError as error:
            print(error)
    """
    text = _process("-c", textwrap.dedent(code)).stdout
    assert "Python 3.11 or newer" in text
    assert "this is Python 3.10, where deploy alone runs" in text
    assert converters.__all__
