"""Adapters of `tf.*` functions that make, move and pick elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import KerasTensor, ops

from converters.tensorflow_adapters import Adapter
from converters.tensorflow_adapters.batch_gather import BatchGather
from converters.tracing.unknown_sizes import Size, Sizes, has_size


def concat(values: Any, axis: int, name: str = "concat") -> Any:
    vectors = all(isinstance(x, Sizes) or (not isinstance(x, KerasTensor) and np.ndim(x) == 1) for x in values)
    if vectors and has_size(values):
        return Sizes(size for x in values for size in (x if isinstance(x, Sizes | list | tuple) else np.asarray(x)))
    return ops.concatenate(values, axis=axis)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Any:
    scalars = all(isinstance(x, Size) or np.ndim(x) == 0 for x in values)
    return Sizes(values) if scalars and has_size(values) else ops.stack(values, axis=axis)


def expand_dims(input: Any, axis: Any = None, name: str | None = None) -> Any:
    return Sizes([input]) if isinstance(input, Size) else ops.expand_dims(input, axis)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
    return ops.reshape(tensor, _numbers(shape))


def _numbers(shape: Any) -> list[Any]:
    """A shape as a list, whose known sizes may be constants of TensorFlow."""
    return [x if x is None or isinstance(x, Size | KerasTensor) else int(x) for x in shape]


def zeros(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.zeros(_numbers(shape), getattr(dtype, "name", dtype))


def ones(shape: Any, dtype: Any = "float32", name: str | None = None, layout: Any = None) -> Any:
    return ops.ones(_numbers(shape), getattr(dtype, "name", dtype))


def fill(dims: Any, value: Any, name: str | None = None, layout: Any = None) -> Any:
    return ops.full(_numbers(dims), value, getattr(value, "dtype", "float32" if isinstance(value, float) else "int32"))


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Any:
    return ops.broadcast_to(input, _numbers(shape))


def range_(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    start, limit = (0, start) if limit is None else (start, limit)
    return ops.arange(start, limit, delta, getattr(dtype, "name", dtype))


def transpose(a: Any, perm: Any = None, conjugate: bool = False, name: str = "transpose") -> Any:
    return ops.transpose(a, perm)


def shape(input: Any, out_type: Any = None, name: str | None = None) -> Any:
    return Sizes(ops.shape(input))


def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, name: str | None = None) -> Any:
    widths = [tuple(int(width) for width in pair) for pair in paddings]
    if mode.upper() != "CONSTANT":
        return ops.pad(tensor, widths, mode=mode.lower())
    return ops.pad(tensor, widths, constant_values=constant_values)


def tile(input: Any, multiples: Any, name: str | None = None) -> Any:
    return ops.tile(input, _numbers(multiples))


def split(value: Any, num_or_size_splits: Any, axis: int = 0, num: int | None = None, name: str = "split") -> Any:
    if isinstance(num_or_size_splits, int):
        return ops.split(value, num_or_size_splits, axis=axis)
    sizes = [int(size) for size in num_or_size_splits]
    if -1 in sizes:
        sizes[sizes.index(-1)] = value.shape[axis] - sum(size for size in sizes if size != -1)
    return ops.split(value, [sum(sizes[: index + 1]) for index in range(len(sizes) - 1)], axis=axis)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, axis: Any = None, batch_dims: int = 0, name: Any = None
) -> Any:
    if not batch_dims:
        return ops.take(params, indices, axis=0 if axis is None else axis)
    batch = batch_dims % len(indices.shape)
    if axis is not None and axis % len(params.shape) != batch:
        raise NotImplementedError("tf.gather with batch_dims, of an axis behind them")
    return BatchGather(batch)(params, indices)


def embedding(params: Any, ids: Any, max_norm: Any = None, name: str | None = None) -> Any:
    if max_norm is not None:
        raise NotImplementedError("tf.nn.embedding_lookup with max_norm")
    return ops.take(params, ids, axis=0)


def one_hot(
    indices: Any, depth: int, on_value: Any = None, off_value: Any = None, axis: Any = None, dtype: Any = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    dtype = getattr(dtype, "name", dtype) or "float32"
    hit = ops.one_hot(indices, int(depth), axis=-1 if axis is None else axis, dtype="bool")
    on, off = (ops.cast(value, dtype) for value in (1 if on_value is None else on_value, off_value or 0))
    return ops.cast(hit, dtype) if on_value is None and off_value is None else ops.where(hit, on, off)


def repeat(input: Any, repeats: Any, axis: Any = None, name: str | None = None) -> Any:
    return ops.repeat(input, repeats, axis=axis)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Any:
    return ops.flip(tensor, tuple(axis) if isinstance(axis, Sequence) else axis)


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Any:
    return ops.roll(input, shift, axis)


def slice_(input_: Any, begin: Any, size: Any, name: str | None = None) -> Any:
    key = [slice(start, _after(start, length)) for start, length in zip(begin, size, strict=True)]
    return ops.convert_to_tensor(input_)[tuple(key)]


def _after(start: Any, length: Any) -> Any:
    if not isinstance(length, Size | KerasTensor) and int(length) == -1:
        return None
    return length if not isinstance(start, Size | KerasTensor) and int(start) == 0 else length + start


def sort(values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    y = ops.sort(values, axis=axis)
    return ops.flip(y, axis) if direction == "DESCENDING" else y


def argsort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Any:
    return ops.argsort(ops.negative(values) if direction == "DESCENDING" else values, axis=axis)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> Any:
    return list(value) if isinstance(value, Sizes) else ops.unstack(value, num, axis)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    return ops.where(condition, x, y)


class TopK(NamedTuple):
    """What tf.nn.top_k gives."""

    values: Any
    indices: Any


def top_k(input: Any, k: int = 1, sorted: bool = True, index_type: Any = None, name: str | None = None) -> Any:
    return TopK(*ops.top_k(input, k))


def rank(input: Any, name: str | None = None) -> Any:
    return len(input.shape)


def size(input: Any, out_type: Any = None, name: str | None = None) -> Any:
    return Sizes(ops.shape(input)).product()


def gather_nd(params: Any, indices: Any, batch_dims: int = 0, name: str | None = None, **flags: Any) -> Any:
    """Row-major places in the flattened leading axes, as the last axis of ``indices`` names them."""
    indices = ops.convert_to_tensor(indices)
    depth, sizes = indices.shape[-1], tuple(params.shape)
    if batch_dims and depth == 1:
        return BatchGather(batch_dims)(params, indices[..., 0])
    if batch_dims or None in sizes[1:]:
        raise NotImplementedError("tf.gather_nd with batch_dims, or of an unknown size")
    place = indices[..., 0]
    for axis in range(1, depth):
        place = ops.add(ops.multiply(place, sizes[axis]), indices[..., axis])
    return ops.take(ops.reshape(params, (-1, *sizes[depth:])), place, axis=0)


def linspace(start: Any, stop: Any, num: Any, name: str | None = None, axis: int = 0) -> Any:
    return ops.linspace(start, stop, int(num), axis=axis)


def meshgrid(*args: Any, indexing: str = "xy", name: str | None = None) -> Any:
    return ops.meshgrid(*args, indexing=indexing)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = "bool", name: str | None = None) -> Any:
    if maxlen is None:
        raise NotImplementedError("tf.sequence_mask without maxlen, whose size depends on values")
    mask = ops.less(ops.arange(int(maxlen), dtype=lengths.dtype), ops.expand_dims(lengths, -1))
    return ops.cast(mask, getattr(dtype, "name", dtype))


def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = None, name: str | None = None
) -> Any:
    """A count of what lies below each value; of batches too."""
    below = ops.less if side == "left" else ops.less_equal
    hits = below(ops.expand_dims(sorted_sequence, -2), ops.expand_dims(values, -1))
    return ops.sum(ops.cast(hits, "int32"), axis=-1)


def scatter(combine: str | None) -> Adapter:
    def update(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Any:
        return ops.scatter_update(tensor, indices, updates, reduction=combine)

    return update
