"""The command `kerasrt`, and what every command of the project shares.

A command is a module with a one-line docstring (its help), ``add_arguments(parser)`` and ``run(arguments) -> exit
code``. `kerasrt NAME` finds it by the entry point NAME in group ``kerasrt.commands``, whose value is the module's
dotted name; `python -m package.module` calls `run_module` and needs no look-up.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NoReturn

from deploy import interrupts
from deploy.errors import InputError, KerasrtError

GROUP = "kerasrt.commands"

FAULT = 70
"""Exit code of a fault of ours (EX_SOFTWARE in sysexits.h): neither the user's error, 2, nor a failed parity, 1."""

OWN = ("", "deploy", "converters", "engines")


def run_module(module: ModuleType, argv: Sequence[str] | None = None, program: str | None = None) -> NoReturn:
    """Parses ``argv`` (the process's arguments when None) for a command module, runs it, and exits.

    Exit code: what `run` returns; a KerasrtError's own after ``error: ...`` on stderr; 2 for wrong arguments; 130 for
    Ctrl-C and 143 for SIGTERM, after everything was undone; 141 where the reader of our output went away; 70, with a
    traceback, for a fault of kerasrt's own.
    """
    _exit_with(lambda: _run(module, argv, program))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The console script `kerasrt`."""
    _exit_with(lambda: _dispatch(list(sys.argv[1:] if argv is None else argv)))


def _run(module: ModuleType, argv: Sequence[str] | None, program: str | None) -> int:
    parser = argparse.ArgumentParser(prog=program or _program(), description=module.__doc__)
    module.add_arguments(parser)
    return int(module.run(parser.parse_args(argv)))


def _dispatch(arguments: list[str]) -> int:
    commands = _commands()
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview(commands))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"kerasrt {version('kerasrt')}")
        return 0
    name = arguments[0]
    if name not in commands:
        known = ", ".join(sorted(commands)) or "none is installed: pip install -e . in the project's folder"
        raise InputError(f"kerasrt has no command {name!r}", expected=known, fix="kerasrt --help lists them")
    try:
        module = interrupts.import_module(commands[name])
    except ImportError as error:
        fix = "install what it needs: pip install 'kerasrt[convert,rtx]' to build, 'kerasrt[cpu]' to run"
        raise InputError(f"kerasrt {name} cannot be loaded ({error})", fix=fix) from error
    return _run(module, arguments[1:], f"kerasrt {name}")


def _exit_with(call: Callable[[], int]) -> NoReturn:
    signals: list[int] = []
    try:
        with interrupts.unwinding() as signals:
            code = call()
            sys.stdout.flush()
    except (Exception, KeyboardInterrupt) as error:
        code = _report(error, signals)
    sys.exit(code)


def _report(error: BaseException, signals: Sequence[int]) -> int:
    """Says what ended a command, and returns its exit code."""
    if signals or isinstance(error, KeyboardInterrupt):
        number = signals[-1] if signals else signal.SIGINT
        print("error: terminated" if number == signal.SIGTERM else "error: interrupted", file=sys.stderr)
        return 128 + number
    if isinstance(error, KerasrtError):
        _finish_output()
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit is silent
        return 141
    if isinstance(error, MemoryError):
        print("error: out of memory\n  to do: use a smaller batch", file=sys.stderr)
        return 2
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package not in OWN:
        fix = "pip install 'kerasrt[convert]', which converting and building need"
        print(f"error: the package {package} is not installed\n  to do: {fix}", file=sys.stderr)
        return 2
    import traceback

    traceback.print_exception(error)
    print("error: this is a fault of kerasrt's\n  to do: please report it with the lines above", file=sys.stderr)
    return FAULT


def add_bundle_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle", metavar="FOLDER", help="the bundle's folder, or an .onnx file (default: build/current)"
    )


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    from deploy.selection import BACKENDS

    parser.add_argument("--backend", choices=BACKENDS, default="auto", metavar="NAME", help=", ".join(BACKENDS))
    parser.add_argument("--precision", metavar="NAME", help="run this precision and no other: fp32, fp16, int8, ...")


def _program() -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = spec.name.removesuffix(".__main__") if spec is not None else ""
    return f"python -m {name}" if name else os.path.basename(sys.argv[0])


def _commands() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def _overview(commands: dict[str, str]) -> str:
    lines = ["usage: kerasrt COMMAND ...", "", "commands:"]
    width = max((len(name) for name in commands), default=0)
    for name in sorted(commands):
        try:
            text = (interrupts.import_module(commands[name]).__doc__ or "").split("\n", 1)[0]
        except ImportError as error:
            text = f"(not available: {error})"
        lines.append(f"  {name:<{width}}  {text}")
    if not commands:
        lines.append("  none is installed: pip install -e . in the project's folder")
    return "\n".join([*lines, "", "kerasrt COMMAND --help tells more."])


def _finish_output() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
