"""Golden pairs: inputs with the outputs that Keras gave for them at export, so parity can be proved without TensorFlow.

`golden.npz` holds ``input/<name>``, ``output/<name>`` and ``layer/<path>`` (outputs of chosen Keras layers, in Keras's
own layout), all with the same batch in axis 0, and no pickles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deploy.bundle import Bundle
from deploy.errors import REBUILD, BundleError, InputError
from deploy.manifest import Manifest
from deploy.npz import Array, NpzArchive, write_npz

FILE = "golden.npz"


@dataclass(frozen=True)
class Golden:
    """Inputs, outputs and layer outputs of the Keras model, by name; axis 0 is the batch."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    layers: Mapping[str, Array] = field(default_factory=dict)

    @property
    def batch(self) -> int:
        return len(next(iter(self.inputs.values())))


def write_golden(folder: Path | str, golden: Golden) -> Path:
    """Writes `golden.npz` into a bundle's folder, whole or not at all, and returns its path."""
    path = Path(folder) / FILE
    groups = {"input": golden.inputs, "output": golden.outputs, "layer": golden.layers}
    write_npz(path, {f"{group}/{name}": array for group, arrays in groups.items() for name, array in arrays.items()})
    return path


def read_golden(bundle: Bundle, layers: bool = False) -> Golden | None:
    """The golden pairs of a bundle, its hash checked first; None where it has none.

    ``layers`` reads the layers' outputs too. Raises BundleError where the file is damaged or lacks an input or output
    of the manifest.
    """
    artifact = bundle.manifest.find("golden")
    if artifact is None:
        return None
    where = str(bundle.path(artifact))
    groups: dict[str, dict[str, Array]] = {"input": {}, "output": {}, "layer": {}}
    try:
        with NpzArchive(bundle.read(artifact), where) as archive:
            for entry in archive.entries:
                group, _, name = entry.partition("/")
                if group in groups and (layers or group != "layer"):
                    groups[group][name] = archive.read(entry)
    except InputError as error:
        raise BundleError(error.what, where=where, fix=REBUILD) from error
    wanted = [("input", spec.name) for spec in bundle.manifest.inputs]
    wanted += [("output", spec.name) for spec in bundle.manifest.outputs]
    missing = [f"{group}/{name}" for group, name in wanted if name not in groups[group]]
    if missing:
        raise BundleError(f"lacks {', '.join(missing)}", where=where, fix=REBUILD)
    return Golden(groups["input"], groups["output"], groups["layer"])


def origin(manifest: Manifest) -> str:
    """In words, what recorded the golden outputs: Keras, or ONNX Runtime for a bundle that was built from a graph."""
    name = (
        "ONNX Runtime, as no Keras model was given"
        if manifest.provenance.get("reference") == "onnxruntime"
        else "Keras"
    )
    return f"outputs recorded from {name}"
