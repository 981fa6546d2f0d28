"""The content key of a build, and whether a bundle already is that build.

Imports nothing heavy: a second build is quick.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import Bundle, open_bundle
from deploy.errors import BundleError, InputError

PACKAGES = ( "kerasrt", "keras", "tensorflow", "jax", "torch", "numpy", "onnx", "onnx-ir", "onnxscript", "tf2onnx",
"onnxruntime", "tensorrt", "tensorrt_cu12", "tensorrt_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx_cu13", )  # fmt: skip
"""Distributions whose version can change what is built."""


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that take part, from their metadata: none is imported."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def key(source: object, data: Mapping[str, object], options: Mapping[str, Any], modules: Iterable[str] = ()) -> str:
    """The content key of a build, hex; empty where something cannot be hashed (an iterator), so nothing is re-used.

    ``source``: a model as `engines.build` takes it; ``data``: calibration and sample; ``options``: everything else that
    was asked for, JSON-able; ``modules``: the user's modules that the model needs. The versions of all packages and the
    source code of this project go into it. Raises InputError where a file is not there.
    """
    digest = hashlib.sha256()
    parts = [_content(source), *(f"{name} {_content(value)}" for name, value in data.items())]
    if any(part.endswith("?") for part in parts):
        return ""
    described = json.dumps([parts, options, versions(), _code(), _modules(modules)], sort_keys=True, default=str)
    digest.update(described.encode())
    return digest.hexdigest()


def up_to_date(folder: Path, wanted: str) -> Bundle | None:
    """The bundle in ``folder`` where it is the build of that key and every file of it is whole, else None."""
    if not wanted:
        return None
    try:
        bundle = open_bundle(folder)
        if bundle.manifest.key != wanted:
            return None
        bundle.check()
    except BundleError:
        return None
    return bundle


def _content(value: object) -> str:
    """A hash of what a value holds, or ``?`` where it can be read only once."""
    if value is None:
        return "none"
    if isinstance(value, str | Path):
        return _file_or_folder(Path(value))
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return json.dumps({str(name): _array(np.asarray(array)) for name, array in value.items()}, sort_keys=True)
    if hasattr(value, "SerializeToString"):
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()
    if hasattr(value, "get_config") and hasattr(value, "variables"):
        from converters.metadata import content_hash

        return content_hash(value)
    return "?"


def _file_or_folder(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            digest.update(f"{file.relative_to(path)}\0".encode())
            with open(file, "rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=str(path), fix="check the path") from error
    return digest.hexdigest()


def _array(array: np.ndarray[Any, Any]) -> str:
    head = f"{array.dtype} {array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _code() -> str:
    """A hash of this project's own source: while it is being worked on, its version says nothing."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in ("deploy", "converters", "engines"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _modules(names: Iterable[str]) -> list[str]:
    """Hashes of the user's modules (``module:Class``), found without importing the last part of their names."""
    found = []
    for name in names:
        spec = importlib.util.find_spec(name.partition(":")[0])
        origin = spec.origin if spec is not None else None
        found.append(_file_or_folder(Path(origin)) if origin and Path(origin).is_file() else name)
    return found
