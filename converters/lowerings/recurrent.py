"""Recurrent layers as ONNX's LSTM, GRU and RNN: one node a direction, whatever the length of the sequence.

A layer whose cell and activations such a node has is lowered as one. With a mask over a few steps it is one node a
step, because ONNX's nodes cannot leave out steps but at the end. All other layers are opened: a Scan over the steps of
their cell (`converters.tracing.control_flow.rnn`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import activations, layers, ops

from converters.builder import Array, Builder, Tensor
from converters.loading.legacy import keras_2_hard_sigmoid
from converters.lowerings.broadcasting import Operand, as_tensor, cast, elementwise
from converters.registry import lowers
from converters.tracing.control_flow import UNROLL
from deploy.errors import ConversionError

TIME_FIRST = (1, 0, 2)
"""(time, batch, feature): how ONNX's recurrent nodes take and give sequences."""


@dataclass(frozen=True)
class _Kind:
    """An ONNX node: its gates as places in Keras's order, and its states."""

    op_type: str
    gates: tuple[int, ...]
    states: int


_KINDS = {
    layers.LSTMCell: _Kind("LSTM", (0, 3, 1, 2), 2),  # Keras: input, forget, cell, output; ONNX: i, o, f, c
    layers.GRUCell: _Kind("GRU", (0, 1, 2), 1),  # z, r, h in both
    layers.SimpleRNNCell: _Kind("RNN", (0,), 1),
}
_LAYERS = (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN)

# Keras function -> ONNX name and the alpha and beta that ONNX's nodes ask for with it
_ACTIVATIONS: tuple[tuple[Any, str, tuple[float, ...]], ...] = (
    (activations.tanh, "Tanh", ()),
    (activations.sigmoid, "Sigmoid", ()),
    (activations.hard_sigmoid, "HardSigmoid", (1.0 / 6.0, 0.5)),
    (keras_2_hard_sigmoid, "HardSigmoid", (0.2, 0.5)),
    (activations.relu, "Relu", ()),
    (activations.linear, "Affine", (1.0, 0.0)),
    (activations.elu, "Elu", (1.0,)),
    (activations.leaky_relu, "LeakyRelu", (0.2,)),
    (activations.softplus, "Softplus", ()),
    (activations.softsign, "Softsign", ()),
)


def _has_nodes(layer: Any, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> bool:
    """Whether ONNX has a node for the layer's cell and activations, and its mask, if any, is of a few steps."""
    if type(layer) not in _LAYERS or type(layer.cell) not in _KINDS or _activations(layer) is None:
        return False
    masks = [x for x in (mask if isinstance(mask, list | tuple) else [mask]) if x is not None]
    return all(len(x.shape) == 2 and x.shape[1] is not None and x.shape[1] <= UNROLL for x in masks)


def _both_have_nodes(
    layer: Any, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None
) -> bool:
    sides = (layer.forward_layer, layer.backward_layer)
    return all(_has_nodes(side, sequences, None, mask) for side in sides)


@lowers(layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN, when=_has_nodes)
def recurrent(
    g: Builder,
    layer: Any,
    sequences: Tensor,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
) -> list[Tensor]:
    """The last output, or all outputs in the order in which they were computed; then the states if asked for.

    ``sequences``: (batch, time, feature), the time unknown or not; the states are (batch, units).
    ``mask``: (batch, time), true where a step counts.
    Raises ConversionError for a state kept between calls and for active dropout.
    """
    _refuse(g, layer, training)
    output, states = _run(g, layer, sequences, initial_state, mask)
    if layer.return_sequences and layer.go_backwards:
        output = _flip_time(g, output)
    return [output, *states] if layer.return_state else [output]


@lowers(layers.Bidirectional, when=_both_have_nodes)
def bidirectional(
    g: Builder,
    layer: Any,
    sequences: Tensor,
    initial_state: Any = None,
    mask: Any = None,
    training: Any = None,
) -> list[Tensor]:
    """Both layers over the sequence, merged; all outputs are in the order of the sequence, so nothing is reversed.

    Raises ConversionError as the layers by themselves do.
    """
    given = [] if initial_state is None else list(initial_state)
    half = len(given) // 2
    path, outputs, states = g.path, [], []
    # Keras reverses all outputs of the second layer, which by itself goes backwards
    for side, own, is_reversed in (
        (layer.forward_layer, given[:half], layer.forward_layer.go_backwards),
        (layer.backward_layer, given[half:], not layer.backward_layer.go_backwards),
    ):
        _refuse(g, side, training)
        g.path = f"{path}/{side.name}" if path else side.name
        output, last = _run(g, side, sequences, own or None, mask)
        if layer.return_sequences and is_reversed:
            output = _flip_time(g, output)
        outputs.append(cast(g, output, layer.compute_dtype))
        states.extend(last)
    g.path = path
    merged = outputs if layer.merge_mode is None else [_merge(g, layer.merge_mode, *outputs)]
    return [*merged, *states] if layer.return_state else merged


def _merge(g: Builder, mode: str, first: Tensor, second: Tensor) -> Tensor:
    """Both layers' outputs as one."""
    if mode == "concat":
        return Tensor(g.op("Concat", first.value, second.value, axis=first.axis(-1)), first.order)
    if mode == "mul":
        return elementwise(g, "Mul", first, second)
    total = elementwise(g, "Add", first, second)
    return elementwise(g, "Mul", total, 0.5) if mode == "ave" else total


def _run(g: Builder, layer: Any, sequences: Tensor, initial_state: Any, mask: Any) -> tuple[Tensor, list[Tensor]]:
    """The last output, or all outputs at their places in the sequence (time first), and the last states."""
    cell, kind, dtype = layer.cell, _KINDS[type(layer.cell)], _dtype(layer.cell.compute_dtype)
    kernel, recurrent_kernel, bias = _weights(cell, kind, dtype)
    weights = (
        g.constant(kernel, "kernel"),
        g.constant(recurrent_kernel, "recurrent_kernel"),
        None if bias is None else g.constant(bias, "bias"),
    )
    attributes = _activations(layer) or {}

    def node(x: Any, states: Sequence[Any], direction: str | None = None) -> Sequence[Any]:
        """All outputs as (time, 1, batch, units), and the last states as (1, batch, units)."""
        inputs = [x, *weights, None, *states]  # None: the lengths, all of them whole
        while inputs[-1] is None:
            inputs.pop()
        before = 1 if kind.op_type == "GRU" and cell.reset_after else None
        given = {"hidden_size": int(cell.units), "direction": direction, "linear_before_reset": before, **attributes}
        found: Sequence[Any] = g.op(kind.op_type, *inputs, outputs=1 + kind.states, **given)
        return found

    def squeezed(value: Any, axis: int, order: tuple[int, ...]) -> Tensor:
        return Tensor(g.op("Squeeze", value, np.asarray([axis], np.int64)), order)

    x = g.arrange(cast(g, sequences, dtype), TIME_FIRST)
    first = _initial(g, initial_state, kind, dtype)
    steps = _steps(g, mask)
    if steps is None:
        everything, *last = node(x.value, first, "reverse" if layer.go_backwards else None)
        states = [squeezed(value, 0, (0, 1)) for value in last]
        output = squeezed(everything, 1, TIME_FIRST) if layer.return_sequences else states[0]
    else:
        outputs, last = _masked(g, layer, node, x, steps, first or [None] * kind.states)
        states = [squeezed(value, 0, (0, 1)) for value in last]
        if layer.return_sequences:
            output = Tensor(g.op("Concat", *outputs, axis=0), TIME_FIRST)
        else:
            output = squeezed(outputs[0 if layer.go_backwards else -1], 0, (0, 1))
    return cast(g, output, layer.compute_dtype), [cast(g, state, layer.compute_dtype) for state in states]


def _steps(g: Builder, mask: Any) -> Tensor | None:
    """A mask as booleans (batch, time), time first; None where there is none."""
    given = [x for x in (mask if isinstance(mask, list | tuple) else [mask]) if x is not None]
    if not given:
        return None
    return g.arrange(cast(g, as_tensor(g, given[0]), "bool"), (1, 0))


def _masked(
    g: Builder, layer: Any, node: Callable[..., Sequence[Any]], x: Tensor, steps: Tensor, states: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """One node a step; a step that does not count keeps the states, and gives the output before it (or zero).

    The rules are those of `keras.src.backend.tensorflow.rnn`: before the first step that counts the output is zero,
    even where the initial state is not. Returns the outputs at their places in the sequence, and the last states.
    """
    count = steps.shape[1]
    assert count is not None
    zero = g.scalar(0.0, x)
    counts = Tensor(g.op("Unsqueeze", steps.value, np.asarray([2], np.int64)), TIME_FIRST)
    starts_at_zero = all(state is None for state in states)

    def split(value: Any) -> Sequence[Any]:
        parts: Sequence[Any] = g.op("Split", value, np.ones(count, np.int64), outputs=count, axis=0)
        return parts

    inputs, masks = ([x.value], [counts.value]) if count == 1 else (split(x.value), split(counts.value))
    outputs: list[Any] = [None] * count
    before: Any = zero
    for place in reversed(range(count)) if layer.go_backwards else range(count):
        _, *new = node(inputs[place], states)
        states = [
            g.op("Where", masks[place], value, zero if old is None else old)
            for value, old in zip(new, states, strict=True)
        ]
        if layer.zero_output_for_mask:
            outputs[place] = g.op("Where", masks[place], new[0], zero)
        elif starts_at_zero:  # the first state is the output
            outputs[place] = states[0]
        else:
            outputs[place] = before = g.op("Where", masks[place], new[0], before)
    return outputs, list(states)


def _dtype(compute_dtype: str) -> str:
    """The dtype of the node: before opset 22 the recurrent ones have no bfloat16."""
    return "float32" if compute_dtype == "bfloat16" else str(compute_dtype)


def _weights(cell: Any, kind: _Kind, dtype: str) -> tuple[Array, Array, Array | None]:
    """W, R and B as ONNX has them: (1, gates * units, …), the bias of the input before that of the recurrence.

    Keras has kernels (…, gates * units); its bias is the input's alone but for a GRU that resets after the product.
    """

    def gates_first(variable: Any) -> Array:
        array = np.asarray(ops.convert_to_numpy(variable)).astype(cell.compute_dtype).astype(dtype)
        parts = np.split(array, len(kind.gates), axis=-1)
        return np.concatenate([parts[gate] for gate in kind.gates], axis=-1)

    kernel, recurrent_kernel = (gates_first(v).T[np.newaxis] for v in (cell.kernel, cell.recurrent_kernel))
    if cell.bias is None:
        return kernel, recurrent_kernel, None
    bias = gates_first(cell.bias)
    if bias.ndim == 1:
        bias = np.stack([bias, np.zeros_like(bias)])
    return kernel, recurrent_kernel, bias.reshape(1, -1)


def _activations(layer: Any) -> dict[str, Any] | None:
    """The node's attributes for activations other than ONNX's defaults; None for one that ONNX lacks."""
    cell, kind = layer.cell, _KINDS[type(layer.cell)]
    used = [cell.activation]
    if kind.op_type != "RNN":
        used = [cell.recurrent_activation, *used * kind.states]  # an LSTM's cell and output have one in Keras
    found = []
    for function in used:
        known = [(name, numbers) for candidate, name, numbers in _ACTIVATIONS if candidate is function]
        if not known:
            return None
        found.append(known[0])
    names = [name for name, _ in found]
    if names in (["Tanh"], ["Sigmoid", "Tanh"], ["Sigmoid", "Tanh", "Tanh"]):
        return {}
    # a node takes alphas and betas in turn, for those activations alone that have them
    alphas = [numbers[0] for _, numbers in found if numbers]
    betas = [numbers[1] for _, numbers in found if len(numbers) > 1]
    return {"activations": names, "activation_alpha": alphas or None, "activation_beta": betas or None}


def _initial(g: Builder, initial_state: Any, kind: _Kind, dtype: str) -> list[Any]:
    """Initial states as (1, batch, units), or nothing where they are zero."""
    if initial_state is None:
        return []
    states: Sequence[Operand] = initial_state if isinstance(initial_state, list | tuple) else [initial_state]
    values = []
    for state in states[: kind.states]:
        tensor = g.identity(cast(g, as_tensor(g, state), dtype))
        values.append(g.op("Unsqueeze", tensor.value, np.asarray([0], np.int64)))
    return values


def _flip_time(g: Builder, x: Tensor) -> Tensor:
    lowest = np.full(1, np.iinfo(np.int64).min, np.int64)
    back = np.full(1, -1, np.int64)
    return Tensor(g.op("Slice", x.value, back, lowest, g.axes(x, [1]), back), x.order)


def _refuse(g: Builder, layer: Any, training: Any) -> None:
    """Raises ConversionError for what the node would silently leave out."""
    name = type(layer).__name__
    if layer.stateful:
        raise ConversionError(
            "the layer changes its own state at inference, which an engine cannot do",
            where=g.where,
            found=f"{name} with stateful=True",
            fix="set stateful=False, and pass the state in (initial_state) and out (return_state)",
        )
    if training and (layer.cell.dropout or layer.cell.recurrent_dropout):
        raise ConversionError(
            f"{name} with dropout is called with training=True", where=g.where, fix="call it with training=False"
        )
