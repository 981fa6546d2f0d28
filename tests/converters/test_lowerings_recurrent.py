"""Recurrent layers: parity for every option that changes the graph, and clear refusals of what a node cannot do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import (
    Case,
    case,
    check,
    check_graph,
    keras_function,
    operations,
    parametrize,
    randomize,
    run_session,
)

LAST = "Squeeze:1,Transpose:1"
ALL = "Squeeze:1,Transpose:2"
BOTH = "Squeeze:2,Transpose:1"

CASES = [
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4),
    case(layers.LSTM, (6, 5), f"LSTM:1,{ALL}", units=4, return_sequences=True),
    case(layers.LSTM, (6, 5), f"Identity:1,LSTM:1,{BOTH}", units=4, return_state=True),
    case(layers.LSTM, (6, 5), "LSTM:1,Squeeze:3,Transpose:2", units=4, return_sequences=True, return_state=True),
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4, go_backwards=True),
    case(layers.LSTM, (6, 5), f"LSTM:1,Slice:1,{ALL}", units=4, go_backwards=True, return_sequences=True),
    case(layers.LSTM, (6, 5), f"Identity:1,LSTM:1,{BOTH}", units=4, go_backwards=True, return_state=True),
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4, use_bias=False),
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4, unit_forget_bias=False),
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4, unroll=True),
    case(layers.LSTM, (6, 5), f"LSTM:1,{LAST}", units=4, dropout=0.5, recurrent_dropout=0.5),
    case(layers.LSTM, (None, 5), f"LSTM:1,{ALL}", units=4, return_sequences=True),
    case(layers.LSTM, (None, 5), f"LSTM:1,Slice:1,{ALL}", units=4, return_sequences=True, go_backwards=True),
    case(layers.LSTM, (1, 5), "LSTM:1,Reshape:1,Squeeze:1", units=4),
    case(layers.LSTM, (6, 1), f"LSTM:1,{LAST}", units=1),
    case(layers.GRU, (6, 5), f"GRU:1,{LAST}", units=4),
    case(layers.GRU, (6, 5), f"GRU:1,{ALL}", units=4, return_sequences=True),
    case(layers.GRU, (6, 5), f"GRU:1,{LAST}", units=4, reset_after=False),
    case(layers.GRU, (6, 5), f"GRU:1,{LAST}", units=4, reset_after=False, use_bias=False),
    case(layers.GRU, (6, 5), f"GRU:1,{LAST}", units=4, use_bias=False),
    case(layers.GRU, (6, 5), "GRU:1,Squeeze:2,Transpose:2", units=4, return_sequences=True, return_state=True),
    case(layers.GRU, (6, 5), f"GRU:1,Slice:1,{ALL}", units=4, go_backwards=True, return_sequences=True),
    case(layers.GRU, (None, 5), f"GRU:1,{LAST}", units=4, go_backwards=True),
    case(layers.SimpleRNN, (6, 5), f"RNN:1,{LAST}", units=4),
    case(layers.SimpleRNN, (6, 5), f"RNN:1,{ALL}", units=4, return_sequences=True),
    case(layers.SimpleRNN, (6, 5), f"RNN:1,{LAST}", units=4, use_bias=False),
    case(layers.SimpleRNN, (6, 5), "RNN:1,Squeeze:2,Transpose:2", units=4, return_sequences=True, return_state=True),
    case(layers.SimpleRNN, (None, 5), f"RNN:1,Slice:1,{ALL}", units=4, go_backwards=True, return_sequences=True),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "hard_sigmoid", "relu", "linear", "elu", "leaky_relu", "softplus", "softsign"]
)
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_activations(layer: Any, name: str) -> None:
    Case(layer, (5, 3), "", kwargs={"units": 4, "activation": name}).check()


@pytest.mark.parametrize("name", ["sigmoid", "hard_sigmoid", "tanh", "relu"])
@pytest.mark.parametrize("activation", ["tanh", "elu"])
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_recurrent_activations(layer: Any, activation: str, name: str) -> None:
    Case(layer, (5, 3), "", kwargs={"units": 4, "activation": activation, "recurrent_activation": name}).check()


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_bidirectional(layer: Any, states: bool, sequences: bool, mode: str | None) -> None:
    def make(x: Any) -> Any:
        own = layer(4, return_sequences=sequences, return_state=states)
        return layers.Bidirectional(own, merge_mode=mode)(x)

    converted = Case(make, (6, 5)).check()
    assert "Slice" not in operations(converted)


def test_bidirectional_is_two_nodes() -> None:
    inputs = keras.Input((None, 5), name="x")
    outputs = layers.Bidirectional(layers.GRU(4, return_sequences=True, name="gru"), name="both")(inputs)
    converted = check(randomize(keras.Model(inputs, outputs)), layers=True)
    assert operations(converted) == "Concat:1,GRU:2,Squeeze:2,Transpose:2"
    names = [node.name for node in converted.model.graph if node.op_type == "GRU"]
    assert names == ["both/forward_gru/GRU", "both/backward_gru/GRU"]


@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_with_a_layer_of_its_own_each_way(sequences: bool) -> None:
    def make(x: Any) -> Any:
        forward = layers.LSTM(4, return_sequences=sequences, go_backwards=True)
        return layers.Bidirectional(forward, backward_layer=layers.GRU(4, return_sequences=sequences))(x)

    converted = Case(make, (6, 5)).check()
    assert converted.report.operations["Concat"] == converted.report.operations["GRU"] == 1


def test_bidirectional_over_cells() -> None:
    def make(x: Any) -> Any:
        return layers.Bidirectional(layers.RNN(layers.LSTMCell(4), return_sequences=True))(x)

    assert operations(Case(make, (6, 5)).check()) == "Concat:1,LSTM:2,Squeeze:2,Transpose:2"


def test_initial_states() -> None:
    x, h, c = keras.Input((6, 5)), keras.Input((4,)), keras.Input((4,))
    lstm = layers.LSTM(4, return_state=True)(x, initial_state=[h, c])
    gru = layers.GRU(4, go_backwards=True)(x, initial_state=h)
    rnn = layers.SimpleRNN(4, return_sequences=True)(x, initial_state=[c])
    check(randomize(keras.Model([x, h, c], [*lstm, gru, rnn])))


def test_bidirectional_with_initial_states() -> None:
    x, *given = [keras.Input((6, 5)), *(keras.Input((4,)) for _ in range(4))]
    outputs = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x, initial_state=given)
    check(randomize(keras.Model([x, *given], outputs)))


def test_an_encoder_hands_its_state_to_a_decoder() -> None:
    source, target = keras.Input((None, 5)), keras.Input((None, 3))
    _, h, c = layers.LSTM(4, return_state=True)(source)
    outputs = layers.LSTM(4, return_sequences=True)(target, initial_state=[h, c])
    converted = check(randomize(keras.Model([source, target], layers.Dense(2)(outputs))))
    assert converted.report.operations["LSTM"] == 2


def test_stacked_layers_stay_time_first() -> None:
    model = keras.Sequential(
        [
            keras.Input((None, 5)),
            layers.LSTM(4, return_sequences=True),
            layers.Bidirectional(layers.GRU(3, return_sequences=True)),
            layers.SimpleRNN(4, return_sequences=True),
            layers.GRU(2),
        ]
    )
    converted = check(randomize(model), layers=True)
    assert operations(converted) == "Concat:1,GRU:3,LSTM:1,RNN:1,Squeeze:5,Transpose:1"


def test_after_a_convolution() -> None:
    model = keras.Sequential(
        [keras.Input((9, 3)), layers.Conv1D(4, 3, activation="relu"), layers.LSTM(4), layers.Dense(2)]
    )
    check(randomize(model), layers=True)


def test_a_layer_that_is_used_twice() -> None:
    first, second, shared = keras.Input((6, 5)), keras.Input((None, 5)), layers.GRU(4)
    converted = check(randomize(keras.Model([first, second], [shared(first), shared(second)])))
    assert converted.report.operations["GRU"] == 2


def test_a_fixed_batch() -> None:
    inputs = keras.Input(batch_shape=(3, 6, 5))
    converted = convert_model(randomize(keras.Model(inputs, layers.LSTM(4, return_sequences=True)(inputs))))
    assert list(converted.model.graph.outputs[0].shape or ()) == [3, 6, 4]


def test_every_gate_has_its_own_weights() -> None:
    """With a bias far from all others in one gate at a time, a swapped gate cannot go unseen."""
    for layer, gates in ((layers.LSTM, 4), (layers.GRU, 3)):
        for gate in range(gates):
            inputs = keras.Input((4, 3))
            model = keras.Model(inputs, layer(2, return_sequences=True)(inputs))
            for variable in model.variables:
                if variable.name == "bias":
                    bias = np.zeros(variable.shape, np.float32)
                    bias[..., 2 * gate : 2 * gate + 2] = 1.5
                    variable.assign(bias)
            check(model)


def _refusal(make: Callable[[Any], Any]) -> ConversionError:
    inputs = keras.Input(batch_shape=(2, 6, 5))
    with pytest.raises(ConversionError) as caught:
        convert_model(keras.Model(inputs, make(inputs)))
    return caught.value


@pytest.mark.parametrize("states", [False, True], ids=["zero", "given"])
@pytest.mark.parametrize("zeros", [False, True], ids=["keeps", "zeros"])
@pytest.mark.parametrize("sequences", [False, True], ids=["last", "all"])
@pytest.mark.parametrize("backwards", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_mask_with_holes_anywhere(layer: Any, backwards: bool, sequences: bool, zeros: bool, states: bool) -> None:
    x, mask = keras.Input((6, 5)), keras.Input((6,), dtype="bool")
    own = layer(4, go_backwards=backwards, return_sequences=sequences, return_state=True, zero_output_for_mask=zeros)
    given = [keras.Input((4,)) for _ in own.state_size] if states else []
    outputs = own(x, mask=mask, initial_state=given or None)
    converted = check(randomize(keras.Model([x, mask, *given], outputs)))
    kind = {"SimpleRNN": "RNN"}.get(layer.__name__, layer.__name__)
    assert converted.report.operations[kind] == 6


def test_a_mask_of_one_step() -> None:
    x, mask = keras.Input((1, 5)), keras.Input((1,), dtype="bool")
    check(randomize(keras.Model([x, mask], layers.GRU(4, return_sequences=True)(x, mask=mask))))


def test_a_mask_over_no_step_at_all() -> None:
    inputs = keras.Input((3, 5))
    model = randomize(keras.Model(inputs, layers.LSTM(4)(layers.Masking()(inputs))))
    session = run_session(check_graph(convert_model(model)))
    found = session([np.zeros((2, 3, 5), np.float32)])
    np.testing.assert_array_equal(found[0], np.zeros((2, 4), np.float32))
    some = np.ones((2, 3, 5), np.float32)
    some[0, 1:] = some[1, :2] = 0
    np.testing.assert_allclose(session([some])[0], keras_function(model)([some])[0], atol=1e-6)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("mode", ["concat", "sum"])
def test_the_mask_of_an_embedding(mode: str, sequences: bool) -> None:
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(5, 3, mask_zero=True)(inputs)
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode=mode)(x)
    x = layers.Dropout(0.5)(x)
    check(randomize(keras.Model(inputs, layers.GRU(4, return_sequences=sequences)(x))))


@pytest.mark.parametrize(
    ("backwards", "sequences", "zeros"), [(False, True, False), (True, False, False), (True, True, True)]
)
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_a_mask_over_an_unknown_time_is_a_scan(layer: Any, backwards: bool, sequences: bool, zeros: bool) -> None:
    x, mask = keras.Input((None, 5)), keras.Input((None,), dtype="bool")
    own = layer(4, go_backwards=backwards, return_sequences=sequences, return_state=True, zero_output_for_mask=zeros)
    given = [keras.Input((4,)) for _ in own.state_size]
    converted = check(randomize(keras.Model([x, mask, *given], own(x, mask=mask, initial_state=given))))
    assert converted.report.operations["Scan"] == 1


def test_an_embedding_without_a_mask() -> None:
    inputs = keras.Input((None,), dtype="int32")
    check(randomize(keras.Model(inputs, layers.LSTM(4)(layers.Embedding(9, 5)(inputs)))))


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_a_state_kept_between_calls_is_refused(layer: Any) -> None:
    error = _refusal(layer(4, stateful=True, name="seq"))
    assert error.where == "layer 'seq'"
    assert "state" in str(error)


def test_active_dropout_is_refused() -> None:
    class Outer(layers.Layer):  # type: ignore[misc]  # Keras has no type information
        def __init__(self) -> None:
            super().__init__(name="outer")
            self.inner = layers.LSTM(4, dropout=0.5, name="seq")

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return self.inner(x, training=True)

    error = _refusal(Outer())
    assert error.where == "layer 'outer/seq'"
    assert "dropout" in str(error)


# --- any other cell: a Scan over its steps ----------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="test_lowerings_recurrent")
class Cell(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """A cell of a user's own, whose output isn't its state."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, x: Any, states: Any) -> Any:
        state = ops.tanh(ops.matmul(x, self.kernel) + ops.matmul(states[0], self.recurrent))
        return state * 2.0 + 1.0, [state]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="test_lowerings_recurrent")
class OwnLSTMCell(layers.LSTMCell):  # type: ignore[misc]  # Keras has no type information
    pass


CELLS: dict[str, Callable[[], Any]] = {
    "own": lambda: Cell(4),
    "subclass": lambda: OwnLSTMCell(4),
    "stacked": lambda: layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(3)]),
}


@pytest.mark.parametrize("time", [10, None])
@pytest.mark.parametrize(
    "options", [{}, {"return_sequences": True}, {"return_state": True, "go_backwards": True}], ids=str
)
@pytest.mark.parametrize("cell", CELLS)
def test_any_cell_is_a_scan(cell: str, options: dict[str, bool], time: int | None) -> None:
    converted = Case(layers.RNN(CELLS[cell](), **options), (time, 3)).check()
    assert converted.report.operations["Scan"] == 1
    assert "Transpose" not in operations(converted)


def test_a_few_steps_are_unrolled() -> None:
    for options in ({}, {"unroll": True}):
        converted = Case(layers.RNN(Cell(4), return_sequences=True, **options), (5, 3)).check()
        assert "Scan" not in operations(converted)


def test_a_cell_of_keras_in_an_rnn_is_its_node() -> None:
    assert operations(Case(layers.RNN(layers.GRUCell(4)), (12, 3)).check()) == f"GRU:1,{LAST}"


@pytest.mark.parametrize("cell", ["own", "subclass"])
def test_any_cell_with_a_mask(cell: str) -> None:
    for options in ({"return_sequences": True}, {"zero_output_for_mask": True, "return_state": True}):
        x, mask = keras.Input((None, 5)), keras.Input((None,), dtype="bool")
        outputs = layers.RNN(CELLS[cell](), **options)(x, mask=mask)
        check(randomize(keras.Model([x, mask], outputs)))


@pytest.mark.parametrize("mode", ["concat", "mul", None])
def test_any_cell_in_bidirectional(mode: str | None) -> None:
    def make(x: Any) -> Any:
        return layers.Bidirectional(layers.RNN(Cell(4), return_sequences=True), merge_mode=mode)(layers.Masking()(x))

    assert Case(make, (None, 5)).check().report.operations["Scan"] == 2


@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU, layers.SimpleRNN])
def test_activations_that_no_node_has(layer: Any) -> None:
    for activation in ("gelu", ops.sin) if layer is layers.GRU else ("mish",):
        converted = Case(layer(4, activation=activation, dropout=0.2), (None, 3)).check()
        assert converted.report.operations["Scan"] == 1


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutional_lstm(rank: int, data_format: str) -> None:
    layer = (layers.ConvLSTM1D, layers.ConvLSTM2D, layers.ConvLSTM3D)[rank - 1]
    if data_format == "channels_first" and rank > 1:
        pytest.skip("TensorFlow's CPU has no such convolution to compare with")
    spatial = (5, 4, 3)[:rank]
    shape = (*spatial, 2) if data_format == "channels_last" else (2, *spatial)
    for options in ({"return_sequences": True, "padding": "same"}, {"return_state": True, "recurrent_dropout": 0.3}):
        Case(layer(3, 2, data_format=data_format, **options), (9, *shape)).check()


def test_no_step_of_a_convolutional_lstm_transposes() -> None:
    converted = Case(layers.ConvLSTM2D(3, 2, return_sequences=True), (9, 5, 4, 2)).check()
    (body,) = converted.model.graph.subgraphs()
    assert "Transpose" not in [node.op_type for node in body]
    assert sum(node.op_type == "Conv" for node in body) == 8


def test_initial_states_of_any_cell() -> None:
    x, h = keras.Input((None, 5)), keras.Input((4,))
    check(randomize(keras.Model([x, h], layers.RNN(Cell(4), return_sequences=True)(x, initial_state=h))))


def test_any_stateful_layer_is_refused() -> None:
    cell = (layers.RNN(Cell(4), stateful=True, name="seq"), (2, 9, 5))
    convolution = (layers.ConvLSTM1D(2, 2, stateful=True, name="seq"), (2, 9, 5, 2))
    for layer, shape in (cell, convolution):
        inputs = keras.Input(batch_shape=shape)
        with pytest.raises(ConversionError, match="changes its own state") as caught:
            convert_model(keras.Model(inputs, layer(inputs)))
        assert "seq/rnn_state" in str(caught.value)
