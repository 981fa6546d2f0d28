"""Layers of `tf_keras`, in memory, that Keras 3 has no class for: each becomes a layer of Keras 3 that runs its code.

Its own code is TensorFlow, which opens like that of any layer. What it calls in turn are layers of `tf_keras` again:
while a model is traced each gives way to its twin, a layer of Keras 3 with the same weights, or one that runs its code.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from converters.loading import legacy
from converters.tracing.unknown_sizes import has_symbolic
from deploy.errors import ConversionError

_TWINS: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""Of the layers that layers of `tf_keras` call."""


class LiveLayer(keras.layers.Layer):  # type: ignore[misc]
    """A layer of `tf_keras` as one of Keras 3. Its variables show the weights; its code uses the layer's own."""

    def __init__(self, live: Any, **kwargs: Any) -> None:
        super().__init__(name=live.name.replace("/", "_"), dtype=live.compute_dtype or "float32", **kwargs)
        self.live = live
        for trainable, weights in ((True, live.trainable_weights), (False, live.non_trainable_weights)):
            for weight in weights:
                name = weight.name.partition(":")[0].rpartition("/")[2]
                variable = self.add_weight(
                    shape=tuple(weight.shape), dtype=weight.dtype.name, trainable=trainable, name=name
                )
                variable.assign(weight)
        self.built = True
        self._allow_non_tensor_positional_args = True

    def call(self, *args: Any, **kwargs: Any) -> Any:
        if not has_symbolic(args, kwargs):
            return self.live(*args, **kwargs)
        if getattr(self.live, "_expects_training_arg", False):
            kwargs.setdefault("training", False)
        return self.live.call(*args, **kwargs)


def objects(model: Any) -> dict[str, Any]:
    """What a `tf_keras` model's configuration names and Keras 3 does not have, by registered name.

    Classes that give a `LiveLayer` around the model's own layer of that name, and functions as they are.
    Raises ConversionError where two of the layers have one name.
    """
    import tf_keras

    live: dict[str, Any] = {}
    made: set[Any] = set()
    found = _functions()
    for layer in _layers(model):
        if _is_own(layer):
            continue
        name = layer.name.replace("/", "_")
        if live.setdefault(name, layer) is not layer:
            raise ConversionError(
                "two layers have one name", where=f"layer '{name}'", fix="give each a name of its own"
            )
        registered = tf_keras.utils.get_registered_name(type(layer))
        found[registered] = _class(type(layer), live)
        _make_twins(layer, made)
    return found


def around(model: Any) -> Any:
    """A model of Keras 3 around one of `tf_keras` that is a class of its own; a ConversionError if it was not built."""
    spec = model.save_spec()
    if spec is None:
        raise ConversionError(
            "the model was never built",
            where=f"model '{model.name}'",
            fix="call it once, on real inputs",
        )

    def tensor(entry: Any) -> Any:
        name = entry.name.partition(":")[0] if entry.name else None
        return keras.Input(tuple(entry.shape)[1:], dtype=entry.dtype.name, name=name)

    inputs = [keras.tree.map_structure(tensor, given) for given in spec[0]]
    _make_twins(model, set())
    outputs = LiveLayer(model)(*inputs)
    return keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=model.name.replace("/", "_"))


def is_configured(model: Any) -> bool:
    """Whether a `tf_keras` model is of layers that its configuration names."""
    return _is_own(model) and type(model).__name__ in ("Functional", "Model", "Sequential")


def _layers(model: Any) -> Iterator[Any]:
    """The layers of a functional or sequential model and of those in it, but not what layers are made of."""
    for layer in model.layers:
        if hasattr(layer, "layers") and _is_own(layer):
            yield from _layers(layer)
        else:
            yield layer


def _is_own(layer: Any) -> bool:
    """Whether it is a layer of tf_keras itself."""
    return type(layer).__module__.partition(".")[0] == "tf_keras"


def _class(cls: type, live: Mapping[str, Any]) -> type:
    """A subclass of `LiveLayer` with the name of the class, which a configuration becomes one of."""

    def from_config(made: type[LiveLayer], config: Mapping[str, Any]) -> LiveLayer:
        return made(live[config["name"]])

    return type(cls.__name__, (LiveLayer,), {"from_config": classmethod(from_config)})


def _make_twins(layer: Any, made: set[Any]) -> None:
    """Twins of the layers in a layer with the weights of now; ``made``: those that have theirs from this conversion."""
    for inner in layer._flatten_layers(include_self=False, recursive=False):
        if inner not in made:
            made.add(inner)
            _TWINS[inner] = _twin(inner, made)


def _twin(layer: Any, made: set[Any]) -> Any:
    """A layer of Keras 3 for one of `tf_keras` that another calls; the layer's own code where Keras 3 has none."""
    import tf_keras

    if _is_own(layer) and isinstance(layer, tf_keras.Model):
        from converters.loading import in_keras_3

        return in_keras_3(layer)
    if _is_own(layer) and hasattr(keras.layers, type(layer).__name__):
        with contextlib.suppress(Exception):  # its own code runs then
            return _equal(layer)
    _make_twins(layer, made)
    return LiveLayer(layer)


def _functions() -> dict[str, Any]:
    """The functions that are registered with `tf_keras`, by registered name."""
    import tf_keras

    return {name: x for name, x in tf_keras.utils.get_custom_objects().items() if not isinstance(x, type)}


def _equal(layer: Any) -> Any:
    entry = {"class_name": type(layer).__name__, "config": layer.get_config()}
    with keras.saving.custom_object_scope({**legacy.objects(), **_functions()}):
        twin = keras.saving.deserialize_keras_object(legacy.layer_object(entry))
    if layer.weights:
        twin.build(tuple(layer._build_input_shape))
        twin.set_weights(layer.get_weights())
    return twin


def called(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """Stands in for a `tf_keras` layer's call with symbolic values."""
    twin = _TWINS.get(layer)
    if twin is None:
        raise ConversionError(
            f"{type(layer).__name__} '{layer.name}' was not there when the model was made",
            fix="make layers in __init__ or build, and call the model once",
        )
    return twin(*args, **kwargs)


def layer_class() -> type | None:
    """`tf_keras.layers.Layer`, where something has imported it."""
    module = sys.modules.get("tf_keras")
    return None if module is None else module.layers.Layer
