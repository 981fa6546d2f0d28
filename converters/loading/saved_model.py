"""TensorFlow SavedModels, of Keras 2, of Keras 3's export or of a tf.Module, as a Keras model around one signature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import KerasTensor

from deploy.errors import ConversionError

DEFAULTS = ("serve", "serving_default")


def load_saved_model(path: Path, signature: str | None = None) -> Any:
    """A keras.Model whose inputs and outputs have the signature's names.

    ``signature``: by default `serve`, `serving_default` or the only one there is. A tf.function of a tf.Module that was
    saved with an input signature counts as one.

    Raises ConversionError where there is none, or several and none was named.
    """
    if keras.backend.backend() != "tensorflow":
        raise ConversionError(
            "a SavedModel needs the TensorFlow backend of Keras", where=str(path), fix="set KERAS_BACKEND=tensorflow"
        )
    import tensorflow as tf

    module = tf.saved_model.load(str(path))
    layer = _Signature(module, _chosen(path, _functions(module), signature), name=_layer_name(path.name))
    inputs = {}
    for name, spec in layer.specs.items():
        _require_rank(spec, f"{path}, input '{name}'")
        inputs[name] = keras.Input(batch_shape=tuple(spec.shape), dtype=spec.dtype.name, name=_layer_name(name))
    for name, spec in layer.outputs().items():
        _require_rank(spec, f"{path}, output '{name}'")
    outputs = layer(inputs)
    named = {name: keras.layers.Identity(name=_layer_name(name, inputs))(x) for name, x in outputs.items()}
    return keras.Model(inputs, named, name=_layer_name(path.name))


def _require_rank(spec: Any, where: str) -> None:
    if spec.shape.rank is None:
        raise ConversionError(
            "a tensor of unknown rank cannot be converted",
            where=where,
            fix="save the model with a shape for it (tf.TensorSpec, tf.ensure_shape), null where a size is unknown",
        )


def _functions(module: Any) -> dict[str, Any]:
    """Concrete functions by name: the signatures, else what else can be called with known shapes."""
    if module.signatures:
        return dict(module.signatures)
    found = {}
    for name in dir(module):
        functions: list[Any] = getattr(getattr(module, name, None), "concrete_functions", [])
        if not name.startswith("_") and len(functions) == 1:
            found[name] = functions[0]
    return found


def _chosen(path: Path, functions: dict[str, Any], signature: str | None) -> Any:
    known = ", ".join(sorted(functions))
    if signature is not None and signature not in functions:
        raise ConversionError(
            "the SavedModel has no signature of that name",
            where=f"--signature {signature}",
            expected=known or "a SavedModel with signatures",
            fix="name one of these" if known else "save it with model.export(path)",
        )
    if not functions:
        raise ConversionError("the SavedModel has no signature", where=str(path), fix="save it with model.export(path)")
    names = [signature, *DEFAULTS, *(list(functions) if len(functions) == 1 else [])]
    name = next((name for name in names if name in functions), None)
    if name is None:
        raise ConversionError(
            "the SavedModel has several signatures", where=str(path), found=known, fix=f"--signature {min(functions)}"
        )
    return functions[name]


def _layer_name(name: str, taken: Any = ()) -> str:
    """A name that Keras takes: without a slash, and not that of an input."""
    name = name.replace("/", "_").replace(":", "_") or "model"
    return f"{name}_output" if name in taken else name


class _Signature(keras.layers.Layer):  # type: ignore[misc]
    """Calls a concrete function with its inputs by name; gives a dictionary, or its single outputs numbered."""

    def __init__(self, module: Any, function: Any, name: str) -> None:
        super().__init__(name=name, autocast=False)
        self.module, self.function = module, function  # the module keeps the variables alive
        positional, named = function.structured_input_signature
        self.places = [spec.name for spec in positional]
        self.specs = {**{spec.name: spec for spec in positional}, **dict(sorted(named.items()))}

    def call(self, inputs: dict[str, Any]) -> dict[str, Any]:
        outputs = self.function(*(inputs[name] for name in self.places), **self._named(inputs))
        if isinstance(outputs, dict):
            return outputs
        return {f"output_{index}": x for index, x in enumerate(keras.tree.flatten(outputs))}

    def compute_output_spec(self, inputs: dict[str, Any]) -> dict[str, KerasTensor]:
        return {name: KerasTensor(tuple(spec.shape), dtype=spec.dtype.name) for name, spec in self.outputs().items()}

    def outputs(self) -> dict[str, Any]:
        """TensorFlow's specifications of the outputs, by name."""
        specs = self.function.structured_outputs
        if isinstance(specs, dict):
            return specs
        return {f"output_{index}": spec for index, spec in enumerate(keras.tree.flatten(specs))}

    def _named(self, inputs: dict[str, Any]) -> dict[str, Any]:
        return {name: x for name, x in inputs.items() if name not in self.places}
