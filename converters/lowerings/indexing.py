"""Slicing, gathering, one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.builder import Builder, Tensor
from converters.keras_internals import core, nn
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import Operand, as_tensor, cast, elementwise
from converters.lowerings.quantized import from_floats
from converters.lowerings.sorting import flat_or
from converters.registry import lowers
from converters.tensorflow_adapters.batch_gather import BatchGather
from deploy.errors import ConversionError

_END = np.iinfo(np.int64).max


@lowers(knp.GetItem)
def get_item(g: Builder, op: Any, x: Tensor, key: Any) -> Tensor:
    """Basic indexing: slices are one Slice node, integers and new axes one Reshape."""
    keys = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    place = keys.index(Ellipsis)
    keys[place : place + 1] = [slice(None)] * (x.rank - sum(k is not None and k is not Ellipsis for k in keys))
    starts, ends, axes, steps = [], [], [], []
    kept: list[int | None] = []
    axis = 0
    for item in keys:
        if item is None:
            kept.append(1)
            continue
        part = slice(item, item + 1 if item != -1 else None) if isinstance(item, int | np.integer) else item
        if not isinstance(part, slice):
            raise ConversionError(
                f"indexing with {item!r} cannot be converted",
                where=g.where,
                fix="index with numbers and slices; keras.ops.take takes computed places",
            )
        if not _is_whole(part, x.shape[axis]):
            step = 1 if part.step is None else int(part.step)
            starts.append(int(part.start) if part.start is not None else (0 if step > 0 else _END))
            ends.append(int(part.stop) if part.stop is not None else (_END if step > 0 else -_END))
            axes.append(axis)
            steps.append(step)
        if part is item:
            kept.append(-1 - axis)  # this axis of the sliced tensor
        axis += 1
    if axes:
        physical = np.asarray([x.axis(a) for a in axes], np.int64)
        bounds = [np.asarray(v, np.int64) for v in (starts, ends)]
        x = Tensor(g.op("Slice", x.value, *bounds, physical, np.asarray(steps, np.int64)), x.order)
    return g.reshape(x, tuple(x.shape[-1 - k] if k is not None and k < 0 else k for k in kept))


def _is_whole(part: slice, size: int | None) -> bool:
    if part.step not in (None, 1) or part.start not in (None, 0):
        return False
    return part.stop is None or (size is not None and part.stop >= size)


@lowers(BatchGather)
def batch_gather(g: Builder, op: BatchGather, params: Operand, indices: Operand) -> Tensor:
    """One GatherND; negative places are errors in TensorFlow."""
    data, places = (g.identity(as_tensor(g, x)) for x in (params, indices))
    last = g.reshape(cast(g, places, "int64"), (*places.shape, 1))
    value = g.op("GatherND", data.value, last.value, batch_dims=op.batch_dims)
    return Tensor(value, layout.identity(places.rank + data.rank - op.batch_dims - 1))


@lowers(core.Slice)
def slice_(g: Builder, op: Any, x: Tensor, start_indices: Any) -> Tensor:
    if isinstance(start_indices, Tensor) or any(isinstance(start, Tensor) for start in start_indices):
        return _slice_from(g, op.shape, x, start_indices)
    starts = np.asarray([int(start) for start in start_indices], np.int64)
    ends = [_END if size is None else start + int(size) for start, size in zip(starts, op.shape, strict=True)]
    order = [axis for axis in x.order if starts[axis] or ends[axis] not in (_END, x.shape[axis])]
    if not order:
        return x
    axes = np.asarray([x.axis(axis) for axis in order], np.int64)
    return Tensor(g.op("Slice", x.value, starts[order], np.asarray(ends, np.int64)[order], axes), x.order)


def _slice_from(g: Builder, sizes: Any, x: Tensor, starts: Any) -> Tensor:
    """A slice whose start is computed: per axis a Gather of consecutive places, so its size is known."""
    for axis, size in enumerate(sizes):
        if size == x.shape[axis]:
            continue
        if isinstance(starts, Tensor):
            first = Tensor(g.op("Gather", starts.value, np.asarray(axis, np.int64), axis=0), ())
        else:
            first = as_tensor(g, starts[axis])
        places = elementwise(g, "Add", np.arange(size, dtype=np.int64), g.reshape(first, ()), dtype="int64")
        x = Tensor(g.op("Gather", x.value, places.value, axis=x.axis(axis)), x.order)
    return x


@lowers(knp.TakeAlongAxis)
def take_along_axis(g: Builder, op: Any, x: Operand, indices: Operand) -> Tensor:
    """GatherElements, once both have equal sizes beside the axis."""
    table, index = as_tensor(g, x), as_tensor(g, indices)
    index = index if index.dtype == np.int64 else cast(g, index, "int32")
    table, axis = flat_or(g, table, op.axis)
    index, _ = flat_or(g, index, op.axis)
    table, index = (_spread(g, a, b, axis) for a, b in ((table, index), (index, table)))
    value = g.op("GatherElements", table.value, g.arrange(index, table.order).value, axis=table.axis(axis))
    return cast(g, Tensor(value, table.order), g.out.dtype)


def _spread(g: Builder, x: Tensor, other: Tensor, axis: int) -> Tensor:
    """The value repeated along the axes in which it has size 1 and the other one more."""
    if not any(a == 1 != b for place, (a, b) in enumerate(zip(x.shape, other.shape, strict=True)) if place != axis):
        return x
    first = Tensor(
        g.op("Slice", other.value, *(np.asarray([v], np.int64) for v in (0, 1, other.axis(axis)))), other.order
    )
    like = Tensor(g.op("Cast", elementwise(g, "Equal", first, first).value, to=int(x.value.dtype or 1)), first.order)
    zero = elementwise(g, "Sub", like, like, dtype=str(x.dtype))
    return elementwise(g, "Add", x, zero, dtype=str(x.dtype))


@lowers(core.Scatter)
def scatter(g: Builder, op: Any, indices: Operand, values: Operand) -> Tensor:
    """Values added to zeros at places; several at one place add up."""
    zeros = as_tensor(g, np.zeros([int(size) for size in op.shape], g.out.dtype))
    return _scattered(g, zeros, indices, values, "add")


@lowers(core.ScatterUpdate)
def scatter_update(g: Builder, op: Any, inputs: Operand, indices: Operand, updates: Operand) -> Tensor:
    return _scattered(g, as_tensor(g, inputs), indices, updates, op.reduction)


def _scattered(g: Builder, x: Tensor, indices: Any, updates: Operand, reduction: str | None) -> Tensor:
    x = g.identity(x)
    if reduction == "add" and not isinstance(indices, Tensor) and x.value.is_initializer():
        places = np.reshape(np.asarray(indices), (-1, np.shape(indices)[-1]))
        reduction = None if len(np.unique(places, axis=0)) == len(places) else "add"  # TensorRT has no reduction
    index = g.identity(cast(g, as_tensor(g, indices), "int64"))
    update = g.identity(cast(g, as_tensor(g, updates), str(x.dtype)))
    return Tensor(g.op("ScatterND", x.value, index.value, update.value, reduction=reduction), x.order)


@lowers(knp.Take)
@from_floats
def take(g: Builder, op: Any, x: Operand, indices: Operand) -> Tensor:
    """Gather along an axis (an embedding look-up where x is a weight); negative indices count from the end."""
    table = as_tensor(g, x)
    index = as_tensor(g, indices)
    if op.axis is None:
        table, axis = Tensor(g.op("Reshape", g.identity(table).value, np.asarray([-1], np.int64)), (0,)), 0
    else:
        axis = op.axis % table.rank
    table, index = g.identity(table), g.identity(cast(g, index, "int64" if index.dtype == np.int64 else "int32"))
    value = g.op("Gather", table.value, index.value, axis=axis)
    return cast(g, Tensor(value, layout.identity(table.rank - 1 + index.rank)), g.out.dtype)


@lowers(nn.OneHot)
def one_hot(g: Builder, op: Any, x: Tensor) -> Tensor:
    """A comparison with 0, 1, …: a negative class gives zeros, where ONNX's OneHot would count from the end."""
    x = x if x.dtype in (np.int32, np.int64) else cast(g, x, "int32")
    axis = op.axis % (x.rank + 1)
    x = g.reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))
    classes = np.arange(int(op.num_classes), dtype=x.dtype).reshape((-1,) + (1,) * (x.rank - 1 - axis))
    return cast(g, elementwise(g, "Equal", x, classes), g.out.dtype)
