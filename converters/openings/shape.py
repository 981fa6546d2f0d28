"""Joining, splitting, rolling, making sequences: what is said in other shape operations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import core, einops
from converters.keras_internals import function as kfunction
from converters.keras_internals import numpy as knp
from converters.openings.common import cast, dtype_of, floats, known, promoted
from converters.registry import opens
from deploy.errors import ConversionError


@opens(kfunction.Function)
def function(op: Any, inputs: Any) -> Any:
    """A graph of operations that was made into one."""
    return op.call(inputs)


@opens(knp.Append)
def append(op: Any, x1: Any, x2: Any) -> Any:
    if op.axis is None:
        return ops.concatenate([ops.ravel(x1), ops.ravel(x2)], axis=0)
    return ops.concatenate([x1, x2], axis=op.axis)


@opens(knp.Hstack, knp.Vstack, knp.Dstack)
def stacks(op: Any, xs: Any) -> Any:
    """At least one, two or three axes, joined along the second (the only), first or third."""
    if isinstance(op, knp.Hstack):
        return ops.concatenate(xs, axis=1 if len(xs[0].shape) > 1 else 0)
    if isinstance(op, knp.Vstack):
        return ops.concatenate([ops.expand_dims(x, 0) if len(x.shape) == 1 else x for x in xs], axis=0)
    deep = [ops.expand_dims(x, (0, 2)) if len(x.shape) == 1 else x for x in xs]
    return ops.concatenate([ops.expand_dims(x, 2) if len(x.shape) == 2 else x for x in deep], axis=2)


@opens(knp.Hsplit, knp.Vsplit, knp.Dsplit)
def splits(op: Any, x: Any) -> Any:
    axis = 0 if isinstance(op, knp.Vsplit) else 2 if isinstance(op, knp.Dsplit) else min(1, len(x.shape) - 1)
    return ops.split(x, op.indices_or_sections, axis=axis)


@opens(knp.Fliplr, knp.Flipud)
def flips(op: Any, x: Any) -> Any:
    return ops.flip(x, axis=1 if isinstance(op, knp.Fliplr) else 0)


@opens(knp.Roll)
def roll(op: Any, x: Any) -> Any:
    """The last values along an axis come first."""
    if op.axis is None:
        return ops.reshape(_rolled(ops.ravel(x), int(op.shift), 0), [size or -1 for size in x.shape])
    axes = [op.axis] if isinstance(op.axis, int) else op.axis
    shifts = list(op.shift) if isinstance(op.shift, list | tuple) else [op.shift] * len(axes)
    for shift, axis in zip(shifts, axes, strict=True):
        x = _rolled(x, int(shift), axis % len(x.shape))
    return x


def _rolled(x: Any, shift: int, axis: int) -> Any:
    size = x.shape[axis]
    if size is None:
        count = ops.shape(x)[axis]
        return ops.take(x, ops.mod(ops.subtract(ops.arange(count), shift), count), axis=axis)
    shift %= size
    if not shift:
        return x
    index = [slice(None)] * len(x.shape)
    last, first = list(index), list(index)
    last[axis], first[axis] = slice(-shift, None), slice(None, -shift)
    return ops.concatenate([x[tuple(last)], x[tuple(first)]], axis=axis)


@opens(knp.Rot90)
def rot90(op: Any, array: Any) -> Any:
    """A turn by one quarter is a flip of the second axis and a swap of both."""
    first, second = (axis % len(array.shape) for axis in op.axes)
    turns = op.k % 4
    if turns == 2:
        return ops.flip(array, axis=(first, second))
    if turns == 1:
        return ops.swapaxes(ops.flip(array, axis=second), first, second)
    return ops.flip(ops.swapaxes(array, first, second), axis=second) if turns else array


@opens(knp.Diff)
def diff(op: Any, a: Any) -> Any:
    axis = op.axis % len(a.shape)
    later, earlier = [slice(None)] * len(a.shape), [slice(None)] * len(a.shape)
    later[axis], earlier[axis] = slice(1, None), slice(None, -1)
    for _ in range(op.n):
        compare = ops.not_equal if dtype_of(a) == "bool" else ops.subtract
        a = compare(a[tuple(later)], a[tuple(earlier)])
    return a


@opens(knp.Tril, knp.Triu)
def triangle(op: Any, x: Any) -> Any:
    rows, columns = (known(size, "the size of a triangle") for size in x.shape[-2:])
    make = np.tril if isinstance(op, knp.Tril) else np.triu
    return ops.where(make(np.ones((rows, columns), bool), op.k), x, cast(0, dtype_of(x)))


@opens(knp.Meshgrid, own_dtype=True)  # Keras says float32 of whole numbers
def meshgrid(op: Any, *x: Any) -> Any:
    """Each vector along its own axis, repeated along the others."""
    vectors = [ops.ravel(v) for v in x]
    sizes = [known(v.shape[0], "the size of a grid") for v in vectors]
    places = list(range(len(sizes)))
    if op.indexing == "xy" and len(sizes) > 1:
        places[:2] = [1, 0]
    shape = [0] * len(sizes)
    for place, size in zip(places, sizes, strict=True):
        shape[place] = size
    grids = []
    for place, vector, size in zip(places, vectors, sizes, strict=True):
        along = [1] * len(sizes)
        along[place] = size
        grids.append(ops.broadcast_to(ops.reshape(vector, along), shape))
    return grids


@opens(knp.Vander)
def vander(op: Any, x: Any) -> Any:
    count = known(x.shape[0], "the number of columns") if op.N is None else op.N
    powers = np.arange(count, dtype=np.float32)
    powers = powers if op.increasing else powers[::-1]
    wide = ops.cast(x, promoted(x, 1.0))
    return ops.cast(ops.power(ops.expand_dims(wide, -1), powers), dtype_of(x))


@opens(knp.Full)
def full(op: Any, fill_value: Any) -> Any:
    return ops.broadcast_to(cast(fill_value, op.dtype or dtype_of(fill_value)), op.shape)


@opens(knp.FullLike)
def full_like(op: Any, x: Any, fill_value: Any) -> Any:
    dtype = op.dtype or dtype_of(x)
    return ops.where(ops.ones_like(x, dtype="bool"), cast(fill_value, dtype), cast(0, dtype))


@opens(knp.EmptyLike)
def empty_like(op: Any, x: Any) -> Any:
    """What is in it is not defined; zeros, then."""
    return ops.zeros_like(x, dtype=op.dtype or dtype_of(x))


@opens(knp.Ndim)
def ndim(op: Any, x: Any) -> Any:
    return np.asarray(len(x.shape), np.int32)


@opens(knp.Size)
def size(op: Any, x: Any) -> Any:
    return math.prod(ops.shape(x)) + 0  # which makes a scalar of the graph of what is unknown


@opens(knp.Linspace, own_dtype=True)  # Keras says floats of whole numbers
def linspace(op: Any, start: Any, stop: Any) -> Any:
    """The start plus index times step; the last one is stop itself where it is included.

    Of a dtype of whole numbers both become such first, and what lies between is rounded down.
    """
    whole = op.dtype is not None and "int" in str(op.dtype)
    if whole:
        start, stop = (ops.cast(ops.cast(x, op.dtype), "float32") for x in (start, stop))
    start, stop = floats(start, stop)
    parts = op.num - 1 if op.endpoint else op.num
    step = ops.divide(ops.subtract(stop, start), float(max(parts, 1)))
    y = [start] + [ops.add(start, ops.multiply(step, float(index))) for index in range(1, op.num)]
    if op.endpoint and op.num > 1:
        y[-1] = stop
    rank = max(len(start.shape), len(stop.shape))
    zero = ops.multiply(step, 0.0)
    stacked = ops.stack([ops.add(v, zero) if len(v.shape) < rank else v for v in y], axis=op.axis)
    if op.dtype is not None:
        stacked = ops.cast(ops.floor(stacked) if whole else stacked, op.dtype)
    return (stacked, step) if op.retstep else stacked


@opens(knp.Logspace)
def logspace(op: Any, start: Any, stop: Any) -> Any:
    exponents = ops.linspace(start, stop, op.num, endpoint=op.endpoint, axis=op.axis)
    return ops.power(cast(float(op.base), dtype_of(exponents)), exponents)


@opens(knp.Geomspace)
def geomspace(op: Any, start: Any, stop: Any) -> Any:
    start, stop = floats(start, stop)
    low, high = ops.log(ops.abs(start)), ops.log(ops.abs(stop))
    y = ops.exp(ops.linspace(low, high, op.num, endpoint=op.endpoint, axis=op.axis))
    return ops.multiply(y, ops.expand_dims(ops.sign(start), op.axis) if len(start.shape) else ops.sign(start))


@opens(knp.UnravelIndex)
def unravel_index(op: Any, indices: Any) -> Any:
    """Quotients and remainders by the sizes, from the last axis on."""
    total = math.prod(op.shape)
    rest = ops.where(ops.less(indices, 0), ops.add(indices, total), indices)
    found: list[Any] = []
    for extent in reversed(op.shape):
        found.insert(0, ops.mod(rest, extent))
        rest = ops.floor_divide(rest, extent)
    return found


@opens(einops.Rearrange)
def rearrange(op: Any, tensor: Any, pattern: str, **axes_lengths: Any) -> Any:
    """Split the axes that stand in brackets on the left, transpose, join those on the right."""
    left, right = (_axes(side) for side in pattern.split("->"))
    sizes: dict[str, int | None] = {name: int(length) for name, length in axes_lengths.items()}
    if len(left) != len(tensor.shape):
        raise ConversionError(
            f"the pattern '{pattern}' does not fit the shape {tuple(tensor.shape)}", fix="name every axis on the left"
        )
    for group, length in zip(left, tensor.shape, strict=True):
        missing = [name for name in group if name not in sizes]
        given = math.prod(sizes[name] or 1 for name in group if name in sizes)
        for name in missing:
            sizes[name] = None if length is None else length // given
    names = [name for group in left for name in group]
    x = ops.reshape(tensor, [-1 if sizes[name] is None else sizes[name] for name in names])
    x = ops.transpose(x, [names.index(name) for group in right for name in group])
    joined = [
        -1 if any(sizes[n] is None for n in group) else math.prod(sizes[n] or 1 for n in group) for group in right
    ]
    return ops.reshape(x, joined)


def _axes(side: str) -> list[list[str]]:
    """``"b (h w) c"`` as [[b], [h, w], [c]]."""
    groups: list[list[str]] = []
    inside = False
    for token in side.replace("(", " ( ").replace(")", " ) ").split():
        if token in "()":
            inside = token == "("
            groups += [[]] if inside else []
        elif inside:
            groups[-1].append(token)
        else:
            groups.append([] if token == "1" else [token])
    return groups


@opens(core.SliceUpdate)
def slice_update(op: Any, inputs: Any, start_indices: Any, updates: Any) -> Any:
    """Where the slice lies (a constant mask for constant starts), the updates, elsewhere what was there."""
    rank = len(inputs.shape)
    starts = [start_indices[axis] for axis in range(rank)]
    mask, moved = np.ones((1,) * rank, bool), ops.cast(updates, dtype_of(inputs))
    for axis in range(rank):
        size, count = inputs.shape[axis], updates.shape[axis]
        if size == count or (size is None and count is None):
            continue
        size, count = known(size, "the size to update"), known(count, "the size of the update")
        index = ops.subtract(np.arange(size, dtype=np.int32), ops.cast(starts[axis], "int32"))
        shape = [1] * rank
        shape[axis] = size
        inside = ops.logical_and(ops.greater_equal(index, 0), ops.less(index, count))
        mask = ops.logical_and(mask, ops.reshape(inside, shape))
        moved = ops.take(moved, ops.clip(index, 0, count - 1), axis=axis)
    return ops.where(mask, moved, inputs)
