"""The commands as a user meets them: output, exit codes, and never a traceback."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import deploy
from deploy import bench, cli, infer, inspect
from deploy.bundle import artifact, open_bundle, set_current, write_manifest
from deploy.golden import Golden, read_golden, write_golden
from deploy.manifest import Profile
from deploy.verify import command as verify

ROOT = Path(deploy.__file__).parent.parent
Write = Callable[..., Path]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, stdout, stderr."""

    def call(module: ModuleType, *arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            cli.run_module(module, [str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return int(caught.value.code or 0), captured.out, captured.err

    return call


def process(module: str, *arguments: Any, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


def falsify(folder: Path) -> None:
    """Golden outputs of another model, with the right hash: what a wrong engine looks like."""
    bundle = open_bundle(folder)
    golden = read_golden(bundle, layers=True)
    assert golden is not None
    write_golden(folder, Golden(golden.inputs, {k: v * 1.001 for k, v in golden.outputs.items()}, golden.layers))
    others = [a for a in bundle.manifest.artifacts if a.kind != "golden"]
    fields = {**vars(bundle.manifest), "artifacts": (*others, artifact(folder, "golden.npz", "golden"))}
    write_manifest(folder, type(bundle.manifest)(**fields))


def test_infer_as_a_process(digits: Path, image: Any, npz: Write) -> None:
    set_current(digits)
    path = npz(image=image, label=np.arange(3))
    result = process("deploy.infer", path, "-o", "out.npz", cwd=digits.parent.parent)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == "digits: fp32 graph on onnxruntime-cpu"
    assert lines[1].startswith("logits  (3, 10) float32  min ")
    assert lines[2].startswith("  [0]  digit ")
    assert lines[5].startswith("time     ")
    assert "parity   passed  max error " in result.stdout
    assert "threshold 1.0e-05 (4 samples, outputs recorded from Keras)" in result.stdout
    assert "waiting  the fp16 engine for tensorrt-rtx: needs an NVIDIA GPU" in result.stdout
    assert "note     not an input, so not used: label" in result.stdout
    with deploy.Runtime.load(digits) as runtime, np.load(digits.parent.parent / "out.npz") as written:
        np.testing.assert_array_equal(written["logits"], runtime(image))


def test_top_classes_are_those_of_the_output(digits: Path, image: Any, npz: Write, run: Any) -> None:
    _, out, _ = run(infer, npz(image=image), "--bundle", digits)
    with deploy.Runtime.load(digits) as runtime:
        best = runtime(image).argmax(axis=1)
    for index, label in enumerate(best):
        assert f"  [{index}]  digit {label} " in out


def test_infer_of_a_regression(spot: Path, npz: Write, run: Any) -> None:
    u = np.arange(60, dtype=np.float32).reshape(10, 6)
    code, out, _ = run(infer, npz(u=u, v=u), "--bundle", spot / "model.fp32.onnx")
    assert code == 0
    assert "strength  (10, 6) float32  min 0  mean 59  max 118" in out
    assert "  ... and 2 more samples" in out


def test_infer_beyond_the_profile(spot: Path, npz: Write, run: Any) -> None:
    u = np.ones((9, 6), np.float32)
    code, out, err = run(infer, npz(u=u, v=u), "--bundle", spot)
    assert (code, out) == (2, "")
    assert "input.npz: u: the batch is beyond the bundle's optimization profile\n" in err
    assert "  expected: 1 to 8 samples\n  found: 9\n  to do: split it into batches of at most 8" in err


def test_infer_loads_only_what_it_needs(digits: Path, image: Any, npz: Write) -> None:
    """Half a second for the whole process leaves room for numpy and ONNX Runtime alone."""
    code = (
        "import sys; from deploy import cli, infer\n"
        f"try: cli.run_module(infer, [{str(npz(image=image))!r}, '--bundle', {str(digits)!r}])\n"
        "except SystemExit: pass\n"
        "names = ('importlib.metadata', 'onnx', 'keras', 'tensorflow', 'tensorrt_rtx', 'cuda', 'rich', 'scipy')\n"
        "print([name for name in names if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    loaded = set(json.loads(result.stderr.strip().replace("'", '"')))
    assert loaded <= {"importlib.metadata"}  # ONNX Runtime itself may ask for its version


def test_failed_parity_is_exit_code_1(digits: Path, image: Any, npz: Write, run: Any, tmp_path: Path) -> None:
    falsify(digits)
    code, out, _ = run(infer, npz(image=image), "--bundle", digits, "-o", tmp_path / "out.npz")
    assert code == 1
    assert "parity   FAILED  max error 1.0e-03 of the output's scale" in out
    assert not (tmp_path / "out.npz").exists()
    code, out, _ = run(verify, "--bundle", digits, "--layers")
    assert code == 1
    assert "parity  FAILED  max error" in out
    assert "no layer diverges" in out


def test_not_a_number_in_the_output_is_said(digits: Path, npz: Write, run: Any) -> None:
    image = np.full((1, 8, 8, 1), 3e38, np.float32)
    _, out, _ = run(infer, npz(image=image), "--bundle", digits)
    assert "WARNING: 10 values are NaN or infinite" in out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": np.zeros((3, 8, 8), np.float32)}, "rank 3"),
        ({"image": np.zeros((3, 8, 7, 1), np.float32)}, "axis 2 has the wrong size"),
        ({"image": np.zeros((3, 8, 8, 1), np.uint8)}, "the dtype is wrong"),
        ({"image": np.zeros((0, 8, 8, 1), np.float32)}, "to do: give at least one sample"),
        ({"image": np.full((1, 8, 8, 1), np.nan, np.float32)}, "NaN or infinite"),
        ({"image": np.array([{}], object)}, "pickled"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "no array is named image"),
        ({}, "to do: numpy.savez(path, image=...)"),
    ],
)
def test_bad_input_is_exit_code_2(
    digits: Path, npz: Write, run: Any, tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    path = npz(**arrays)
    code, out, err = run(infer, path, "--bundle", digits, "-o", tmp_path / "out.npz")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}")
    assert message in err
    assert not (tmp_path / "out.npz").exists()


def test_bad_files_as_processes(digits: Path, image: Any, npz: Write, tmp_path: Path) -> None:
    path = npz(image=image)
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes(path.read_bytes()[:-100])
    for name in ("none.npz", truncated):
        result = process("deploy.infer", name, "--bundle", digits, cwd=tmp_path)
        assert result.returncode == 2
        assert result.stderr.startswith("error: ")
        assert "Traceback" not in result.stderr


def test_no_bundle_yet(image: Any, npz: Write, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(infer, npz(image=image))
    assert code == 2
    assert "no bundle has been built here yet" in err
    assert "make engine" in err


@pytest.mark.parametrize("name", ["model.fp32.onnx", "model.fp16.engine", "golden.npz"])
def test_an_edited_file_is_exit_code_2(digits: Path, image: Any, npz: Write, run: Any, name: str) -> None:
    with open(digits / name, "r+b") as stream:
        stream.write(b"X")
    path = npz(image=image)
    for module, arguments in (
        (infer, [path, "--bundle", digits]),
        (inspect, ["--bundle", digits]),
        (verify, ["--bundle", digits]),
    ):
        code, _, err = run(module, *arguments)
        assert code == 2
        assert f"{digits / name}: was changed after the bundle was built, so it is not used" in err
        assert "expected: sha256 " in err
        assert "found: sha256 " in err


def test_the_output_may_not_replace_the_input(digits: Path, image: Any, npz: Write, run: Any) -> None:
    path = npz(image=image)
    before = path.read_bytes()
    code, _, err = run(infer, path, "--bundle", digits, "-o", path)
    assert code == 2
    assert "would replace the input" in err
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "names no file"),
        ("build", "is a folder"),
        ("file/out.npz", "there is no such folder"),
        ("none/out.npz", "mkdir -p "),
        ("/dev/null", "is no regular file"),
        ("build/digits/manifest.json", "lies in a bundle"),
        ("build/digits/none/out.npz", "lies in a bundle"),
        ("build/current/new.npz", "lies in a bundle"),
        pytest.param(
            "closed/out.npz",
            "you may not write",
            marks=pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere"),
        ),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_run(
    digits: Path,
    image: Any,
    npz: Write,
    run: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output: str,
    message: str,
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o500)
    set_current(digits)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    path = npz(image=image)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(deploy.Runtime, "load", lambda *_: pytest.fail("it was run"))
    code, out, err = run(infer, path, "-o", output)
    assert (code, out) == (2, "")
    assert message in err
    assert "to do: " in err
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([*before, "input.npz"])


def test_the_output_may_not_replace_the_model(digits: Path, image: Any, npz: Write, run: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes((digits / "model.fp32.onnx").read_bytes())
    code, _, err = run(infer, npz(image=image), "--bundle", model, "-o", model)
    assert code == 2
    assert "would replace the model" in err


def test_a_file_for_a_bundle(digits: Path, image: Any, npz: Write, run: Any) -> None:
    path = npz(image=image)
    for file, advice in ((digits / "model.fp16.engine", f"to do: --bundle {digits}"), (path, "`make engine`")):
        code, _, err = run(infer, path, "--bundle", file)
        assert code == 2
        assert f"{file}: is a file, not a bundle" in err
        assert advice in err


def test_labels_of_another_number_are_not_shown(digits: Path, image: Any, npz: Write, run: Any) -> None:
    manifest = open_bundle(digits).manifest
    write_manifest(digits, dataclasses.replace(manifest, labels=("a", "b")))
    code, out, _ = run(infer, npz(image=image), "--bundle", digits)
    assert code == 0
    assert "  2 labels for 10 classes: their numbers are shown instead" in out
    assert not re.search(r"\] +[ab] ", out)


def test_layers_that_cannot_be_compared(digits: Path, run: Any) -> None:
    manifest = open_bundle(digits).manifest
    write_manifest(digits, dataclasses.replace(manifest, layers=()))
    _, out, _ = run(verify, "--bundle", digits, "--layers")
    assert "none can be compared" in out
    assert "diverges" not in out


def test_precision_that_waits_for_a_gpu(digits: Path, image: Any, npz: Write, run: Any) -> None:
    code, out, err = run(infer, npz(image=image), "--bundle", digits, "--precision", "fp16")
    assert (code, out) == (2, "")
    assert "needs an NVIDIA GPU" in err


def test_inspect(digits: Path, run: Any) -> None:
    code, out, _ = run(inspect, "--bundle", digits, "--layers")
    assert code == 0
    assert "  in   image   (batch, 8, 8, 1)  float32" in out
    assert "  out  logits  (batch, 10)       float32" in out
    assert "model.fp16.engine  engine  fp16       tensorrt-rtx" in out
    assert "block/conv   block/conv          0 3 1 2  float32" in out
    assert "  compute_capabilities  SM86\n" in out
    code, out, _ = run(inspect, "--bundle", digits, "--json")
    assert json.loads(out)["name"] == "digits"


def test_inspect_prints_figures_that_can_be_read(digits: Path, run: Any) -> None:
    manifest = open_bundle(digits).manifest
    simulated = {"int8": {"logits": {"relative": 0.012345678901234567, "sqnr_db": float("inf")}}}
    write_manifest(digits, dataclasses.replace(manifest, simulated=simulated, provenance={"code": [], "source": "x"}))
    _, out, _ = run(inspect, "--bundle", digits)
    assert "simulated error\n  int8 logits  relative 0.01235  sqnr_db inf\n" in out
    assert "provenance\n  source  x\n" in out


def test_inspect_into_a_closed_pipe(digits: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = f"{sys.executable} -m deploy.inspect --bundle {digits} | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode in (0, 141)
    assert result.stderr == ""


def test_bench(digits: Path, run: Any) -> None:
    code, out, _ = run(bench, "--bundle", digits, "--batch", 1, 4, "--runs", 5)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["1", "4"]
    code, _, err = run(bench, "--bundle", digits, "--batch", 0)
    assert code == 2
    assert "--batch: must be 1 or more" in err
    code, out, err = run(bench, "--bundle", digits, "--batch", 1, 9)
    assert (code, out) == (2, "")
    assert "batch 9: image: the batch is beyond the bundle's optimization profile" in err
    write_manifest(digits, dataclasses.replace(open_bundle(digits).manifest, profile=Profile(3, 3, 8)))
    _, out, _ = run(bench, "--bundle", digits, "--runs", 5)
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["3"]
    code, _, err = run(bench, "--bundle", digits, "--seconds", "nan")
    assert code == 2
    assert "--seconds: must be more than 0" in err


def test_verify_against_custom_objects_that_do_not_exist(digits: Path, run: Any) -> None:
    code, _, err = run(verify, "--bundle", digits, "--custom-objects", "no_such_module:Layer")
    assert code == 2
    assert "--custom-objects no_such_module:Layer: cannot be imported" in err


def test_console_script(digits: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    entries = [EntryPoint("inspect", "deploy.inspect", cli.GROUP), EntryPoint("gone", "no_such.module", cli.GROUP)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == cli.GROUP else [])
    codes = {}
    for arguments in (
        ["--help"],
        [],
        ["inspect", "--bundle", str(digits)],
        ["inspect", "--help"],
        ["gone"],
        ["unknown"],
    ):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        codes[" ".join(arguments[:2])] = (caught.value.code, *capsys.readouterr())
    assert codes["--help"][0] == 0
    assert "  inspect  Show what a bundle holds" in codes["--help"][1]
    assert "  gone     (not available: " in codes["--help"][1]
    assert codes[""][0] == 2
    assert codes["inspect --bundle"][0] == 0
    assert codes["inspect --help"][1].startswith("usage: kerasrt inspect")
    assert codes["gone"][0] == 2
    assert "kerasrt has no command 'unknown'" in codes["unknown"][2]
