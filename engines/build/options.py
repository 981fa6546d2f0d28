"""What a build was asked for, checked before anything slow begins."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from deploy.bundle import CURRENT
from deploy.errors import BuildError, InputError, KerasrtError
from deploy.gpu import gpus
from deploy.manifest import MANIFEST, Profile
from engines.recipe import PRECISIONS

WRITTEN = (MANIFEST, "golden.npz", "model*.onnx", "recipe.*.json", "layers.*.json", "*.engine")
"""Names of the files in a bundle."""

TASKS = ("", "classification", "regression")


@dataclass(frozen=True)
class Options:
    """The arguments of `engines.build`, as it uses them."""

    source: Any
    output: Path
    precisions: tuple[str, ...]
    target: str
    calibration: Any
    sample: Any
    profile: Profile
    shapes: Mapping[str, Sequence[int | None]] | None
    name: str
    labels: tuple[str, ...]
    task: str
    custom_objects: Any
    trust_lambda: bool

    def content(self) -> dict[str, Any]:
        """What of them decides the content of the bundle, beside the model and the data."""
        profile = (self.profile.minimum, self.profile.optimum, self.profile.maximum)
        classes = self.custom_objects if self.modules() else sorted(self.custom_objects or ())
        return {
            "precisions": self.precisions,
            "target": self.target,
            "profile": profile,
            "shapes": self.shapes,
            "name": self.name,
            "labels": self.labels,
            "task": self.task,
            "custom_objects": classes,
            "gpus": [str(gpu) for gpu in gpus()] if self.target == "tensorrt" else [],  # its engines are for these
        }

    def modules(self) -> tuple[str, ...]:
        """The ``module:Class`` names among the custom objects."""
        return () if isinstance(self.custom_objects, Mapping) else tuple(self.custom_objects or ())

    def classes(self) -> tuple[Any, ...]:
        """The classes among the custom objects."""
        return tuple(self.custom_objects.values()) if isinstance(self.custom_objects, Mapping) else ()


def precisions(text: str | Sequence[str]) -> tuple[str, ...]:
    """``"fp16,int8"`` or a sequence, each once. Raises BuildError for a name that is not known."""
    names = [part.strip().lower() for part in (text.split(",") if isinstance(text, str) else text)]
    for name in names:
        if name not in PRECISIONS:
            raise BuildError("unknown precision", where="precision", expected=", ".join(PRECISIONS), found=repr(name))
    return tuple(dict.fromkeys(names))


def check(options: Options) -> None:
    """Raises BuildError or KerasrtError for what could only fail later."""
    profile = options.profile
    if isinstance(options.source, str | Path) and not Path(options.source).exists():
        raise InputError(
            "no such file", where=str(options.source), expected="a .keras, .h5 or .onnx file, or a SavedModel"
        )
    if not 1 <= profile.minimum <= profile.optimum <= profile.maximum:
        raise BuildError(
            "impossible batch sizes",
            where="profile",
            expected="1 <= minimum <= optimum <= maximum",
            found=f"{profile.minimum}, {profile.optimum}, {profile.maximum}",
        )
    if options.task not in TASKS:
        raise BuildError("unknown task", where="task", expected=" or ".join(TASKS[1:]), found=repr(options.task))
    if "int8" in options.precisions and options.calibration is None:
        raise BuildError(
            "INT8 needs calibration data: real inputs that show the range of every activation",
            where="calibration",
            found="none",
            fix="give some hundred real samples, an .npz with one array per model input (--calibration NPZ), "
            "or leave INT8 out (--precision fp16)",
        )
    _check_output(options.output)


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


def _check_output(output: Path) -> None:
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
