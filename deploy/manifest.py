"""What a bundle says of itself: `manifest.json`, as frozen dataclasses.

These types are also what the converters and the engines pass to the device, so they live here, in the leaf package.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import REBUILD, BundleError

SCHEMA = 1
MANIFEST = "manifest.json"
OWN_HASH = "sha256"
"""The field of `manifest.json` that holds the hash of all others."""
BATCH = "batch"
"""Name of the unknown batch dimension in every shape and graph."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model. ``shape`` holds sizes, or names (``"batch"``) for sizes known at run time."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class LayerOutput:
    """Where a Keras layer's output went.

    ``path`` is the Keras layer's path (``outer/inner``); ``value`` the ONNX value that holds it, None where it was
    fused away; ``order[i]`` the logical (Keras) axis that physical axis i of the ONNX value holds; ``dtype`` as numpy
    names it.
    """

    path: str
    value: str | None
    order: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Artifact:
    """One file of a bundle.

    ``kind``: graph, engine, recipe, layers (a realised layer table) or golden. ``precision``: fp32, fp16, int8, …;
    ``target``: onnxruntime, tensorrt, tensorrt-rtx (an FP32 graph, which every target reads, has None).
    ``details`` is what only that kind has. An engine's ``compute_capabilities`` (``["SM86", "SM120"]``) are read by the
    runtime: it leaves an engine for other GPUs alone. Without them the engine's own check decides.
    """

    file: str
    sha256: str
    bytes: int
    kind: str
    precision: str | None = None
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """An optimization profile: the batch sizes an engine accepts (minimum, maximum) and is tuned for (optimum)."""

    minimum: int = 1
    optimum: int = 1
    maximum: int = 8


@dataclass(frozen=True)
class Manifest:
    """The whole of `manifest.json`.

    ``task`` is ``classification``, ``regression`` or ``""`` (unknown), ``labels`` the class names where known.
    ``sensitivity`` is, per output, the largest change of Keras's own output under random elementwise ±2e-7 relative
    changes of the golden inputs, relative to the output's scale: no parity threshold is tighter than 10 times that.
    ``simulated`` holds, per precision and output, the error of the simulated recipe on the golden inputs, as the fields
    of deploy.parity.metrics.Metrics (``sqnr_db`` sets the threshold of int8 and fp8). ``key`` is
    the content key of the build (see engines.build.cache); ``commands`` the lines that would build the same engines.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    artifacts: tuple[Artifact, ...]
    layers: tuple[LayerOutput, ...] = ()
    profile: Profile = Profile()
    task: str = ""
    labels: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = field(default_factory=dict)
    sensitivity: dict[str, float] = field(default_factory=dict)
    simulated: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    key: str = ""
    schema: int = SCHEMA

    @property
    def batch(self) -> tuple[int, int] | None:
        """Smallest and largest batch of the profile; None where the inputs fix it, or nothing is known of them."""
        open_batch = any(spec.shape[:1] == (BATCH,) for spec in self.inputs)
        return (self.profile.minimum, self.profile.maximum) if open_batch else None

    def find(self, kind: str, precision: str | None = None, target: str | None = None) -> Artifact | None:
        """The first artifact of that kind, precision and target (None matches any), or None."""
        for artifact in self.artifacts:
            if artifact.kind == kind and precision in (None, artifact.precision) and target in (None, artifact.target):
                return artifact
        return None

    def to_json(self) -> str:
        """The file's text. Its last field is the SHA-256 of the others, so that an edit is noticed.

        JSON has no infinity and no NaN: they are written as ``"inf"``, ``"-inf"``, ``"nan"``.
        """
        data = _finite(dataclasses.asdict(self))
        return json.dumps({**data, OWN_HASH: own_hash(data)}, indent=1, allow_nan=False) + "\n"


def read_manifest(folder: Path | str) -> Manifest:
    """Reads `manifest.json` in a folder. Raises BundleError where it is missing, broken or of another schema."""
    path = Path(folder) / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            "no bundle is here", where=str(folder), expected=f"a folder with {MANIFEST}", fix="build one: make engine"
        ) from error
    except (OSError, ValueError) as error:
        raise BundleError(f"cannot be read ({error})", where=str(path), fix=REBUILD) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise BundleError(
            "the bundle was written by another version of kerasrt",
            where=str(path),
            expected=f"schema {SCHEMA}",
            found=str(found),
            fix="build the bundle again with this version",
        )
    written = data.pop(OWN_HASH, None)
    try:
        manifest = _manifest(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"a field is missing, unknown or of a wrong type ({error})"
        raise BundleError(what, where=str(path), fix=REBUILD) from error
    if written != own_hash(data):
        raise BundleError(
            "was changed after it was built",
            where=str(path),
            expected=f"content of SHA-256 {written}",
            found=own_hash(data),
            fix=REBUILD,
        )
    return manifest


def own_hash(data: dict[str, Any]) -> str:
    """Hex SHA-256 of a manifest's fields, its own hash left out."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, (list, tuple)) else value


def _manifest(data: dict[str, Any]) -> Manifest:
    manifest = Manifest(
        **{
            **data,
            "inputs": tuple(_spec(item) for item in data["inputs"]),
            "outputs": tuple(_spec(item) for item in data["outputs"]),
            "artifacts": tuple(Artifact(**item) for item in data["artifacts"]),
            "layers": tuple(LayerOutput(**{**item, "order": tuple(item["order"])}) for item in data["layers"]),
            "profile": Profile(**data["profile"]),
            "labels": tuple(data["labels"]),
            "sensitivity": {name: float(value) for name, value in data["sensitivity"].items()},
            "simulated": {
                precision: {name: {k: float(v) for k, v in metrics.items()} for name, metrics in outputs.items()}
                for precision, outputs in data["simulated"].items()
            },
        }
    )
    if not manifest.inputs or not manifest.outputs:
        raise ValueError("no inputs" if manifest.outputs else "no outputs")
    for part in (manifest, manifest.profile, *manifest.artifacts, *manifest.layers):
        _check_types(part)
    return manifest


def _spec(data: dict[str, Any]) -> TensorSpec:
    spec = TensorSpec(data["name"], tuple(data["shape"]), data["dtype"])
    _check_types(spec)
    if not all(isinstance(size, (int, str)) for size in spec.shape):
        raise TypeError(f"shape of {spec.name}")
    np.dtype(spec.dtype)
    return spec


_TYPES: dict[str, Any] = {
    "str": str,
    "int": int,
    "str | None": (str, type(None)),
    "dict": dict,
    "tuple": tuple,
    "Profile": Profile,
}


def _check_types(part: Any) -> None:
    """Raises TypeError where a field holds another kind of JSON value than its annotation says."""
    for item in dataclasses.fields(part):
        kind = str(item.type).split("[", 1)[0]
        if not isinstance(getattr(part, item.name), _TYPES[kind]):
            raise TypeError(f"{item.name} of {type(part).__name__}")
