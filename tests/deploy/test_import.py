"""What importing the package costs, and what a Python without numpy is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import deploy
from deploy import project_environment

PACKAGE = Path(deploy.__file__).parent


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": "" if cwd else str(PACKAGE.parent)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A source checkout without a `.venv`."""
    shutil.copytree(PACKAGE, tmp_path / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "pyproject.toml").write_text("")
    return tmp_path


def add_environment(checkout: Path) -> None:
    """A `.venv` whose python says what it was asked to run."""
    script = checkout / ".venv" / "bin" / "python"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nprintf "%s|" "$@"\n')
    script.chmod(0o755)


def test_import_loads_numpy_and_nothing_heavy() -> None:
    heavy = "onnxruntime tensorrt tensorrt_rtx keras tensorflow onnx onnx_ir cuda rich converters engines"
    code = (
        f"import sys, deploy; print(*[m for m in {heavy.split()} if m in sys.modules]); print('numpy' in sys.modules)"
    )
    result = python("-c", code)
    assert result.stdout.split("\n")[:2] == ["", "True"], result.stderr


def test_public_names() -> None:
    assert callable(deploy.verify)
    assert {"Runtime", "verify", "TensorSpec", "KerasrtError", "InputError", "BundleError"} <= set(deploy.__all__)
    assert all(hasattr(deploy, name) for name in deploy.__all__)


def test_without_numpy_a_command_runs_in_the_checkouts_environment(checkout: Path) -> None:
    add_environment(checkout)
    result = python("-S", "-m", "deploy.infer", "my input.npz", "-o", "out.npz", cwd=checkout)
    assert result.stdout == "-S|-m|deploy.infer|my input.npz|-o|out.npz|", result.stderr


def test_without_numpy_and_environment_a_command_says_what_to_install(checkout: Path) -> None:
    result = python("-S", "-m", "deploy.infer", "input.npz", cwd=checkout)
    assert result.returncode == 2
    assert result.stderr.startswith("error: numpy is not installed for ")
    assert "pip install 'kerasrt[cpu]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_without_numpy_an_import_raises_and_starts_nothing(checkout: Path) -> None:
    add_environment(checkout)
    code = "try:\n  import deploy\nexcept ImportError as error: print(error)"
    result = python("-S", "-c", code, cwd=checkout)
    assert result.stdout.startswith("numpy is not installed"), result.stderr


@pytest.mark.parametrize(
    ("modules", "argv", "started"),
    [
        (("no_such_module", "json"), ["-m", "x"], False),
        (("no_such_module", "no_other_module"), ["-m", "x"], True),
        (("no_such_module",), ["infer.py", "x"], False),
    ],
)
def test_a_command_enters_the_environment_only_where_every_backend_is_missing(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, modules: tuple[str, ...], argv: list[str], started: bool
) -> None:
    add_environment(checkout)
    calls: list[list[str]] = []
    monkeypatch.setattr(project_environment, "ROOT", checkout)
    monkeypatch.setattr(os, "execv", lambda path, arguments: calls.append(arguments))
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "deploy.infer", "x"])
    project_environment.enter_without(*modules)
    assert calls == ([[str(checkout / ".venv/bin/python"), "-m", "deploy.infer", "x"]] if started else [])


def test_with_everything_installed_nothing_is_started_again(checkout: Path) -> None:
    add_environment(checkout)
    result = python("-m", "deploy.infer", "--help", cwd=checkout)
    assert result.stdout.startswith("usage: python -m deploy.infer"), result.stderr
