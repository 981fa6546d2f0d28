"""The table of reference models, and the command that builds them."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engines
import examples.build as command
from deploy.errors import InputError
from deploy.manifest import Profile
from examples import reference as table
from examples.build import build_reference, copy_sample
from examples.cbam_resnet import make

NAMES = ["mean_spot_cbam", "mean_spot", "digits", "digits_mobilenet", "digits_efficientnet", "speech", "fer"]
NAMES += ["resnet50", "resnet101", "resnet152", "cbam_resnet50", "cbam_resnet101", "cbam_resnet152"]


def test_names() -> None:
    assert list(table.REFERENCES) == NAMES


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="mean_spot_cbam") as caught:
        table.reference("resnet34")
    assert caught.value.exit_code == 2


def test_the_command_imports_nothing_heavy() -> None:
    code = (
        "import sys, examples.build; "
        "print([m for m in ('tensorflow','keras','onnx','cv2','skimage','sklearn','scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_present_model_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, str | None]] = []

    def record(depth: int, attention: str | None, output: Path) -> None:
        made.append((depth, attention))
        for name in (output.name, make.SAMPLE, make.CALIBRATION):
            (tmp_path / name).touch()

    monkeypatch.setattr(table, "MADE", tmp_path)
    monkeypatch.setattr(make, "make", record)
    entry = table.reference("cbam_resnet101")
    assert entry.model() == tmp_path / "cbam_resnet101.keras"
    assert entry.model().is_file()
    assert made == [(101, "cbam")]
    (tmp_path / make.SAMPLE).unlink()
    entry.model()
    assert made == [(101, "cbam")] * 2


def test_build_hands_on_the_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setattr(engines, "build", lambda *args, **kwargs: calls.append((args, kwargs)), raising=False)
    entry = table.reference("digits")
    build_reference(entry, tmp_path, "int8", "onnxruntime", max_batch=20)
    ((args, kwargs),) = calls
    assert args == (entry.model(), tmp_path / "digits")
    assert kwargs == {
        "precision": "int8",
        "budget": None,
        "target": "onnxruntime",
        "profile": Profile(1, 1, 20),
        "calibration": entry.calibration,
        "sample": entry.sample,
        "task": "classification",
        "labels": tuple("0123456789"),
        "name": "digits",
    }


def test_first_name_becomes_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build(source: Any, output: Path, **facts: Any) -> None:
        output.mkdir(parents=True)
        asked.append(facts["precision"])

    monkeypatch.setattr(engines, "build", build, raising=False)
    copied: list[Path] = []

    def record(sample: Path) -> bool:
        copied.append(sample)
        return True

    monkeypatch.setattr(command, "copy_sample", record)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(["speech", "digits", "-o", str(tmp_path)])) == 0
    assert os.readlink(tmp_path / "current") == "speech"
    assert copied == [table.reference("speech").sample]
    assert asked == [None, None]  # the target's own default


def test_all_names_are_checked_before_anything_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "build", lambda *_, **__: pytest.fail("built"), raising=False)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    with pytest.raises(InputError):
        command.run(parser.parse_args(["digits", "nonsense", "-o", str(tmp_path)]))


def test_copy_follows_the_model(tmp_path: Path) -> None:
    first, second = table.reference("speech").sample, table.reference("digits").sample
    for sample in (first, second):
        assert copy_sample(sample, tmp_path)
        assert not (tmp_path / "input.npz").is_symlink()
        assert (tmp_path / "input.npz").read_bytes() == sample.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["input.npz"]


def test_a_link_is_replaced_and_what_it_names_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"x")
    (tmp_path / "input.npz").symlink_to("x.npz")
    assert copy_sample(table.reference("digits").sample, tmp_path)
    assert (tmp_path / "x.npz").read_bytes() == b"x"
    assert not (tmp_path / "input.npz").is_symlink()


def test_the_users_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "input.npz").write_bytes(b"mine")
    (tmp_path / "x.npz").write_bytes(b"x")
    assert not copy_sample(tmp_path / "x.npz", tmp_path)
    assert (tmp_path / "input.npz").read_bytes() == b"mine"
