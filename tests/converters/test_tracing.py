"""Tracing: every way to write a Keras model comes out right, and the model is left as it was."""

from __future__ import annotations

import threading
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import pytest
from keras import layers, ops

import converters
from converters.convert import Conversion, convert_model
from converters.tracing.trace import Weight, trace
from deploy.errors import ConversionError
from tests.converters.checking import (
    Case,
    Function,
    check,
    operations,
    randomize,
)
from tests.converters.tensorflow_only import needs_tensorflow, tensorflow

tf = tensorflow()


def _proto_bytes(converted: Conversion) -> bytes:
    return ir.serde.serialize_model(converted.model).SerializeToString(deterministic=True)


def _names(converted: Conversion) -> tuple[list[str], list[str]]:
    graph = converted.model.graph
    return [str(value.name) for value in graph.inputs], [str(value.name) for value in graph.outputs]


def _encoder() -> keras.Model:
    inputs = keras.Input((8, 7, 3), name="view")
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x), name="encoder")


# --- structures -------------------------------------------------------------------------------------------------------


def test_nested_and_shared_models() -> None:
    """One encoder, called on two inputs: its layers appear once for each call."""
    left, right = keras.Input((8, 7, 3), name="left"), keras.Input((8, 7, 3), name="right")
    encoder = _encoder()
    x = layers.Subtract(name="difference")([encoder(left), encoder(right)])
    converted = check(randomize(keras.Model([left, right], layers.Dense(1, name="score")(x))), layers=True)
    assert _names(converted) == (["left", "right"], ["score"])
    assert converted.report.operations["Conv"] == 2
    assert [layer.path for layer in converted.layers].count("encoder/conv") == 2


def test_deeper_nesting_gives_paths() -> None:
    inputs = keras.Input((8, 7, 3))
    inner = keras.Sequential(
        [keras.Input((8, 7, 3)), layers.Conv2D(2, 3, name="conv"), layers.ReLU(name="act")], name="inner"
    )
    outer = keras.Model(inputs, layers.Flatten(name="flat")(inner(inputs)), name="outer")
    again = keras.Input((8, 7, 3), name="image")
    converted = check(randomize(keras.Model(again, layers.Dense(3, name="head")(outer(again)))))
    paths = [layer.path for layer in converted.layers]
    assert paths == ["outer/inner/conv", "outer/inner/act", "outer/inner", "outer/flat", "outer", "head"]
    assert {node.name for node in converted.model.graph} >= {"outer/inner/act", "head"}


def test_shared_layer() -> None:
    inputs = keras.Input((5,))
    dense = layers.Dense(5, activation="relu", name="shared")
    converted = check(randomize(keras.Model(inputs, dense(dense(dense(inputs))))))
    assert converted.report.operations["Gemm"] == 3
    assert (
        sum(
            value.const_value is not None and value.shape == ir.Shape([5, 5])
            for value in converted.model.graph.initializers.values()
        )
        == 1
    )


def test_sequential_without_an_input_layer() -> None:
    model = keras.Sequential([layers.Conv2D(2, 3, name="conv"), layers.Flatten(), layers.Dense(3, name="head")])
    model(np.zeros((1, 6, 6, 1), np.float32))
    converted = check(randomize(model))
    assert converted.model.graph.outputs[0].name == "head"


class Branches(keras.Model):
    """A subclassed model with a dictionary of outputs and a layer used twice."""

    def __init__(self) -> None:
        super().__init__(name="branches")
        self.conv = layers.Conv2D(2, 3, name="conv")
        self.head = layers.Dense(3, name="head")

    def call(self, x: Any, training: bool = False) -> Any:
        y = self.conv(x)
        if training:
            y = y * 100.0
        return {"score": self.head(ops.mean(y, (1, 2))), "map": y, "again": self.conv(x * 2.0)}


def test_subclassed_model_with_dictionary_outputs() -> None:
    model = Branches()
    model(np.zeros((2, 8, 7, 3), np.float32))
    inputs, outputs = _names(check(randomize(model)))
    assert inputs == ["input_0"]
    assert outputs == ["again", "map", "score"]


def test_functional_dictionaries() -> None:
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    x = inputs["a"] * 2.0 + inputs["b"]
    model = keras.Model(inputs, {"sum": layers.Dense(2, name="d1")(x), "product": layers.Dense(2, name="d2")(x)})
    found = _names(check(randomize(model)))
    assert found[0] == ["a", "b"]
    assert sorted(found[1]) == sorted(model.output_names)


def test_subclassed_model_of_two_inputs() -> None:
    class Pair(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(3, name="dense")

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs[0]) + self.dense(inputs[1] * 2.0)

    model = Pair()
    model([np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)])
    assert _names(check(randomize(model)))[0] == ["input_0", "input_1"]


def test_own_layer_of_layers_opens() -> None:
    class Block(layers.Layer):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.conv = layers.Conv2D(4, 3, padding="same", name="conv")
            self.norm = layers.BatchNormalization(name="norm")

        def build(self, shape: Any) -> None:
            self.gamma = self.add_weight(name="gamma", shape=(4,), initializer="ones")
            self.conv.build(shape)
            self.norm.build((*shape[:-1], 4))

        def call(self, x: Any) -> Any:
            return ops.relu(self.norm(self.conv(x))) * self.gamma + 0.5

    inputs = keras.Input((6, 5, 3))
    converted = check(randomize(keras.Model(inputs, Block(name="block")(inputs))), layers=True)
    assert [layer.path for layer in converted.layers] == ["block/conv", "block/norm", "block"]
    assert operations(converted) == "Add:1,Conv:1,Mul:1,Relu:1,Transpose:2"


# --- outputs and names ------------------------------------------------------------------------------------------------


class Places(layers.Layer):
    """What it gives depends on its input's sizes alone: a value, an array."""

    def call(self, x: Any) -> Any:
        return ops.arange(x.shape[1], dtype="float32"), np.ones(x.shape[1], np.float32)

    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape[1:2]), keras.KerasTensor(x.shape[1:2])


def test_a_layer_that_gives_constants() -> None:
    inputs = keras.Input((4,))
    places, ones = Places()(inputs)
    assert operations(check(keras.Model(inputs, [inputs * places + ones, places]))) == "Add:1,Identity:1,Mul:1"


def test_a_layer_that_is_made_in_a_call() -> None:
    class Made(layers.Layer):
        def call(self, x: Any) -> Any:
            return layers.Activation("silu")(x)

    check(keras.Sequential([keras.Input((4,)), Made()]))


@needs_tensorflow
def test_a_tensorflow_value_on_the_left_of_an_operator() -> None:
    """Its own operators refuse what is symbolic; of a variable, a size and a Keras tensor they are Keras's."""
    three = tf.constant([1.0, 2.0, 3.0])

    def call(x: Any) -> Any:
        y = three / (three + x * x) - (three - x) * (three * x)
        return ops.where(ops.logical_or(three < x, three >= x + 9.0), y, three**x)

    check(keras.Sequential([keras.Input((3,)), Function(call)]))


def test_identity_model() -> None:
    inputs = keras.Input((4,), name="x")
    found = check(keras.Model(inputs, inputs))
    assert _names(found)[0] == ["x"]
    assert _names(found)[1] != ["x"]


def test_an_input_that_is_an_output_beside_others() -> None:
    inputs = keras.Input((6, 5, 3), name="x")
    check(keras.Model(inputs, [layers.Conv2D(2, 3)(inputs), inputs]))


def test_one_tensor_as_two_outputs() -> None:
    inputs = keras.Input((6, 5, 3), name="x")
    y = layers.Conv2D(2, 3, name="conv")(inputs)
    found = check(randomize(keras.Model(inputs, [y, y])))
    assert len(set(_names(found)[1])) == 2


def test_an_output_that_is_read_again() -> None:
    inputs = keras.Input((6, 5, 3), name="x")
    y = layers.Conv2D(2, 3, name="conv")(inputs)
    z = layers.BatchNormalization(name="norm")(y)
    check(randomize(keras.Model(inputs, [y, z, layers.ReLU(name="act")(z)])), layers=True)


def test_a_layer_named_like_an_input() -> None:
    inputs = keras.Input((5,), name="dense")
    hidden = layers.Dense(3, name="hidden")(inputs)
    outer = keras.Input((5,), name="hidden")
    inner = keras.Model(inputs, hidden, name="model")
    found = check(randomize(keras.Model(outer, layers.ReLU(name="model_")(inner(outer)))))
    assert _names(found)[0] == ["hidden"]


def test_an_output_name_that_another_value_has() -> None:
    """Subclassed models name outputs by their keys, which may be those of layers or inputs."""

    class Clash(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dense(3, name="first"), layers.Dense(3, name="second")

        def call(self, x: Any) -> Any:
            y = self.first(x)
            return {"first": self.second(y), "second": y, "input_0": y * 2.0}

    model = Clash()
    model(np.zeros((1, 4), np.float32))
    found = check(randomize(model))
    assert _names(found)[1][0] == "first"
    assert len({*_names(found)[0], *_names(found)[1]}) == 4


def test_layer_map_follows_a_permuted_output() -> None:
    inputs = keras.Input((6, 5, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    converted = check(randomize(keras.Model(inputs, layers.Permute((3, 1, 2), name="permute")(x))), layers=True)
    places = {layer.path: layer for layer in converted.layers}
    assert places["conv"].order == (0, 3, 1, 2)


# --- what is refused --------------------------------------------------------------------------------------------------


class Counter(layers.Layer):
    """A stateful layer: counts its calls."""

    def build(self, shape: Any) -> None:
        self.count = self.add_weight(name="count", shape=(), initializer="zeros", trainable=False)

    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return x * 2.0


def test_stateful_layer_is_refused_by_its_variable_and_keeps_its_state() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Counter(name="counter")(inputs))
    before = [np.array(w) for w in model.get_weights()]
    with pytest.raises(ConversionError, match="counter/count"):
        convert_model(model)
    np.testing.assert_array_equal(model.get_weights(), before)


def test_model_that_was_never_built() -> None:
    with pytest.raises(ConversionError, match="never built"):
        convert_model(Branches())
    with pytest.raises(ConversionError, match="never built"):
        convert_model(keras.Sequential([layers.Dense(3)]))


def test_python_branch_on_a_tensor_is_never_one_of_its_arms() -> None:
    class Branch(layers.Layer):
        def call(self, x: Any) -> Any:
            return x if ops.sum(x) > 0 else -x

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((4,))
    with pytest.raises(ConversionError, match="layer 'branch'"):
        convert_model(keras.Model(inputs, Branch(name="branch")(inputs)))


@needs_tensorflow
@pytest.mark.parametrize("name", ["l2_normalize", "sigmoid"], ids=["exported", "opened"])
def test_state_of_a_layer_in_raw_tensorflow_is_seen(name: str) -> None:
    function = getattr(tf.math, name)

    class Raw(layers.Layer):
        def build(self, shape: Any) -> None:
            self.total = tf.Variable(0.0)

        def call(self, x: Any) -> Any:
            total = self.total.assign_add(1.0)
            return function(x) + total

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    inputs = keras.Input((4,))
    layer = Raw(name="raw")
    model = keras.Model(inputs, layer(inputs))
    before = float(layer.total)
    with pytest.raises(ConversionError, match=r"layer 'raw'.*changes its own state"):
        convert_model(model)
    with pytest.raises(ConversionError, match=r"model .*changes its own state"):
        convert_model(model, exporter="tf2onnx")
    assert float(layer.total) == before


@pytest.mark.parametrize("dtype", ["string", "complex64"])
def test_inputs_of_other_dtypes(dtype: str) -> None:
    inputs = keras.Input((4,), dtype=dtype, name="text")
    with pytest.raises(ConversionError, match="input 'text'"):
        convert_model(keras.Model(inputs, layers.Identity(dtype=dtype)(inputs)))


def test_arguments_are_checked() -> None:
    model = Case(layers.Dense, (4,), kwargs={"units": 2}).model()
    with pytest.raises(ConversionError, match="not a Keras model"):
        converters.convert(object())
    with pytest.raises(ConversionError, match="opset"):
        converters.convert(model, opset=9)
    with pytest.raises(ConversionError, match="input_layout"):
        converters.convert(model, input_layout="chwn")
    with pytest.raises(ConversionError, match="exporter"):
        converters.convert(model, exporter="torch")


def test_shapes_that_clash() -> None:
    model = Case(layers.Conv2D, (None, None, 3), kwargs={"filters": 2, "kernel_size": 3}).model()
    with pytest.raises(ConversionError, match="--shapes x0"):
        convert_model(model, shapes={"x0": (None, 8, 8, 4)})
    with pytest.raises(ConversionError, match="--shapes image: the model has no input"):
        convert_model(model, shapes={"image": (None, 8, 8, 3)})
    check(model, shapes={"x0": (None, 8, 8, 3)})


# --- the model is left as it was --------------------------------------------------------------------------------------


def _state(model: keras.Model) -> dict[str, Any]:
    return {
        "weights": [np.array(w).tobytes() for w in model.get_weights()],
        "nodes": [len(layer._inbound_nodes) for layer in model._flatten_layers()],
        "outbound": [len(layer._outbound_nodes) for layer in model._flatten_layers()],
        "floatx": keras.config.floatx(),
        "format": keras.config.image_data_format(),
        "policy": keras.config.dtype_policy().name,
        "symbolic_call": (keras.Operation.symbolic_call, layers.Layer.symbolic_call),
        "backend": {name: value for name, value in vars(keras.src.backend.numpy).items() if callable(value)},
        "config": str(model.get_config()),
    }


def _failing() -> keras.Model:
    inputs = keras.Input((4,))
    return keras.Model(inputs, Counter(name="counter")(layers.Dense(4)(inputs)))


@pytest.mark.parametrize("make", [lambda: keras.Sequential([keras.Input((8, 7, 3)), _encoder()]), _failing])
def test_nothing_of_the_model_or_of_keras_changes(make: Any) -> None:
    model = randomize(make())
    before = _state(model)
    try:
        convert_model(model)
    except ConversionError:
        assert make is _failing
    assert _state(model) == before


def test_automatic_names_go_on_as_if_nothing_was_converted() -> None:
    model = Case(layers.Dense, (4,), kwargs={"units": 2}).model()
    first = int(layers.Dense(1).name.rpartition("_")[2])
    convert_model(model)
    assert int(layers.Dense(1).name.rpartition("_")[2]) == first + 1


def test_two_threads_give_the_bytes_of_one_after_the_other() -> None:
    models = [randomize(keras.Sequential([keras.Input((8, 7, 3)), _encoder(), layers.Dense(n)])) for n in (3, 4)]
    expected = [_proto_bytes(convert_model(model)) for model in models]
    found: dict[int, bytes] = {}

    def work(index: int) -> None:
        for _ in range(5):
            found[index] = _proto_bytes(convert_model(models[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        _other_keras_work()
    for thread in threads:
        thread.join()
    assert [found[0], found[1]] == expected


def _other_keras_work() -> None:
    """What another thread may do meanwhile must not see the trace's patches."""
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(2)(inputs))
    assert model(np.ones((1, 3), np.float32)).shape == (1, 2)


# --- dtypes, randomness, layers that cannot be opened -----------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_python_scalars_take_the_dtype_of_the_operation(dtype: str) -> None:
    inputs = keras.Input((4,), dtype=dtype)
    converted = check(keras.Model(inputs, ops.maximum(inputs * 1.5 + 2, 0) ** 3))
    assert {str(value.dtype) for value in converted.model.graph.initializers.values()} == {
        dtype.upper().replace("32", "").replace("FLOAT64", "DOUBLE")
    }


def test_random_layers_are_inactive() -> None:
    inputs = keras.Input((8, 8, 3))
    x = inputs
    for layer in (
        layers.Dropout(0.5),
        layers.GaussianNoise(1.0),
        layers.GaussianDropout(0.5),
        layers.SpatialDropout2D(0.5),
        layers.RandomFlip(),
        layers.RandomRotation(0.3),
        layers.RandomBrightness(0.3),
    ):
        x = layer(x)
    assert operations(check(keras.Model(inputs, x))) == "Identity:1"


@pytest.mark.parametrize(
    "make",
    [
        layers.RNN(layers.LSTMCell(4)),
        layers.TimeDistributed(layers.Dense(4)),
        lambda x: layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
    ],
    ids=["cell", "distributed", "attention"],
)
def test_layers_without_a_lowering_of_their_own(make: Any) -> None:
    check(randomize(Case(make, (6, 5)).model()))


def test_stateful_recurrent_layer_is_refused() -> None:
    inputs = keras.Input(batch_shape=(2, 6, 5))
    model = keras.Model(inputs, layers.LSTM(4, stateful=True, name="lstm")(inputs))
    with pytest.raises(ConversionError, match="lstm"):
        convert_model(model)


def test_time_distributed_convolution() -> None:
    check(randomize(Case(layers.TimeDistributed(layers.Conv2D(2, 3)), (4, 6, 6, 3)).model()))


def test_the_trace_is_flat_and_in_order() -> None:
    model = keras.Sequential([keras.Input((8, 7, 3)), _encoder(), layers.Dense(3, name="head")])
    found = trace(model)
    known = {id(tensor) for _, tensor in found.inputs}
    for call in found.calls:
        for tensor in keras.tree.flatten((call.args, call.kwargs)):
            assert not isinstance(tensor, keras.KerasTensor) or id(tensor) in known
        known |= {id(tensor) for tensor in keras.tree.flatten(call.outputs)}
    assert all(id(tensor) in known for _, tensor in found.outputs)
    assert {call.path for call in found.calls} >= {"encoder/conv", "encoder/norm", "encoder/pool", "head"}


def test_two_outputs_that_are_computed_alike() -> None:
    inputs = keras.Input((4,), name="x")
    first, second = layers.ReLU(name="first")(inputs), layers.ReLU(name="second")(inputs)
    assert _names(check(keras.Model(inputs, [first, second, first])))[1] == ["first", "second", "first_2"]


def test_a_fixed_batch_stays_fixed() -> None:
    inputs = keras.Input(batch_shape=(2, 6, 5, 3), name="x")
    converted = convert_model(randomize(keras.Model(inputs, layers.Flatten()(layers.Conv2D(2, 3)(inputs)))))
    assert list(converted.model.graph.inputs[0].shape or ()) == [2, 6, 5, 3]
    assert list(converted.model.graph.outputs[0].shape or ()) == [2, 24]


def test_a_variable_cast_to_its_own_dtype_goes_on_as_one() -> None:
    inputs = keras.Input((4, 4, 3))
    traced = trace(keras.Model(inputs, layers.BatchNormalization()(inputs)))
    (call,) = (call for call in traced.calls if type(call.operation).__name__ == "BatchNorm")
    assert [type(x) for x in (*call.args[1:], *call.kwargs.values())].count(Weight) == 4


# --- constants --------------------------------------------------------------------------------------------------------

GRID = np.arange(4, dtype=np.float32) + 0.5


class _Computed(layers.Layer):
    """Calls a function with itself, for its weight, and its input."""

    def __init__(self, function: Any) -> None:
        super().__init__(name="computed")
        self.function = function

    def build(self, shape: Any) -> None:
        self.w = self.add_weight(shape=(1, 4), name="w")

    def call(self, x: Any) -> Any:
        return self.function(self, x)


@pytest.mark.parametrize(
    ("function", "expects"),
    [
        (lambda layer, x: GRID - x, "Sub:1"),
        (lambda layer, x: GRID.astype(np.float64) * x, "Mul:1"),
        (lambda layer, x: x / GRID.astype(np.float64), "Div:1"),
        (lambda layer, x: np.sqrt(2.0) * x, "Mul:1"),
        (lambda layer, x: np.arange(4) * ops.cast(x, "int32"), "Cast:1,Mul:1"),
        (lambda layer, x: ops.cast(GRID < x, "float32"), "Cast:1,Greater:1"),  # noqa: SIM300 - the array comes first
        (lambda layer, x: layer.w, "Identity:1"),
        (lambda layer, x: [x * 2.0, ops.expand_dims(layer.w, 0)], "Identity:1,Mul:1"),
    ],
)
def test_arrays_beside_values_and_weights_as_outputs(function: Any, expects: str) -> None:
    """Arrays ask no symbolic value for its elements; its dtype is that of the value, as in TensorFlow."""
    inputs = keras.Input((4,), name="x")
    converted = check(keras.Model(inputs, _Computed(function)(inputs)), exporter="direct")
    assert operations(converted) == expects
