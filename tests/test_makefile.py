"""What `make` does with PYTHON=, on a project whose .venv is there already."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    return subprocess.run(
        ["make", "setup", *arguments],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with the .venv of a Python of long ago, ready."""
    for name in ("pyproject.toml", "constraints.txt", "Makefile"):
        shutil.copy2(ROOT / name, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.1.4\n")
    (tmp_path / ".venv" / ".ready").write_text("")
    return tmp_path


def test_another_python_than_that_of_the_environment(project: Path) -> None:
    for result in (make(project, f"PYTHON={sys.executable}"), make(project, PYTHON=sys.executable)):
        assert result.returncode == 2
        assert (
            f"error: .venv is Python 3.1, and PYTHON={sys.executable} is {HERE}; to do: rm -rf .venv" in result.stderr
        )


def test_the_same_python_and_none(project: Path) -> None:
    assert make(project).returncode == 0
    (project / ".venv" / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {HERE}.99\n")
    assert make(project, f"PYTHON={sys.executable}").returncode == 0
    (project / ".venv" / "pyvenv.cfg").write_text(f"version_info = {HERE}.99\n")
    assert make(project, f"PYTHON={sys.executable}").returncode == 0


def test_a_precision_is_handed_on_only_where_it_is_asked_for(project: Path) -> None:
    for model, module in (("digits", "examples.build"), ("my.keras", "engines.build")):
        arguments = ("-n", "-o", ".venv/.ready", "engine", f"MODEL={model}")
        assert f"python -m {module} '{model}'" in make(project, *arguments).stdout
        assert "--precision" not in make(project, *arguments).stdout
        assert make(project, *arguments, "PRECISION=bf16").stdout.count("--precision 'bf16'") == 2


def test_a_python_that_is_not_there(project: Path) -> None:
    result = make(project, "PYTHON=no-such-python")
    assert result.returncode == 2
    assert "error: PYTHON=no-such-python cannot be run; to do: " in result.stderr
