"""Slicing, gathering, one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.keras_internals import core, nn
from converters.keras_internals import numpy as knp
from converters.lowering import Builder, Tensor
from converters.lowerings.broadcasting import Operand, as_tensor, cast, constant_of
from converters.lowerings.quantized import from_floats
from converters.registry import lowers
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
            raise ConversionError(f"indexing with {item!r} cannot be converted", where=g.where)
        if part != slice(None):
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


@lowers(core.Slice)
def slice_(g: Builder, op: Any, x: Tensor, start_indices: Operand) -> Tensor:
    starts = constant_of(g, start_indices, "the start of a slice").astype(np.int64)
    sizes = np.asarray(op.shape, np.int64)
    order = list(x.order)
    axes = np.arange(x.rank, dtype=np.int64)
    return Tensor(g.op("Slice", x.value, starts[order], (starts + sizes)[order], axes), x.order)


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
    x = g.identity(cast(g, x, "int64"))
    values = np.asarray([0, 1], g.out.dtype)
    axis = op.axis % (x.rank + 1)
    value = g.op("OneHot", x.value, np.asarray(op.num_classes, np.int64), values, axis=axis)
    return Tensor(value, layout.identity(x.rank + 1))
