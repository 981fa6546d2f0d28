"""Lets `python -m deploy.infer` work in a fresh clone whatever `python` is, once `make` has made `.venv`.

The standard library alone: this runs before numpy can be imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds this package: the project's root in a source checkout, site-packages in an installation."""


def require(module: str, extra: str = "cpu") -> None:
    """Goes on only where ``module`` can be imported.

    Where it cannot, a command (see `enter_without`) is started again in `.venv`, or else ends with exit code 2 and one
    sentence; a plain ``import`` gets that sentence as an ImportError. ``extra`` is the extra of kerasrt that brings it.
    """
    if importlib.util.find_spec(module) is not None:
        return
    enter_without(module)
    sentence = (
        f"{module} is not installed for {sys.executable}\n"
        f"  to do: pip install 'kerasrt[{extra}]', or run `make engine` in a clone, which makes .venv"
    )
    if _is_command():
        print(f"error: {sentence}", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(sentence)


def enter_without(*modules: str) -> None:
    """Where none of ``modules`` can be imported, starts the command again in the `.venv` of the source checkout.

    Only a command started as ``python -m package.module`` from a checkout with a `.venv`, and outside it, is started
    again (with the same arguments; this call then does not return). In every other case nothing happens.
    """
    environment = ROOT / ".venv"
    python = environment / "bin" / "python"
    if (
        _is_command()
        and not any(importlib.util.find_spec(module) for module in modules)
        and (ROOT / "pyproject.toml").is_file()
        and os.access(python, os.X_OK)
        and Path(sys.prefix).resolve() != environment.resolve()
    ):
        os.execv(python, [str(python), *sys.orig_argv[1:]])


def _is_command() -> bool:
    """Whether python is importing the packages around the module it was given by ``-m`` (it marks that time so)."""
    return sys.argv[:1] == ["-m"]
