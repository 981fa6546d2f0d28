"""Loads Keras models from files: `.keras`, legacy `.h5`, SavedModel. Safe by default, without the optimizer."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from converters.loading.model_files import H5_SUFFIXES, Description, describe, lambdas, other_kind, unknown_classes
from deploy.errors import ConversionError
from deploy.quiet import import_keras

_H5_MAGIC = b"\x89HDF\r\n\x1a\n"
LARGE = 2**26
"""Bytes from which on a `.keras` file is unpacked before it is read."""


def load(
    path: Path | str,
    custom_objects: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    trust_lambda: bool = False,
    signature: str | None = None,
) -> Any:
    """Loads a model for conversion: not compiled, so that a model of another Keras backend or optimizer loads too.

    Args:
        path: a `.keras` file, a legacy `.h5`/`.hdf5` file or the folder of a SavedModel.
        custom_objects: name -> class, or a sequence of ``module:Class`` to import.
        trust_lambda: allow Lambda layers and pickled code. Loading such a file runs code that is in it.
        signature: which one of a SavedModel; by default its serving signature, or the only one.

    Returns: a keras.Model. A SavedModel becomes one around its signature, with the names of that.

    Raises:
        ConversionError: the file is missing, truncated or of another kind, has a Lambda without ``trust_lambda``, or an
            unknown class.
    """
    path = Path(path)
    if not path.exists():
        raise ConversionError(
            "no such file",
            where=str(path),
            expected="a .keras, .h5 or .hdf5 file, or a SavedModel folder",
            fix="check the path",
        )
    if path.is_dir():
        if not (path / "saved_model.pb").exists() and list(path.glob("*.index")):
            raise ConversionError(
                "a checkpoint holds weights alone, without the model", where=str(path), fix=other_kind(".index")
            )
        if not (path / "saved_model.pb").exists():
            raise ConversionError(
                "this folder is not a SavedModel",
                where=str(path),
                expected="a saved_model.pb in it",
                found=", ".join(sorted(item.name for item in path.iterdir())[:5]) or "an empty folder",
                fix="give the folder that model.export(path) wrote, or a .keras file",
            )
        return _saved_model(path, signature)
    if signature is not None:
        raise ConversionError("only a SavedModel has signatures", where=f"--signature {signature}", fix="leave it out")
    _check_container(path)
    _require_modules(custom_objects)
    keras = _keras()
    classes = _custom_objects(custom_objects)  # now, as their modules import Keras too

    from converters import layers  # noqa: F401  (registers CBAM)

    if any(_of_tf_keras(cls) for cls in classes.values()):
        return _load_with_tf_keras(path, classes, safe_mode=not trust_lambda)
    description = describe(path)
    from converters.keras_internals import lean_loading

    with _clear_errors(path, trust_lambda, description, classes), lean_loading():
        if description.of_keras_2:
            return _load_keras_2(path, description, classes, safe_mode=not trust_lambda)
        with _unpacked(path) as source:
            return keras.saving.load_model(source, custom_objects=classes, compile=False, safe_mode=not trust_lambda)


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """A large `.keras` file as a folder, whose weights Keras reads one by one; out of the file it reads all at once."""
    if path.suffix != ".keras" or path.stat().st_size < LARGE:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
        yield Path(folder)


def in_keras_3(model: Any) -> Any:
    """A `tf_keras` model in memory as one of Keras 3, by way of a file where it has a configuration; else as it is."""
    tf_keras = sys.modules.get("tf_keras")
    if tf_keras is None or not isinstance(model, tf_keras.Model):
        return model
    _keras()
    from converters.loading import live_layers

    if not live_layers.is_configured(model):
        return live_layers.around(model)
    classes = live_layers.objects(model)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model.name}.h5"
        model.save(path, include_optimizer=False)
        return load(path, classes)


def _of_tf_keras(cls: Any) -> bool:
    """Whether it is a layer class of `tf_keras`, which Keras 3 cannot make a layer of."""
    tf_keras = sys.modules.get("tf_keras")
    return tf_keras is not None and isinstance(cls, type) and issubclass(cls, tf_keras.layers.Layer)


def _load_with_tf_keras(path: Path, classes: dict[str, Any], *, safe_mode: bool) -> Any:
    import tf_keras

    with _clear_errors(path, not safe_mode):
        return in_keras_3(tf_keras.models.load_model(path, custom_objects=classes, compile=False, safe_mode=safe_mode))


def _load_keras_2(path: Path, description: Description, classes: dict[str, Any], *, safe_mode: bool) -> Any:
    """The model from its rewritten configuration, with the file's weights."""
    import keras

    from converters.loading import legacy

    config = legacy.rewrite(description.config)
    with keras.saving.custom_object_scope({**legacy.objects(), **classes}):
        model = keras.saving.deserialize_keras_object(config, safe_mode=safe_mode)
    if path.suffix.lower() in H5_SUFFIXES:
        model.load_weights(path)
    else:
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
            model.load_weights(archive.extract("model.weights.h5", folder))
    return model


def _keras() -> Any:
    try:
        return import_keras()
    except ImportError as error:
        raise ConversionError(
            f"Keras cannot be imported ({error})",
            where="KERAS_BACKEND=" + os.environ.get("KERAS_BACKEND", "tensorflow, the default"),
            fix="pip install 'kerasrt[convert]', or set KERAS_BACKEND=jax or torch where that is installed",
        ) from error


def _check_container(path: Path) -> None:
    """The file must be what its name says, before Keras reads it."""
    suffix = path.suffix.lower()
    if suffix not in (".keras", *H5_SUFFIXES):
        raise ConversionError(
            f"unknown kind of model file '{suffix}'",
            where=str(path),
            expected=".keras, .h5, .hdf5 or a SavedModel folder",
            fix=other_kind(suffix),
        )
    try:
        with open(path, "rb") as stream:
            magic = stream.read(8)
    except OSError as error:
        raise ConversionError(
            f"cannot be read ({error.strerror})", where=str(path), fix="give a file that you may read"
        ) from error
    if suffix == ".keras" and not zipfile.is_zipfile(path):
        found = "an HDF5 file" if magic == _H5_MAGIC else f"{path.stat().st_size} bytes that are no zip archive"
        raise ConversionError(
            "this is not a whole .keras file",
            where=str(path),
            expected="a zip archive",
            found=found,
            fix="rename an HDF5 file to .h5; save or copy a truncated file again",
        )
    if suffix in H5_SUFFIXES and magic != _H5_MAGIC:
        raise ConversionError(
            "this is not an HDF5 file",
            where=str(path),
            expected="the HDF5 signature",
            found=repr(magic),
            fix="save or copy the file again; a zip archive is a .keras file",
        )


@contextlib.contextmanager
def _clear_errors(
    path: Path, trust_lambda: bool, description: Description | None = None, classes: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Whatever Keras raises of a bad file becomes one error that says what to do."""
    try:
        yield
    except ConversionError:
        raise
    except Exception as error:
        raise _explained(error, path, trust_lambda, description, classes or {}) from error


def _explained(
    error: Exception, path: Path, trust_lambda: bool, description: Description | None, classes: Mapping[str, Any]
) -> ConversionError:
    import keras

    text = " ".join(str(error).split())
    config = description.config if description else None
    if "Lambda" in text and ("unsafe" in text or "safe_mode" in text) and not trust_lambda:
        return ConversionError(
            "the model has a Lambda layer, and loading one runs code that is in the file",
            where=str(path),
            found=", ".join(lambdas(config)) or text[:300],
            fix="replace it by a layer class, or pass --trust-lambda if you trust where the file comes from",
        )
    unknown = unknown_classes(config, classes)
    if unknown:
        return ConversionError(
            "the model uses classes that are not known here",
            where=str(path),
            found=", ".join(entry.rpartition(":")[2] for entry in unknown),
            fix=f"name them: --custom-objects {' '.join(unknown)} (modules that can be imported from here)",
        )
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    found = f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
    version = description.version if description else ""
    if version and _numbers(version) > _numbers(keras.__version__):
        return ConversionError(
            f"Keras {version} saved the file, and Keras {keras.__version__} cannot load it",
            where=str(path),
            found=found,
            fix=f"pip install 'keras>={version}'",
        )
    fix = f"save the model again with the Keras that trained it{f' ({version})' if version else ''}"
    return ConversionError("the file cannot be loaded, it may be corrupted", where=str(path), found=found, fix=fix)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


def _require_modules(given: Mapping[str, Any] | Sequence[str] | None) -> None:
    """Raises ConversionError for a module that is not there, in the seconds before Keras is imported."""
    for entry in () if isinstance(given, Mapping) else given or ():
        top = entry.partition(":")[0].partition(".")[0]
        if not top or (top not in sys.modules and importlib.util.find_spec(top) is None):
            raise _not_imported(entry, f"No module named {top!r}")


def _custom_objects(given: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    found = {}
    for entry in given:
        module, _, name = entry.partition(":")
        try:
            found[name] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise _not_imported(entry, str(error)) from error
    return found


def _not_imported(entry: str, reason: str) -> ConversionError:
    return ConversionError(
        f"cannot be imported ({reason})",
        where=f"--custom-objects {entry}",
        expected="module:Class",
        fix="run from the folder that holds the module, or set PYTHONPATH",
    )


def _saved_model(path: Path, signature: str | None) -> Any:
    _keras()
    from converters.loading.saved_model import load_saved_model

    with _clear_errors(path, trust_lambda=False):
        return load_saved_model(path, signature)
