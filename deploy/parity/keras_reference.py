"""Keras itself as the reference: its outputs, and those of its layers, on given inputs.

Keras is imported inside the functions; nothing here needs the converters. Packages whose import registers Keras classes
(`keras.saving.register_keras_serializable`) name that module as an entry point in group ``kerasrt.keras_layers``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from deploy.errors import InputError
from deploy.interrupts import import_module
from deploy.npz import Array
from deploy.quiet import import_keras


def load_reference(model: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """A keras.Model: ``model`` itself, or what a `.keras` or `.h5` file holds, loaded in safe mode and not compiled.

    Classes come from ``custom_objects`` and from the modules of group ``kerasrt.keras_layers``. Raises InputError where
    Keras is not installed, or the file is missing, damaged, or needs code that is not known here.
    """
    keras = _keras()
    if isinstance(model, keras.Model):
        return model
    _register_layers()
    path = Path(model)
    if not path.is_file():
        fix = "give the path of the file that the bundle was built from"
        raise InputError("there is no such file", where=str(path), expected="a .keras or .h5 model", fix=fix)
    try:
        return keras.models.load_model(path, custom_objects=custom_objects, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever its parts raise
        unknown = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
        if unknown:
            fix = f"name where it is defined: --custom-objects module:{unknown[1]}"
            raise InputError(f"its class {unknown[1]} is not known here", where=str(path), fix=fix) from error
        reason = str(error).strip().split("\n", 1)[0]
        fix = "give a whole .keras or .h5 file without Lambda layers"
        raise InputError(f"Keras cannot load the model ({reason})", where=str(path), fix=fix) from error


def keras_outputs(
    model: Any, inputs: Mapping[str, Array], names: Sequence[str], layers: bool = False
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The model's outputs by ``names`` (in Keras's order) and, with ``layers``, each layer's output by its path.

    A path is the names of the layers around it, the outermost model left out: ``encoder/conv1``. A layer that is
    called more than once, or that returns anything but one tensor, is left out. Run in inference mode and, as the graph
    is, in float32 whatever the dtype policies say.

    Raises InputError where the model does not take these inputs or has another number of outputs.
    """
    keras = _keras()
    recorded: dict[str, list[Any]] = {}
    with _in_float32(model), _recording(model, recorded) if layers else contextlib.nullcontext():
        try:
            result = model(_structured(keras, model, inputs), training=False)
        except Exception as error:
            reason = str(error).strip().split("\n", 1)[0]
            fix = "name the Keras model that the bundle was built from"
            raise InputError(f"the reference cannot run these inputs ({reason})", fix=fix) from error
    values = [result[name] for name in names] if _has_keys(result, names) else keras.tree.flatten(result)
    if len(values) != len(names):
        raise InputError(
            "the reference has another number of outputs",
            expected=", ".join(names),
            found=str(len(values)),
            fix="name the Keras model that the bundle was built from",
        )
    to_numpy = keras.ops.convert_to_numpy
    outputs = {name: to_numpy(value) for name, value in zip(names, values, strict=True)}
    single = {p: v[0] for p, v in recorded.items() if len(v) == 1 and hasattr(v[0], "shape")}
    return outputs, {path: to_numpy(value) for path, value in single.items()}


def _keras() -> Any:
    try:
        return import_keras()
    except ImportError as error:
        raise InputError(
            "a Keras reference needs Keras, which is not installed here",
            where="--reference",
            fix="pip install 'kerasrt[convert]', or leave the reference out: the golden pairs need no Keras",
        ) from error


def _register_layers() -> None:
    for entry in entry_points(group="kerasrt.keras_layers"):
        with contextlib.suppress(ImportError):  # a package that is only partly installed has nothing to add
            import_module(entry.value)


@contextlib.contextmanager
def _in_float32(model: Any) -> Iterator[None]:
    """Layers of another dtype policy compute in float32 for the length of the block."""
    layers = [layer for layer in model._flatten_layers() if layer.compute_dtype in ("float16", "bfloat16", "float64")]
    policies = [(layer, layer.dtype_policy) for layer in layers if layer.quantization_mode is None]
    try:
        for layer, _ in policies:
            layer.dtype_policy = "float32"
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy


def _has_keys(result: Any, names: Sequence[str]) -> bool:
    return isinstance(result, Mapping) and set(result) == set(names)


def _structured(keras: Any, model: Any, inputs: Mapping[str, Array]) -> Any:
    """The arrays in the structure that the model is called with: one array, or its own nesting of them."""
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        return next(iter(inputs.values())) if len(inputs) == 1 else dict(inputs)
    tensors = keras.tree.flatten(structure)
    names = [tensor._keras_history.operation.name for tensor in tensors]
    ordered = [inputs[name] for name in names] if set(names) == set(inputs) else list(inputs.values())
    return keras.tree.pack_sequence_as(structure, ordered)


@contextlib.contextmanager
def _recording(model: Any, recorded: dict[str, list[Any]]) -> Iterator[None]:
    """For the time of a call, every layer inside ``model`` notes its output under its path."""
    stack: list[str] = []
    layers = list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())

    def noting(layer: Any) -> Any:
        call = layer.call

        def noted(*args: Any, **kwargs: Any) -> Any:
            stack.append(layer.name)
            try:
                result = call(*args, **kwargs)
                recorded.setdefault("/".join(stack), []).append(result)
                return result
            finally:
                stack.pop()

        return noted

    try:
        for layer in layers:
            vars(layer)["call"] = noting(layer)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("call", None)
