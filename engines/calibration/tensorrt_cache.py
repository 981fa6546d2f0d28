"""The calibration cache that TensorRT 10 and earlier write: the INT8 scale of every tensor, as text.

The format (NVIDIA TensorRT, sampleINT8's README, "Calibration file"; the byte order: NVIDIA's developer forum, topic
109781, "How do I get the float value of the scale factor in TensorRT calibration table"):
1. The first line is ``TRT-<version>-<calibrator>``: TRT-8601-EntropyCalibration2.
2. Every other line is ``<tensor>: <hex>``: the FP32 scale, amax / 127, as big-endian hexadecimal digits. Writers of
   other makes leave leading zeros out. A tensor's name may hold colons and spaces.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import BuildError, InputError
from deploy.files import sha256

_MAGIC = b"TRT-"
_LINE = re.compile(r"(?P<name>.+?)\s*:\s*(?P<digits>[0-9a-fA-F]{1,8})")


@dataclass(frozen=True)
class Cache:
    """``scales``: amax / 127 of each tensor by its name in the file; ``header``: the first line."""

    path: Path
    header: str
    scales: dict[str, float]

    def provenance(self) -> dict[str, str]:
        """What a recipe records of it."""
        return {"source": self.path.name, "sha256": sha256(self.path), "cache": self.header}


def is_cache(source: object) -> bool:
    """Whether it is the path of a file that begins as such a cache does."""
    if not isinstance(source, str | Path) or not Path(source).is_file():
        return False
    try:
        with open(source, "rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:  # said by whoever reads it as samples
        return False


def read(source: str | Path) -> Cache:
    """Reads a cache. Raises InputError, with the line's number, for one that is malformed or holds no scale."""
    path = Path(source)
    try:
        header, *lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"is no text ({error})", where=str(path), fix="copy the file again, in binary mode") from error
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        name, scale = _entry(line, f"{path}, line {number}")
        if scales.setdefault(name, scale) != scale:
            raise InputError(
                f"gives {name} a second scale",
                where=f"{path}, line {number}",
                expected=f"{scales[name]:.6g}, as before",
                found=f"{scale:.6g}",
                fix="keep one of both lines",
            )
    if not scales:
        raise InputError(
            "holds no scale",
            where=str(path),
            expected="a line 'tensor: 3c010a14' for each tensor",
            found=f"the line {header} alone",
            fix="let TensorRT calibrate again, or give samples (--calibration NPZ)",
        )
    return Cache(path, header.strip(), scales)


def check_asked(calibration: object, precisions: Iterable[str], method: str, budget: str | None) -> None:
    """Raises BuildError where something is asked for that needs samples, and the calibration is a cache."""
    if not is_cache(calibration):
        return
    asked = {
        f"calibration-method {method}": method != "auto",
        f"budget {budget}": bool(budget),
        "precision fp8": "fp8" in precisions,
    }
    for where in (name for name, is_asked in asked.items() if is_asked):
        raise BuildError(
            "needs calibration samples, and a TensorRT calibration cache has none: it holds one INT8 scale per tensor",
            where=where,
            found=str(calibration),
            fix=f"give real samples (--calibration NPZ), or leave --{where.split()[0]} out",
        )


def _entry(line: str, where: str) -> tuple[str, float]:
    """Name and scale of one line."""
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise InputError(
            "is no line of a calibration cache",
            where=where,
            expected="'tensor: 3c010a14', an FP32 number as up to eight hexadecimal digits",
            found=repr(line[:80]),
            fix="mend the line or take it out",
        )
    digits = match["digits"].rjust(8, "0")
    scale: float = struct.unpack(">f", bytes.fromhex(digits))[0]
    if not (math.isfinite(scale) and scale >= 0):
        raise InputError(
            f"the scale of {match['name']} is no scale",
            where=where,
            expected="a finite number, 0 or larger",
            found=f"{match['digits']}, which is {scale:.6g}",
            fix="take the line out (layers that read the tensor stay FP16), or let TensorRT calibrate again",
        )
    return match["name"], scale
