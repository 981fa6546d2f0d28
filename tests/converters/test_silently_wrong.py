"""Ways to get a graph that computes something else than the model: each is converted right, or refused in one error.

In both cases the model, its layers' attributes and Keras's global state are afterwards what they were.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from converters.tracing.untouched import untouched
from deploy.errors import ConversionError
from tests.converters.checking import check, keras_function, randomize
from tests.converters.tensorflow_only import IS_BACKEND, tensorflow

tf = tensorflow()

Make = Callable[[], keras.Model]


class _Own(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """A user's layer that keeps the shape: ``function(self, x)`` is its call."""

    def __init__(self, function: Callable[[Any, Any], Any], **attributes: Any) -> None:
        super().__init__(name="own")
        self.function = function
        for key, value in attributes.items():
            setattr(self, key, value)

    def build(self, shape: Any) -> None:
        self.total = self.add_weight(name="total", shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any, training: bool = False) -> Any:
        return self.function(self, x)

    def compute_output_spec(self, x: Any, training: bool = False) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


def _with(function: Callable[[Any, Any], Any], shape: Any = (4,), **attributes: Any) -> Make:
    def make() -> keras.Model:
        inputs = keras.Input(shape, name="x")
        return keras.Model(inputs, layers.Dense(shape[-1], name="dense")(_Own(function, **attributes)(inputs)))

    return make


def _of(layer: Callable[[], Any], shape: Any = (4,), **options: Any) -> Make:
    def make() -> keras.Model:
        inputs = keras.Input(shape, name="x", **options)
        return keras.Model(inputs, layer()(inputs))

    return make


def _assign(layer: Any, x: Any) -> Any:
    layer.total.assign_add(1.0)
    return x * 2.0


def _count(layer: Any, x: Any) -> Any:
    layer.calls += 1
    return x * layer.calls


def _remember(layer: Any, x: Any) -> Any:
    if layer.cache is None:
        layer.cache = x * 2.0
    return x + layer.cache


def _append(layer: Any, x: Any) -> Any:
    layer.history.append(len(layer.history))
    return x * float(len(layer.history))


def _raw_state(layer: Any, x: Any) -> Any:
    return x + layer.variable.assign_add(1.0)


class _Training(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """What it does in training it does not do at inference."""

    def call(self, x: Any, training: bool | None = None) -> Any:
        return x * 100.0 if training or training is None else x + 1.0


class _Active(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """Calls a layer in training mode, whatever mode it is in itself."""

    def __init__(self, inner: Any) -> None:
        super().__init__(name="active")
        self.inner = inner

    def build(self, shape: Any) -> None:
        self.inner.build(shape)

    def call(self, x: Any) -> Any:
        return self.inner(x, training=True)


class Generator(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    def call(self, x: Any) -> Any:
        yield x * 2.0

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, x.dtype)


def _raw_variable() -> keras.Model:
    return _with(_raw_state, variable=tf.Variable(0.0))()


def _compiled() -> keras.Model:
    """TensorFlow turns its Python branch into one of the graph; run eagerly there would be one arm."""

    class Compiled(layers.Layer):  # type: ignore[misc]  # Keras has no type information
        @tf.function  # type: ignore[untyped-decorator]  # TensorFlow has no type information
        def call(self, x: Any) -> Any:
            return x if tf.reduce_sum(x) > 0.0 else -x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    return _of(Compiled)()


def _quantized() -> keras.Model:
    model = _of(lambda: layers.Dense(4, name="dense"), (8,))()
    model.quantize("int8")
    return model


def _sparse() -> keras.Model:
    inputs = keras.Input((4,), name="x", sparse=True)
    return keras.Model(inputs, layers.Dense(2)(inputs))


def _ragged() -> keras.Model:
    inputs = keras.Input((None, 4), name="x", ragged=True)
    return keras.Model(inputs, layers.Dense(2)(inputs))


def _huge(layer: Any, x: Any) -> Any:
    return x + ops.sum(ops.multiply(x[0, 0], np.broadcast_to(np.float32(0), (2**31,))))


_numbers = itertools.count(1)
_generator = np.random.default_rng(0)

REFUSED: dict[str, Make] = {
    "a variable that is written": _with(_assign),
    "a counter in an attribute": _with(_count, calls=0),
    "a value kept from the first call": _with(_remember, cache=None),
    "a list that grows": _with(_append, history=[]),
    "an iterator": _with(lambda layer, x: x * float(next(_numbers))),
    "the time": _with(lambda layer, x: x * (time.perf_counter() % 1.0)),
    "numpy's random numbers": _with(lambda layer, x: x + np.random.normal(size=4).astype("float32")),
    "a random generator of one's own": _with(lambda layer, x: x + _generator.normal(size=4).astype("float32")),
    "Python's random numbers": _with(lambda layer, x: x * random.random()),
    "Keras's random numbers": _with(lambda layer, x: x + keras.random.normal((4,))),
    "random numbers of a seed generator": _with(
        lambda layer, x: x + keras.random.normal((4,), seed=layer.seeds), seeds=keras.random.SeedGenerator(1)
    ),
    "an active dropout": _of(lambda: _Active(layers.Dropout(0.5))),
    "a normalization that is training": _of(lambda: _Active(layers.BatchNormalization())),
    "a Python branch on a tensor": _with(lambda layer, x: x if ops.sum(x) > 0 else -x),
    "a Python loop over the batch": _with(lambda layer, x: ops.stack([row * 2.0 for row in x])),
    "a Python loop over the batch's size": _with(
        lambda layer, x: ops.concatenate([x[i : i + 1] for i in range(ops.shape(x)[0])])
    ),
    "numpy on a tensor": _with(lambda layer, x: x - np.mean(x)),
    "Python's number of a tensor": _with(lambda layer, x: x * float(ops.sum(x))),
    "a generator": _of(Generator),
    "a sparse input": _sparse,
    "a ragged input": _ragged,
    "a string input": _of(lambda: layers.Identity(dtype="string"), dtype="string"),
    "a stateful layer": lambda: keras.Sequential([keras.Input(batch_shape=(2, 6, 5)), layers.GRU(4, stateful=True)]),
    "a size taken for another": _with(
        lambda layer, x: ops.reshape(ops.concatenate([x, x], axis=0), (ops.shape(x)[0], -1))[:, :4]
    ),
    "a constant of 2^31 elements": _with(_huge),
    "an update of some rows of the batch": _with(lambda layer, x: ops.slice_update(x, (0, 1), x[:1, :2] * 2.0)),
}

RAW: dict[str, Make] = {
    "a tf.Variable that is written": _raw_variable,
    "TensorFlow's random numbers": _with(lambda layer, x: x + tf.random.normal((4,))),
    "a rank that is not known": _with(lambda layer, x: tf.reshape(x, tf.shape(tf.strings.length(tf.as_string(x))))),
}
"""Of layers in raw TensorFlow."""
REFUSED.update(RAW if IS_BACKEND else {})


def _nested() -> keras.Model:
    class Model(keras.Model):  # type: ignore[misc]  # Keras has no type information
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x: Any) -> Any:
            y = self.dense(x)
            return {"b": [y, (y * 2.0, None)], "a": None, "c": {"d": y + 1.0}}

    model = Model()
    model(np.zeros((1, 4), np.float32))
    return model


def _shared() -> keras.Model:
    conv = layers.Conv1D(3, 3, padding="same")
    inputs = keras.Input((8, 3), name="x")
    return keras.Model(inputs, [conv(inputs), conv(inputs[:, ::2])])


RIGHT: dict[str, Make] = {
    "a branch for training": _of(_Training),
    "a quantized layer": _quantized,
    "a float64 constant": _with(lambda layer, x: ops.cast(x * np.float64(2.5) + np.arange(4.0), "float32")),
    "a list of layers": _with(lambda layer, x: x + 1.0, parts=[layers.Dense(4), layers.Dense(4)]),
    "nested outputs, and one that is None": _nested,
    "a slice that is assigned": _with(lambda layer, x: ops.slice_update(x, (0, 1), x[:, :2] * 2.0)),
    "scattered updates": _with(lambda layer, x: ops.scatter_update(x, [[0, 1]], ops.ones((1,)))),
    "an attribute that is only written": _with(lambda layer, x: setattr(layer, "last", x) or x * 2.0),
    "a dtype that changes": _with(lambda layer, x: ops.cast(ops.cast(x * 10.0, "int32") // 3, "float32")),
    "a comparison by ==": _with(lambda layer, x: ops.where(ops.round(x) == 0, 5.0, x)),
    "a comparison of two by ==": _with(lambda layer, x: ops.cast(ops.round(x) == ops.round(x[:, ::-1]), "float32")),
    "integers that are negative": _with(lambda layer, x: ops.mod(ops.round(x * 10.0), -3.0)),
    "a batch that is folded into another axis": _with(lambda layer, x: ops.reshape(ops.reshape(x, (-1, 2)), (-1, 4))),
    "a shared layer called on other sizes": _shared,
}
if IS_BACKEND:
    RIGHT["a branch that TensorFlow compiles"] = _compiled


def _reference(model: keras.Model) -> Callable[[list[Any]], list[Any]]:
    function = keras_function(model)
    return lambda inputs: [x for x in function(inputs) if x.dtype != object]


def _state(model: keras.Model) -> Any:
    every = list(model._flatten_layers())
    return {
        "weights": [(v.path, str(v.dtype), np.asarray(v).tobytes()) for v in model.variables],
        "attributes": [{key: id(value) for key, value in vars(layer).items()} for layer in every],
        "lists": [[*value] for layer in every for value in vars(layer).values() if type(value) is list],
        "settings": (keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name),
        "random": (random.getstate(), str(np.random.get_state())),
        "patched": (keras.Operation.symbolic_call, layers.Layer.symbolic_call, ops.shape, getattr(tf, "reshape", None)),
    }


@pytest.mark.parametrize("name", REFUSED)
def test_one_error_and_never_a_wrong_graph(name: str) -> None:
    model = REFUSED[name]()
    before = _state(model)
    with pytest.raises(ConversionError) as caught:
        convert_model(model)
    assert caught.value.where
    assert _state(model) == before


@pytest.mark.parametrize("name", RIGHT)
def test_the_same_numbers(name: str) -> None:
    model = RIGHT[name]()
    if name != "a quantized layer":
        randomize(model)
    before = _state(model)
    convert_model(model)
    assert _state(model) == before
    check(model, reference=_reference(model))


def test_automatic_names_go_on() -> None:
    model = _with(lambda layer, x: x + ops.cond(ops.sum(x) > 0, lambda: x, lambda: ops.add(x, 1.0)))()
    layers.Add()
    first = int(layers.Add().name.rpartition("_")[2])
    convert_model(model)
    assert int(layers.Add().name.rpartition("_")[2]) == first + 1


def test_untouched_puts_back_what_changed() -> None:
    layer = _Own(lambda layer, x: x, history=[1], calls=0)
    model = keras.Sequential([keras.Input((4,)), layer])
    history = layer.history
    with untouched(model):
        layer.history.append(2)
        layer.calls, layer.more = 5, "new"
    assert layer.history is history
    assert (list(layer.history), layer.calls, hasattr(layer, "more")) == ([1], 0, False)


def test_layers_can_be_made_after_one_that_drew_random_numbers() -> None:
    """The generator that Keras makes at the first draw isn't left half made."""
    for _ in range(2):
        with pytest.raises(ConversionError):
            convert_model(REFUSED["Keras's random numbers"]())
        check(RIGHT["a branch for training"]())
        layers.Dropout(0.5)(np.ones((2, 3), np.float32), training=True)
