"""What `tf.*` functions mean in `keras.ops`, so that layers written in raw TensorFlow open like all others.

Each adapter has the argument names of its TensorFlow function (2.20) and leaves out those that say nothing at
inference. While a model is traced they stand in for the functions wherever an argument is symbolic.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from keras import ops

Adapter = Callable[..., Any]


def _reduction(function: Adapter) -> Adapter:
    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
        return function(input_tensor, axis=axis, keepdims=keepdims)

    return reduce


def _unary(function: Adapter) -> Adapter:
    def unary(x: Any = None, name: str | None = None, **named: Any) -> Any:
        (value,) = [x] if x is not None else named.values()  # tf.nn.relu calls it features, tf.math.sigmoid x
        return function(value)

    return unary


def _binary(function: Adapter) -> Adapter:
    def binary(x: Any, y: Any, name: str | None = None) -> Any:
        return function(x, y)

    return binary


def _softmax(function: Adapter) -> Adapter:
    def softmax(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
        return function(logits, axis=-1 if axis is None else axis)

    return softmax


def _axis_of(function: Adapter) -> Adapter:
    def along(input: Any, axis: Any = None, name: str | None = None) -> Any:
        return function(input, axis=axis)

    return along


def _concat(values: Any, axis: int, name: str = "concat") -> Any:
    return ops.concatenate(values, axis=axis)


def _stack(values: Any, axis: int = 0, name: str = "stack") -> Any:
    return ops.stack(values, axis=axis)


def _reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    return ops.reshape(tensor, list(shape))


def _zeros(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.zeros(list(shape), getattr(dtype, "name", dtype))


def _ones(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.ones(list(shape), getattr(dtype, "name", dtype))


def _fill(dims: Any, value: Any, name: str | None = None, layout: Any = None) -> Any:
    return ops.full(list(dims), value, getattr(value, "dtype", "float32" if isinstance(value, float) else "int32"))


def _broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    return ops.broadcast_to(input, list(shape))


def _range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    start, limit = (0, start) if limit is None else (start, limit)
    return ops.arange(start, limit, delta, getattr(dtype, "name", dtype))


def _transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Any:
    return ops.transpose(a, perm)


def _cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    return ops.cast(x, getattr(dtype, "name", dtype))


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None) -> Any:
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _clip(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def _shape(input: Any, out_type: Any = None, name: str | None = None) -> Any:
    return ops.shape(input)


def _pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None) -> Any:
    widths = [tuple(int(width) for width in pair) for pair in paddings]
    if mode.upper() != "CONSTANT":
        return ops.pad(tensor, widths, mode=mode.lower())
    return ops.pad(tensor, widths, constant_values=constant_values)


def _tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    return ops.tile(input, multiples)


def _split(value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: str = "split") -> Any:
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis=axis)
    places = [sum(num_or_size_splits[: index + 1]) for index in range(len(num_or_size_splits) - 1)]
    return ops.split(value, places, axis=axis)


def _leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    return ops.leaky_relu(features, alpha)


def _gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    return ops.gelu(features, approximate)


_UNARY = {
    "abs": ops.abs,
    "exp": ops.exp,
    "sqrt": ops.sqrt,
    "square": ops.square,
    "tanh": ops.tanh,
    "sigmoid": ops.sigmoid,
    "negative": ops.negative,
    "identity": lambda x: x,
    "stop_gradient": ops.stop_gradient,
}
_BINARY = {
    "add": ops.add,
    "subtract": ops.subtract,
    "multiply": ops.multiply,
    "divide": ops.divide,
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "pow": ops.power,
}
_REDUCTIONS = {"reduce_mean": ops.mean, "reduce_max": ops.max, "reduce_min": ops.min, "reduce_sum": ops.sum}

_TOP: dict[str, Adapter] = {
    **{name: _unary(function) for name, function in _UNARY.items()},
    **{name: _binary(function) for name, function in _BINARY.items()},
    **{name: _reduction(function) for name, function in _REDUCTIONS.items()},
    "broadcast_to": _broadcast_to,
    "cast": _cast,
    "clip_by_value": _clip,
    "concat": _concat,
    "fill": _fill,
    "ones": _ones,
    "range": _range,
    "zeros": _zeros,
    "expand_dims": _axis_of(ops.expand_dims),
    "matmul": _matmul,
    "pad": _pad,
    "reshape": _reshape,
    "shape": _shape,
    "split": _split,
    "squeeze": _axis_of(ops.squeeze),
    "stack": _stack,
    "tile": _tile,
    "transpose": _transpose,
}
_NN: dict[str, Adapter] = {
    "relu": _unary(ops.relu),
    "relu6": _unary(ops.relu6),
    "elu": _unary(ops.elu),
    "selu": _unary(ops.selu),
    "silu": _unary(ops.silu),
    "swish": _unary(ops.silu),
    "softplus": _unary(ops.softplus),
    "sigmoid": _unary(ops.sigmoid),
    "tanh": _unary(ops.tanh),
    "leaky_relu": _leaky_relu,
    "gelu": _gelu,
    "softmax": _softmax(ops.softmax),
    "log_softmax": _softmax(ops.log_softmax),
}
_MATH: dict[str, Adapter] = {
    **{name: _TOP[name] for name in (*_UNARY, *_BINARY, *_REDUCTIONS) if name not in ("identity", "stop_gradient")},
    "log": _unary(ops.log),
    "rsqrt": _unary(ops.rsqrt),
    "reciprocal": _unary(ops.reciprocal),
    "erf": _unary(ops.erf),
    "softplus": _unary(ops.softplus),
}


def writes() -> list[tuple[Any, str]]:
    """(class, name) of each method that changes a tf.Variable, where TensorFlow is loaded."""
    if "tensorflow" not in sys.modules:
        return []
    from tensorflow.python.ops.resource_variable_ops import ResourceVariable

    prefixes = ("assign", "scatter_", "batch_scatter_")
    return [(cls, name) for cls in ResourceVariable.__mro__ for name in vars(cls) if name.startswith(prefixes)]


def redirections() -> list[tuple[Any, str, Adapter]]:
    """(module, name, adapter) of each function, where TensorFlow is loaded; a layer written in it has loaded it."""
    tf = sys.modules.get("tensorflow")
    if tf is None:
        return []
    tables = ((tf, _TOP), (tf.nn, _NN), (tf.math, _MATH))
    return [(module, name, adapter) for module, table in tables for name, adapter in table.items()]
