"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.files import replace_link, replacing, replacing_folder


@pytest.mark.parametrize("broken", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_between_the_two_renames_loses_neither_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, after: bool
) -> None:
    """The older folder is moved away, then the new one put in its place: one of them is there whatever happens."""
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "file").write_text("older")
    calls: list[object] = []
    real: Callable[..., None] = os.replace

    def interrupted(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == broken and not after:
            raise KeyboardInterrupt
        real(source, destination)
        if len(calls) == broken:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(target) as folder:
        (folder / "file").write_text("newer")
    assert (target / "file").read_text() == ("newer" if (broken, after) == (2, True) else "older")
    assert os.listdir(tmp_path) == ["bundle"]


def killed(action: str) -> None:
    """Runs ``action`` (lines of Python) in a process that kills itself in the middle."""
    code = (
        f"import os, signal\nfrom deploy.files import *\nkill = lambda: os.kill(os.getpid(), signal.SIGKILL)\n{action}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == -9


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    target, file = tmp_path / "bundle", tmp_path / "output.npz"
    killed(f"with replacing_folder({str(target)!r}) as folder:\n (folder / 'file').write_text('half')\n kill()")
    killed(f"with replacing({str(file)!r}) as temporary:\n temporary.write_text('half')\n kill()")
    foreign = [".bundle.tmp", ".bundle.x-1.y", "bundle.old"]
    for name in foreign:
        (tmp_path / name).mkdir()
    assert len(os.listdir(tmp_path)) == len(foreign) + 2
    with replacing_folder(target) as folder, replacing(file) as temporary:
        (folder / "file").write_text("whole")
        temporary.write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted([*foreign, "bundle", "output.npz"])
    assert (target / "file").read_text() == file.read_text() == "whole"


def test_a_process_killed_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "file").write_text("older")
    killed(
        "real = os.replace\n"
        "def replace(source, destination):\n real(source, destination)\n kill()\n"
        "os.replace = replace\n"
        f"with replacing_folder({str(target)!r}) as folder:\n (folder / 'file').write_text('newer')"
    )
    assert not target.exists()
    with replacing_folder(target) as folder:
        assert (target / "file").read_text() == "older"
        (folder / "file").write_text("newest")
    assert (target / "file").read_text() == "newest"
    assert os.listdir(tmp_path) == ["bundle"]


def test_what_a_process_at_work_has_is_left(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "bundle") as first:
        with replacing_folder(tmp_path / "bundle") as second:
            assert first.is_dir()
            (second / "file").write_text("second")
        assert first.is_dir()
        (first / "file").write_text("first")
    assert (tmp_path / "bundle" / "file").read_text() == "first"
    assert os.listdir(tmp_path) == ["bundle"]


def test_a_link_is_replaced_in_one_step(tmp_path: Path) -> None:
    link = tmp_path / "current"
    for name in ("first", "second"):
        replace_link(link, name)
        assert os.readlink(link) == name
    assert os.listdir(tmp_path) == ["current"]
