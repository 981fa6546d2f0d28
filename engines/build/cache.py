"""The content key of a build, and whether a bundle already is that build.

Imports nothing heavy: a second build is quick.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from deploy.bundle import Bundle, open_bundle
from deploy.errors import BundleError, InputError
from engines.build.user_code import as_recorded, class_hashes, layer_code, module_hashes
from engines.kinds import is_graph, is_keras

PACKAGES = ( "kerasrt", "keras", "tensorflow", "jax", "torch", "numpy", "onnx", "onnx-ir", "tf2onnx",
"onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt_cu12", "tensorrt_cu13", "tensorrt_rtx", "tensorrt_rtx_cu12",
"tensorrt_rtx_cu13", )  # fmt: skip
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


def key(
    source: object,
    data: Mapping[str, object],
    options: Mapping[str, Any],
    modules: Iterable[str] = (),
    classes: Iterable[object] = (),
) -> str:
    """The content key of a build, hex; empty where something cannot be hashed (an iterator), so nothing is re-used.

    ``source``: a model as `engines.build` takes it; ``data``: calibration and sample; ``options``: everything else that
    was asked for, JSON-able; ``modules`` (``module:Class``) and ``classes``: the user's code that the model needs. The
    versions of all packages, Keras's backend and the source code of this project go into it. Raises InputError where a
    file is not there.
    """
    digest = hashlib.sha256()
    own = [*classes, *(layer_code(source) if is_keras(source) else ())]
    parts = [content_of(source), *(f"{name} {content_of(value)}" for name, value in data.items())]
    parts += [*module_hashes(modules), *class_hashes(own), f"Keras backend {_keras_backend()}"]
    if any(part.endswith("?") for part in parts):
        return ""
    described = json.dumps([parts, options, versions(), source_code()], sort_keys=True, default=str)
    digest.update(described.encode())
    return digest.hexdigest()


def with_code(wanted: str, names: Iterable[str]) -> str:
    """The key with the code of a loaded model in it: ``names`` (``module:Class``) are those of its layers.

    A file names a registered class but not where it is defined, which only loading the file tells; so a build records
    the names in its bundle, and the next one can hash their source without loading anything.
    """
    names = sorted(names)
    hashes = module_hashes(names)
    if not wanted or any(part.endswith("?") for part in hashes):
        return ""
    return hashlib.sha256(json.dumps([wanted, names, hashes]).encode()).hexdigest() if names else wanted


def up_to_date(folder: Path, wanted: str) -> Bundle | None:
    """The bundle in ``folder`` where it is the build of that key and every file of it is whole, else None."""
    if not wanted:
        return None
    try:
        bundle = open_bundle(folder)
        recorded = bundle.manifest.provenance.get("code", [])
        if not as_recorded(recorded) or bundle.manifest.key != with_code(wanted, recorded):
            return None
        bundle.check()
    except BundleError:
        return None
    return bundle


def content_of(value: object) -> str:
    """A hash of what a value holds, or ``?`` where it can be read only once: a path's file or folder, an array, a
    mapping or list of such, an `onnx.ModelProto`, a keras.Model. Raises InputError where a file is not there.
    """
    if value is None:
        return "none"
    if isinstance(value, str | Path):
        return _with_external_data(Path(value)) or _file_or_folder(Path(value))
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, Mapping):
        return json.dumps({str(name): _array(np.asarray(array)) for name, array in value.items()}, sort_keys=True)
    if isinstance(value, list | tuple):
        parts = [content_of(part) for part in value]
        return "?" if any(part.endswith("?") for part in parts) else json.dumps(parts)
    if is_graph(value):
        return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()
    if is_keras(value):
        from converters.metadata import content_hash

        with content_hash(value) as content:
            return content.result()
    return "?"


def _with_external_data(path: Path) -> str:
    """A hash of an .onnx file whose weights may lie in other files; nothing where it is none or has no such weights."""
    if path.suffix != ".onnx" or not path.is_file() or b"location" not in path.read_bytes():
        return ""
    import onnx

    try:
        return hashlib.sha256(onnx.load(path).SerializeToString(deterministic=True)).hexdigest()
    except Exception:  # it cannot be read, which loading it says, or is too large for one message
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


def source_code() -> str:
    """A hash of this project's own source: while it is being worked on, its version says nothing."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for package in ("deploy", "converters", "engines"):
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _keras_backend() -> str:
    """The backend that Keras has, or will have: of the environment, its configuration file, or its default."""
    if "KERAS_BACKEND" in os.environ:
        return os.environ["KERAS_BACKEND"]
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        return str(json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend", "tensorflow"))
    except (OSError, ValueError, AttributeError):
        return "tensorflow"
