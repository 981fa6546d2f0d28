"""What a model file says of itself, read without Keras: configuration, version, classes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import ConversionError

H5_SUFFIXES = (".h5", ".hdf5")

_FIX = {
    ".json": "load it with keras.models.model_from_json, load the weights, and model.save('model.keras')",
    ".tflite": "convert the Keras model it was made from: a TensorFlow Lite file has lost its layers",
    ".pb": "give the SavedModel folder it lies in; a frozen graph has no Keras model",
    ".index": "rebuild the model in Python, model.load_weights(checkpoint), and model.save('model.keras')",
    ".ckpt": "rebuild the model in Python, model.load_weights(checkpoint), and model.save('model.keras')",
    ".onnx": "it is converted already: give it to kerasrt build",
    ".pt": "a PyTorch model: export it with torch.onnx.export and give the .onnx to kerasrt build",
    ".pth": "a PyTorch model: export it with torch.onnx.export and give the .onnx to kerasrt build",
}


@dataclass(frozen=True)
class Description:
    """The configuration of the model in a file, and the version of the Keras that saved it."""

    config: Any
    version: str

    @property
    def of_keras_2(self) -> bool:
        return self.version.startswith(("1.", "2."))


def other_kind(suffix: str) -> str:
    """What to do with a file of a kind that is not read."""
    return _FIX.get(suffix, "save the model with model.save('model.keras')")


def describe(path: Path) -> Description:
    """Reads a `.keras` or HDF5 file. Raises ConversionError where it holds no model, or one that cannot be parsed."""
    try:
        return _hdf5(path) if path.suffix.lower() in H5_SUFFIXES else _archive(path)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConversionError(
            "the file cannot be read, it may be corrupted",
            where=str(path),
            found=f"{type(error).__name__}: {' '.join(str(error).split())[:200]}",
            fix="save or copy the file again",
        ) from error


def _archive(path: Path) -> Description:
    with zipfile.ZipFile(path) as archive:
        members = set(archive.namelist())
        if "config.json" not in members:
            raise ConversionError(
                "this zip archive holds no Keras model",
                where=str(path),
                expected="config.json, metadata.json and model.weights.h5 in it",
                found=", ".join(sorted(members)[:5]) or "nothing",
                fix="save the model with model.save('model.keras')",
            )
        metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in members else {}
        return Description(json.loads(archive.read("config.json")), str(metadata.get("keras_version", "")))


def _hdf5(path: Path) -> Description:
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path) as file:
        config = file.attrs.get("model_config")
        if config is None:
            raise ConversionError(
                "the file holds weights alone, without the model",
                where=str(path),
                fix="build the model in Python, model.load_weights(this file), and model.save('model.keras')",
            )
        return Description(json.loads(config), str(file.attrs.get("keras_version", "2.0")))


def unknown_classes(config: Any, known: Mapping[str, Any]) -> list[str]:
    """``module:Class`` of each class that is neither Keras's, nor registered, nor in ``known``."""
    found: dict[str, None] = {}
    for entry in _entries(config):
        name = str(entry["config"] if entry["class_name"] == "function" else entry["class_name"])
        registered = str(entry.get("registered_name") or name)
        if not (registered in known or name in known or _is_known(entry, name, registered)):
            found[f"{entry.get('module') or 'your_module'}:{name}"] = None
    return list(found)


def lambdas(config: Any) -> list[str]:
    """Names of the Lambda layers."""
    return [str(x["config"].get("name")) for x in _entries(config) if x["class_name"] == "Lambda"]


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Every object with a class in a configuration, outer ones first."""
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str) and "config" in config:
            yield config
        for key, value in config.items():
            if key not in ("compile_config", "build_config"):
                yield from _entries(value)
    elif isinstance(config, list):
        for value in config:
            yield from _entries(value)


def _is_known(entry: Mapping[str, Any], name: str, registered: str) -> bool:
    import keras

    module = str(entry.get("module") or "")
    if name.startswith("__") or module == "builtins" or module.partition(".")[0] in ("keras", "tf_keras"):
        return True
    if keras.saving.get_registered_object(registered) is not None:
        return True
    places = (keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.activations)
    return name in ("Functional", "TFOpLambda", "SlicingOpLambda", "TensorShape", "Policy") or any(
        hasattr(place, name) for place in places
    )
