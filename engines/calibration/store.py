"""Files in which calibration keeps what it computed, by content key, in the user's cache folder.

1. The folder is ``kerasrt/calibration`` in $XDG_CACHE_HOME, or in ~/.cache (XDG Base Directory Specification 0.8), for
   its owner alone: a pass keeps some of the samples.
2. A file is an .npz: its arrays, and a JSON ``document`` with everything else, its schema and key too. Each has a
   checksum in the archive. A file that is damaged, of another schema or another key is left aside with a note.
3. Files appear whole or not at all. The ones used longest ago go when all of them take more than `LIMIT`.
A cache is no condition: where the folder cannot be had, nothing is kept, and that is said.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import KerasrtError
from deploy.npz import Array, NpzArchive, write_npz

SCHEMA = 1
LIMIT = 1 << 30
"""Bytes that all files together may take."""

Say = Callable[[str], None]
"""Told what a user should know."""

_DOCUMENT = "document"
_ARRAY = "array in this file"


def folder() -> Path:
    """The folder of the files. Raises KerasrtError where there is no home to have it in."""
    try:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError as error:
        raise KerasrtError("there is no home folder", where="~/.cache", fix="set XDG_CACHE_HOME") from error
    return Path(base) / "kerasrt" / "calibration"


def read(key: str, say: Say) -> dict[str, Any] | None:
    """What was written under a key; None where there is nothing, or nothing that can be used."""
    with understood(say):
        path = folder() / f"{key}.npz"
        if not path.is_file():
            return None
        with NpzArchive(path) as archive:
            arrays = {name: archive.read(name) for name in archive.entries}
        content = _unpacked(json.loads(arrays.pop(_DOCUMENT).tobytes()), arrays)
        if content["schema"] != SCHEMA:
            raise ValueError(f"it has schema {content['schema']}, not {SCHEMA}")
        if content["key"] != key:
            raise ValueError("it holds another calibration")
        with contextlib.suppress(OSError):
            os.utime(path)
        return dict(content["state"])
    return None


@contextlib.contextmanager
def understood(say: Say) -> Iterator[None]:
    """Where a file turns out to hold something else than it should, the block ends with a note."""
    try:
        yield
    except (KerasrtError, LookupError, TypeError, ValueError, AttributeError) as error:
        say(f"a kept calibration cannot be used and is made again ({_short(error)})")


def write(key: str, state: Mapping[str, Any], say: Say) -> None:
    """Keeps numbers, text and arrays in dicts and lists under a key, in place of what was there."""
    arrays: dict[str, Array] = {}
    document = _packed({"schema": SCHEMA, "key": key, "state": state}, arrays)
    text = np.frombuffer(json.dumps(document).encode(), np.uint8)
    try:
        path = folder() / f"{key}.npz"
        with contextlib.suppress(OSError):  # which writing the file tells of
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_npz(path, {_DOCUMENT: text, **arrays})
    except KerasrtError as error:
        say(f"the calibration is not kept ({_short(error)})")
        return
    _trim(path)


def _trim(kept: Path) -> None:
    """Removes the files used longest ago, until `LIMIT` holds; never the one just written."""
    with contextlib.suppress(OSError):
        found = [(path.stat().st_mtime, path.stat().st_size, path) for path in kept.parent.glob("*.npz")]
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total > LIMIT and path != kept:
                path.unlink(missing_ok=True)
                total -= size


def _packed(content: Any, arrays: dict[str, Array]) -> Any:
    """JSON-able content; each array in it goes into ``arrays``, and its name there stands for it."""
    if isinstance(content, np.ndarray):
        name = str(len(arrays))
        arrays[name] = content
        return {_ARRAY: name}
    if isinstance(content, Mapping):
        return {str(name): _packed(value, arrays) for name, value in content.items()}
    return [_packed(value, arrays) for value in content] if isinstance(content, list | tuple) else content


def _unpacked(content: Any, arrays: Mapping[str, Array]) -> Any:
    if isinstance(content, dict):
        if content.keys() == {_ARRAY}:
            return arrays[content[_ARRAY]]
        return {name: _unpacked(value, arrays) for name, value in content.items()}
    return [_unpacked(value, arrays) for value in content] if isinstance(content, list) else content


def _short(error: Exception) -> str:
    return " ".join(str(error).split("\n", 1)[0].split()) or type(error).__name__
