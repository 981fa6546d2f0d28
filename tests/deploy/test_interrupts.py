"""Ctrl-C and SIGTERM: one line, exit code 130 or 143, nothing left behind, at whatever moment they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import deploy
from deploy import cli, interrupts

ROOT = Path(deploy.__file__).parent.parent
Write = Callable[..., Path]

BROKEN_OFF = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except KeyboardInterrupt:
    raise ImportError("initialization failed") from None
"""
"""What a C extension makes of Ctrl-C while it is imported."""


def process(*arguments: Any, path: Path = ROOT, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    """A Python process that has Python's own handler, or none, whatever this one was started with."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"},
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.SIG_DFL),
    )


def stand_in(folder: Path, name: str) -> Path:
    """A folder with a package that Ctrl-C breaks off as it is imported."""
    (folder / "path" / name).mkdir(parents=True)
    (folder / "path" / name / "__init__.py").write_text(BROKEN_OFF)
    return folder / "path"


@pytest.mark.parametrize("module", ["deploy.infer", "deploy.verify", "engines.build", "converters.export"])
def test_before_a_command_begins(tmp_path: Path, module: str) -> None:
    result = process("-m", module, "input.npz", path=stand_in(tmp_path, "numpy"))
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "error: interrupted\n")


def test_while_a_backend_is_imported(tmp_path: Path, digits: Path, image: Any, npz: Write) -> None:
    path = stand_in(tmp_path, "onnxruntime")
    result = process("-m", "deploy.infer", npz(image=image), "--bundle", digits, path=path)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "error: interrupted\n")


def test_the_script_kerasrt(tmp_path: Path) -> None:
    script = tmp_path / "kerasrt"
    script.write_text("from deploy.cli import main\nmain()\n")
    result = process(script, "--help", path=stand_in(tmp_path, "numpy"))
    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")


def test_a_program_that_uses_the_package_keeps_its_handlers() -> None:
    code = "import signal, deploy; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert process("-c", code).stdout == "True\n"


def test_a_background_job_stays_one(tmp_path: Path, digits: Path, image: Any, npz: Write) -> None:
    """A shell starts its background jobs with SIGINT ignored."""
    path = tmp_path / "path"
    path.mkdir()
    (path / "sitecustomize.py").write_text("import atexit, os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    result = process("-m", "deploy.infer", npz(image=image), "--bundle", digits, path=path, ignored=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert "parity   passed" in result.stdout


@pytest.mark.parametrize(
    ("number", "code", "said"), [("SIGINT", 130, "error: interrupted\n"), ("SIGTERM", 143, "error: terminated\n")]
)
def test_while_a_command_writes(tmp_path: Path, number: str, code: int, said: str) -> None:
    program = (
        "import os, signal\n"
        "from types import SimpleNamespace\n"
        "from deploy.cli import run_module\n"
        "from deploy.files import replacing_folder\n"
        "def run(arguments):\n"
        f"    with replacing_folder({str(tmp_path / 'bundle')!r}) as folder:\n"
        "        (folder / 'file').write_text('half')\n"
        f"        os.kill(os.getpid(), signal.{number})\n"
        "        (folder / 'file').write_text('whole')\n"
        "run_module(SimpleNamespace(add_arguments=lambda parser: None, run=run, __doc__=''), [], 'p')\n"
    )
    result = process("-c", program)
    assert (result.returncode, result.stdout, result.stderr) == (code, "", said)
    assert not list(tmp_path.iterdir())


def run(call: Callable[[], int]) -> int:
    """The exit code of a command that does ``call``, run in this process."""
    module: Any = SimpleNamespace(add_arguments=lambda parser: None, run=lambda arguments: call(), __doc__="")
    with pytest.raises(SystemExit) as caught:
        cli.run_module(module, [], "program")
    return int(caught.value.code or 0)


def test_an_interrupt_that_became_another_error(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> int:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ValueError("wrong") from None
        return 0

    assert run(broken) == 143
    assert capsys.readouterr().err == "error: terminated\n"


def test_a_fault_of_ours_is_no_failed_parity(capsys: pytest.CaptureFixture[str]) -> None:
    def fault() -> int:
        raise ValueError("unforeseen")

    assert run(fault) == cli.FAULT
    err = capsys.readouterr().err
    assert "ValueError: unforeseen" in err
    assert err.endswith("error: this is a fault of kerasrt's\n  to do: please report it with the lines above\n")


def test_handlers_are_as_before_behind_a_command() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    inside: list[Any] = []
    run(lambda: inside.append(signal.getsignal(signal.SIGTERM)) or 0)
    assert inside == [interrupts._unwind]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None])
def test_other_handlers_are_left(handler: Any) -> None:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with interrupts.unwinding(), interrupts.deferred():
            if handler is signal.SIG_IGN:
                assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)


def test_deferred(capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> int:
        with interrupts.deferred() as event:
            signal.raise_signal(signal.SIGTERM)
            assert event.is_set()
        raise KeyboardInterrupt

    assert run(build) == 143
    assert capsys.readouterr().err == "error: terminated\n"


def test_deferred_in_another_thread_changes_nothing() -> None:
    found: list[Any] = []

    def work() -> None:
        with interrupts.deferred() as event:
            found.extend([event.is_set(), signal.getsignal(signal.SIGINT)])

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False, before]


def test_a_failed_import_without_an_interrupt_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError):
        interrupts.import_module("no_such_module")
    assert isinstance(interrupts.import_module("json"), ModuleType)
