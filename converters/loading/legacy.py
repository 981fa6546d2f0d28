"""Keras 2's model configurations (`.h5` files, `tf_keras`), rewritten as Keras 3 reads them.

1. Layers get Keras 3's form with a module, and lose arguments that Keras 3 has no more, where they say what it does.
2. Names lose their slashes, which Keras 3 refuses.
3. Calls get Keras 3's form, with tensors among the keyword arguments; the calls of a nested model count from 0.
4. Raw TensorFlow operations, which Keras 2 saved as layers, become `RawOperation` layers.
5. The activation hard_sigmoid, which Keras 3 changed, stays Keras 2's.
"""

from __future__ import annotations

import inspect
import operator
from typing import Any

import keras
from keras import ops

from converters.tensorflow_adapters import functions
from converters.tensorflow_adapters.operators import OPERATORS
from converters.tracing.unknown_sizes import has_symbolic
from deploy.errors import ConversionError

Config = dict[str, Any]

GONE: dict[str, tuple[Any, ...]] = {
    "groups": (1,),
    "time_major": (False,),
    "implementation": (0, 1, 2),
    "rng_type": ("stateful", "stateless", "legacy_stateful"),
    "softmax_robust_masking": (False,),
    "sparse": (False,),
    "ragged": (False,),
    "input_length": (),
    "batch_input_shape": (),
    "input_shape": (),
    "query_shape": (),
    "key_shape": (),
    "value_shape": (),
}
"""Arguments that some layers of Keras 3 do not take, with the values that say nothing to them (empty: any)."""

TRAINING = ("_initializer", "_regularizer", "_constraint")
"""Ends of the names of arguments that mean nothing at inference."""

_OPERATORS = {name: OPERATORS[f"__{name}__"] for name in ("add", "sub", "mul", "truediv", "pow", "matmul")} | {
    "neg": ops.negative
}
_SWAPPED = {f"r{name}": function for name, function in _OPERATORS.items()}


def objects() -> dict[str, Any]:
    """The custom objects that a rewritten configuration names."""
    return {"RawOperation": RawOperation, "keras_2_hard_sigmoid": keras_2_hard_sigmoid}


def rewrite(config: Config) -> Config:
    """A model's configuration for `keras.saving.deserialize_keras_object`.

    Raises ConversionError naming the layer where Keras 3 cannot do what it says.
    """
    inner = config["config"]
    if isinstance(inner, list):  # a Sequential of the first releases of Keras 2
        inner = {"layers": inner}
    inner = dict(inner)
    if "layers" in inner and config["class_name"] in ("Sequential", "Functional", "Model"):
        inner["layers"] = [_layer(layer) for layer in inner["layers"]]
        if config["class_name"] != "Sequential":
            _calls(inner)
        name = "Sequential" if config["class_name"] == "Sequential" else "Model"
        inner.pop("build_input_shape", None)
        inner["name"] = _name(inner.get("name"))
        return {"module": "keras", "class_name": name, "config": inner, "registered_name": None}
    return {
        "module": None,
        "class_name": config["class_name"],
        "config": inner,
        "registered_name": config["class_name"],
    }


def _name(name: str | None) -> str | None:
    return None if name is None else name.replace("/", "_")


def _layer(layer: Config) -> Config:
    """One entry of a model's list of layers: the layer, with its name and calls."""
    kind = layer["class_name"]
    if kind in ("Sequential", "Functional", "Model"):
        found = rewrite(layer)
    elif kind in ("TFOpLambda", "SlicingOpLambda"):
        config = {"name": _name(layer["config"]["name"]), "function": layer["config"]["function"]}
        found = {"module": None, "class_name": "RawOperation", "config": config, "registered_name": "RawOperation"}
    else:
        found = layer_object(layer)
    name = layer.get("name", layer["config"].get("name") if isinstance(layer["config"], dict) else None)
    return {**found, "name": _name(name), "inbound_nodes": layer.get("inbound_nodes", [])}


def layer_object(entry: Config) -> Config:
    """A layer (or cell) by its class and configuration, with the layers in it."""
    kind = entry["class_name"]
    cls = getattr(keras.layers, kind, None)
    config = dict(entry["config"])
    if kind == "InputLayer" and "batch_input_shape" in config:
        config["batch_shape"] = config["batch_input_shape"]
    if isinstance(config.get("dtype"), dict):
        config["dtype"] = config["dtype"]["config"]["name"]
    if "name" in config:
        config["name"] = _name(config["name"])
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1 and kind == "BatchNormalization":
        config["axis"] = config["axis"][0]
    if kind == "Lambda" and isinstance(config.get("function"), list):
        code, defaults, closure = config["function"]
        config["function"] = {
            "class_name": "__lambda__",
            "config": {"code": code, "defaults": defaults, "closure": closure},
        }
        config = {key: value for key, value in config.items() if not key.endswith(("_type", "module"))}
    if cls is None:
        registered = entry.get("registered_name") or kind
        return {"module": entry.get("module"), "class_name": kind, "config": config, "registered_name": registered}
    for key in [key for key in config if (key in GONE or key.endswith(TRAINING)) and not _takes(cls, key)]:
        if GONE.get(key) and config[key] not in GONE[key]:
            raise ConversionError(
                f"Keras 3 has no {key}={config[key]!r} of {kind}",
                where=f"layer '{config.get('name', kind)}'",
                fix=f"set it to {' or '.join(map(repr, GONE[key]))} and save the model again",
            )
        del config[key]
    for key, value in config.items():
        if key.endswith("activation") and value == "hard_sigmoid":
            name = "keras_2_hard_sigmoid"
            config[key] = {"module": "builtins", "class_name": "function", "config": name, "registered_name": name}
        if isinstance(value, dict) and hasattr(keras.layers, str(value.get("class_name"))) and "config" in value:
            config[key] = layer_object(value)
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _takes(cls: type, argument: str) -> bool:
    """Whether a layer's constructor has the argument, itself or by way of its bases."""
    for base in cls.__mro__[:-1]:
        parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
        if argument in parameters:
            return True
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return False
    return argument in ("input_shape", "batch_input_shape") and cls is keras.layers.InputLayer


def _calls(model: Config) -> None:
    """Rewrites every call of a functional model, and the places of its inputs and outputs."""
    names = {layer["name"] for layer in model["layers"]}
    shifted = _counted_from_one(model)

    def tensor(reference: list[Any]) -> Any:
        if reference[0] == "_CONSTANT_VALUE":
            return reference[2]
        name, node, index = _name(reference[0]), *reference[1:3]
        history = [name, node - (name in shifted), index]
        return {"class_name": "__keras_tensor__", "config": {"shape": [], "dtype": "float32", "keras_history": history}}

    def value(given: Any) -> Any:
        if isinstance(given, list):
            if len(given) == 3 and isinstance(given[0], str) and (_name(given[0]) in names or given[0][0] == "_"):
                return tensor(given)
            return [value(x) for x in given]
        return {key: value(x) for key, x in given.items()} if isinstance(given, dict) else given

    for layer in model["layers"]:
        calls = []
        for node in layer["inbound_nodes"]:
            single = not isinstance(node[0], list)
            references = [node] if single else node
            kwargs: Config = {}
            for reference in references:
                kwargs.update(reference[3] if len(reference) > 3 else {})
            tensors = [tensor(reference) for reference in references]
            alone = single or (len(tensors) == 1 and layer["class_name"] != "RawOperation")
            kwargs = {key: value(x) for key, x in kwargs.items()}
            if not alone and layer["class_name"] in ("LSTM", "GRU", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM2D"):
                tensors, alone, kwargs["initial_state"] = tensors[:1], True, tensors[1:]
            if layer["class_name"] == "RawOperation":  # Keras 3 takes no mixture of tensors and constants in a call
                constants = {key: x for key, x in kwargs.items() if x is not None and not _has_tensor(x)}
                kwargs = {key: x for key, x in kwargs.items() if _has_tensor(x)}
                if not _has_tensor(tensors):
                    tensors, alone, constants["constant"] = [], True, tensors[0]
                layer["config"] = {**layer["config"], "constants": constants}
            calls.append({"args": tensors if alone else [tensors], "kwargs": kwargs})
        layer["inbound_nodes"] = calls
    functional = {layer["name"] for layer in model["layers"] if layer["class_name"] == "Model"}
    for key in ("input_layers", "output_layers"):
        model[key] = _places(model[key], shifted - functional, functional - shifted)


def _has_tensor(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("class_name") == "__keras_tensor__" or any(_has_tensor(x) for x in value.values())
    return isinstance(value, list) and any(_has_tensor(x) for x in value)


def _places(given: Any, lower: set[str | None], higher: set[str | None]) -> Any:
    """The places of inputs or outputs; Keras 3 itself counts those of a functional model from 1."""
    if isinstance(given, dict):
        return {key: _places(x, lower, higher) for key, x in given.items()}
    if len(given) == 3 and isinstance(given[0], str):
        name = _name(given[0])
        return [name, given[1] - (name in lower) + (name in higher), given[2]]
    return [_places(x, lower, higher) for x in given]


def _counted_from_one(model: Config) -> set[str | None]:
    """Nested models that had a call of their own, with their own inputs, before the first one of this model."""
    largest: dict[str | None, int] = {}

    def visit(given: Any) -> None:
        if isinstance(given, list) and len(given) >= 3 and isinstance(given[0], str) and isinstance(given[1], int):
            largest[_name(given[0])] = max(largest.get(_name(given[0]), 0), given[1])
            given = given[3:]
        if isinstance(given, list | dict):
            for x in given.values() if isinstance(given, dict) else given:
                visit(x)

    visit([model["input_layers"], model["output_layers"], *(layer["inbound_nodes"] for layer in model["layers"])])
    nested = [layer for layer in model["layers"] if layer["class_name"] in ("Model", "Sequential")]
    return {layer["name"] for layer in nested if largest.get(layer["name"], 0) >= len(layer["inbound_nodes"]) > 0}


def keras_2_hard_sigmoid(x: Any) -> Any:
    """Keras 2's, of slope 0.2; Keras 3's has slope 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


class RawOperation(keras.layers.Layer):  # type: ignore[misc]
    """A `tf.*` function that a Keras 2 model called on a symbolic tensor: ``function`` is its name after ``tf.``.

    ``constants`` are its arguments that are no tensors, the first one by the name ``constant``.
    Only functions with a meaning in keras.ops are called; the name comes from a file.
    """

    hands_on_sizes = True
    """Whether what it gives while a model is traced may be the shape of a tensor, with sizes that nobody knows yet."""

    def __init__(self, function: str, constants: Config | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.constants = function, constants or {}
        self._allow_non_tensor_positional_args = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        kwargs = {**kwargs, **self.constants}
        args = (kwargs.pop("constant"),) if "constant" in kwargs else args
        _, _, name = self.function.rpartition(".")
        if self.function == "__operators__.getitem":
            return _item(args[0], kwargs["slice_spec"])
        if self.function.startswith("__operators__.") and name in _OPERATORS:
            return _OPERATORS[name](*args, *kwargs.values())
        if self.function.startswith("__operators__.") and name in _SWAPPED:
            return _SWAPPED[name](*kwargs.values(), *args)
        return self._function(symbolic=has_symbolic(args, kwargs))(*args, **kwargs)

    def _function(self, *, symbolic: bool) -> Any:
        """TensorFlow's own function for real tensors; its adapter for symbolic ones, or without TensorFlow."""
        found = (None if symbolic else functions.function(self.function)) or functions.adapter(self.function)
        if found is not None:
            return found
        raise ConversionError(
            f"the operation tf.{self.function} of this Keras 2 model has no meaning in keras.ops",
            where=f"layer '{self.name}'",
            fix="convert the model as a SavedModel: model.export('folder') in the Keras that made it",
        )

    def get_config(self) -> Config:
        return {**super().get_config(), "function": self.function, "constants": dict(self.constants)}


def _item(x: Any, spec: Any) -> Any:
    """``x[…]`` of what Keras 2 wrote of the index: numbers, an ellipsis, None and slices as dictionaries."""
    parts = spec if isinstance(spec, list) else [spec]
    index = [
        slice(p["start"], p["stop"], p["step"]) if isinstance(p, dict) else Ellipsis if p == "..." else p for p in parts
    ]
    return operator.getitem(x, tuple(index))
