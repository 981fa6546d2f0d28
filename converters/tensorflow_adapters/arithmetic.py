"""Adapters of `tf.*` functions that compute: elementwise, reductions, products."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from keras import ops

from converters.tensorflow_adapters import Adapter
from converters.tracing.unknown_sizes import Size, Sizes, has_size


def reduction(function: Adapter, pairs: Adapter | None = None) -> Adapter:
    """``pairs``: what combines two values; a list of tensors that is reduced over its own axis needs no stacking."""

    def reduce(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
        if isinstance(input_tensor, Sizes):
            if function is ops.prod and not keepdims:
                return input_tensor.product()
            input_tensor = ops.convert_to_tensor(input_tensor.value())
        if isinstance(input_tensor, list | tuple):
            if axis == 0 and not keepdims and pairs is not None:
                return functools.reduce(pairs, input_tensor)
            input_tensor = ops.stack(input_tensor)
        return function(input_tensor, axis=axis, keepdims=keepdims)

    return reduce


def unary(function: Adapter) -> Adapter:
    def unary(x: Any = None, name: str | None = None, **named: Any) -> Any:
        (value,) = [x] if x is not None else named.values()  # tf.nn.relu calls it features, tf.math.sigmoid x
        return function(value)

    return unary


def binary(function: Adapter) -> Adapter:
    def binary(x: Any, y: Any, name: str | None = None) -> Any:
        return function(x, y)

    return binary


def softmax(function: Adapter) -> Adapter:
    def softmax(logits: Any, axis: int | None = None, name: str | None = None) -> Any:
        return function(logits, axis=-1 if axis is None else axis)

    return softmax


def axis_of(function: Adapter) -> Adapter:
    def along(input: Any, axis: Any = None, name: str | None = None) -> Any:
        return function(input, axis=axis)

    return along


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    if isinstance(x, Size | Sizes) and getattr(dtype, "name", dtype) in ("int32", "int64"):
        return x
    return ops.cast(x, getattr(dtype, "name", dtype))


def matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False, name: str | None = None) -> Any:
    a = ops.swapaxes(a, -1, -2) if transpose_a else a
    return ops.matmul(a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def clip(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    return ops.clip(t, clip_value_min, clip_value_max)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Any:
    return ops.leaky_relu(features, alpha)


def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
    return ops.gelu(features, approximate)


def same(x: Any, shape: Any = None, name: str | None = None) -> Any:
    return x


def convert(value: Any, dtype: Any = None, dtype_hint: Any = None, name: str | None = None) -> Any:
    if isinstance(value, list | tuple) and has_size(value):
        value = Sizes(value) if all(isinstance(x, Size) or np.ndim(x) == 0 for x in value) else ops.stack(value)
    return value if dtype is None or isinstance(value, Sizes) else ops.cast(value, getattr(dtype, "name", dtype))


def add_n(inputs: Any, name: str | None = None) -> Any:
    total = inputs[0]
    for value in inputs[1:]:
        total = ops.add(total, value)
    return total


def place(function: Adapter) -> Adapter:
    def extreme(input: Any, axis: Any = None, output_type: Any = "int64", name: str | None = None) -> Any:
        return ops.cast(function(input, axis=0 if axis is None else axis), getattr(output_type, "name", output_type))

    return extreme


def cumulative(function: Adapter, neutral: float) -> Adapter:
    def along(x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
        axis %= len(x.shape)
        x = ops.flip(x, axis) if reverse else x
        if exclusive:  # one place further on
            index, widths = [slice(None)] * len(x.shape), [(0, 0)] * len(x.shape)
            index[axis], widths[axis] = slice(None, -1), (1, 0)
            x = ops.pad(x, widths, constant_values=neutral)[tuple(index)]
        y = function(x, axis=axis)
        return ops.flip(y, axis) if reverse else y

    return along


def einsum(equation: str, *inputs: Any, **kwargs: Any) -> Any:
    return ops.einsum(equation, *inputs)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Any:
    return ops.tensordot(a, b, axes)


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Any:
    return ops.swapaxes(a, -1, -2)


def like(function: Adapter) -> Adapter:
    def filled(input: Any, dtype: Any = None, name: str | None = None, layout: Any = None) -> Any:
        return function(input, dtype=getattr(dtype, "name", dtype))

    return filled


def norm(tensor: Any, ord: Any = "euclidean", axis: Any = None, keepdims: Any = None, name: str | None = None) -> Any:
    if ord in ("euclidean", 2):
        return ops.sqrt(ops.sum(ops.square(tensor), axis=axis, keepdims=bool(keepdims)))
    return ops.norm(tensor, ord=ord, axis=axis, keepdims=bool(keepdims))


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Any:
    total = ops.sum(ops.square(x), axis=dim if axis is None else axis, keepdims=True)
    return ops.multiply(x, ops.rsqrt(ops.maximum(total, epsilon)))


def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    return ops.moments(x, axes, keepdims)


def products(function: Adapter) -> Adapter:
    def of(a: Any, b: Any, name: str | None = None) -> Any:
        return function(a, b)

    return of


def cumulative_logsumexp(
    x: Any, axis: int = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Any:
    if exclusive:
        raise NotImplementedError("tf.math.cumulative_logsumexp with exclusive")
    top = ops.max(x, axis=axis, keepdims=True)
    return ops.add(ops.log(cumulative(ops.cumsum, 0)(ops.exp(ops.subtract(x, top)), axis, reverse=reverse)), top)


def count_nonzero(
    input: Any, axis: Any = None, keepdims: Any = None, dtype: Any = "int64", name: str | None = None
) -> Any:
    hits = ops.cast(ops.not_equal(input, 0), getattr(dtype, "name", dtype))
    return ops.sum(hits, axis=axis, keepdims=bool(keepdims))


def zero_fraction(value: Any, name: str | None = None) -> Any:
    return ops.mean(ops.cast(ops.equal(value, 0), "float32"))


def no_nan(function: Adapter) -> Adapter:
    """Of x and y: 0 where x is 0, whatever y is."""

    def guarded(x: Any, y: Any, name: str | None = None) -> Any:
        zero = ops.equal(x, 0)
        return ops.where(zero, ops.zeros_like(x), function(x, ops.where(zero, ops.ones_like(y), y)))

    return guarded


def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Any:
    return no_nan(lambda y, x: ops.multiply(x, y))(y, x)


def band_part(input: Any, num_lower: int, num_upper: int, name: str | None = None) -> Any:
    x = input if num_upper < 0 else ops.tril(input, int(num_upper))
    return x if num_lower < 0 else ops.triu(x, -int(num_lower))


def diag(diagonal: Any, name: str = "diag", k: int = 0, **sizes: Any) -> Any:
    """Vectors on the diagonals of square matrices of zeros."""
    if k != 0 or any(size not in (None, -1) for size in sizes.values()):
        raise NotImplementedError("tf.linalg.diag with another diagonal, size or padding")
    return ops.where(np.eye(diagonal.shape[-1], dtype=bool), ops.expand_dims(diagonal, -1), 0)


def set_diag(input: Any, diagonal: Any, name: str = "set_diag", k: int = 0, align: str = "RIGHT_LEFT") -> Any:
    rows, columns = input.shape[-2:]
    if k != 0 or rows != columns:
        raise NotImplementedError("tf.linalg.set_diag of another diagonal, or of matrices that are not square")
    return ops.where(np.eye(rows, dtype=bool), ops.expand_dims(diagonal, -1), input)


def diag_part(input: Any, name: str = "diag_part", k: int = 0, padding_value: Any = 0, align: str = "") -> Any:
    if not isinstance(k, int):
        raise NotImplementedError("tf.linalg.diag_part of a band")
    return ops.diagonal(input, k, axis1=-2, axis2=-1)


def matvec(a: Any, b: Any, transpose_a: bool = False, name: str | None = None, **flags: Any) -> Any:
    return ops.squeeze(matmul(a, ops.expand_dims(b, -1), transpose_a), -1)


def solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Any:
    return ops.linalg.solve(ops.swapaxes(matrix, -1, -2) if adjoint else matrix, rhs)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> Any:
    size = norm(tensor, ord, axis, keepdims=True)
    return ops.divide(tensor, size), size


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Any:
    return tensor


def nothing(*args: Any, **kwargs: Any) -> None:
    """Of what only raises or prints."""
