"""The folder that a build replaces: whether it may."""

from __future__ import annotations

import os
from fnmatch import fnmatch
from pathlib import Path

from deploy.bundle import CURRENT
from deploy.errors import KerasrtError
from deploy.manifest import MANIFEST

WRITTEN = (MANIFEST, "golden.npz", "model*.onnx", "recipe.*.json", "layers.*.json", "*.engine")
"""Names of the files in a bundle."""


def output_folder(output: Path | str) -> Path:
    """The folder to build into, links followed. Raises KerasrtError for the link's own name and for this folder."""
    output = Path(output)
    if output.name in ("", "..", CURRENT.name):
        raise KerasrtError(
            "a bundle cannot have this name",
            where=f"-o {output}",
            expected=f"a folder of its own ({CURRENT.name} is the link that names one)",
            fix="choose another folder, such as build/name",
        )
    return output.resolve() if output.is_symlink() else output


def check_output(output: Path) -> None:
    """The output is replaced as a whole, so it must be a bundle and nothing else, an empty folder or nothing yet."""
    foreign = _foreign(output)
    if foreign:
        raise KerasrtError(
            "is not a bundle, and building there would replace it",
            where=str(output),
            expected="a new folder, or an older bundle and nothing else",
            found=", ".join(foreign[:3]),
            fix="choose another folder, or move what is in it",
        )
    parent = output.absolute().parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK | os.X_OK) or not parent.is_dir():
        raise KerasrtError("cannot be written", where=str(parent), fix="choose a folder you may write to")


def _foreign(output: Path) -> list[str]:
    """What lies in ``output`` and no build has put there; ``output`` itself where it is a file."""
    if not output.is_dir():
        return [str(output)] if output.exists() else []
    names = sorted(item.name for item in output.iterdir())
    if names and not (MANIFEST in names and b'"artifacts"' in (output / MANIFEST).read_bytes()):
        return names
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in WRITTEN)]
