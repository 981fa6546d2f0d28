"""What may be built from an unknown size: the shape of a reshape, a broadcast or a fill, and the bound of a slice."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from converters.keras_internals import numpy as knp
from converters.tracing.recording import Recorder
from converters.tracing.unknown_sizes import Size, is_computed, number
from deploy.errors import ConversionError

Recorded = Callable[..., KerasTensor]


@dataclass(frozen=True)
class Part:
    """A size in the shape of an `Into`: ``times`` the size of ``axis`` of its tensor ``index``, or its scalar value."""

    index: int
    axis: int | None
    times: int | Fraction = 1


@dataclass(frozen=True)
class Into:
    """``kind`` (reshape, broadcast or tile) of a tensor by ``shape``: numbers, a -1, parts that the graph computes."""

    kind: str
    shape: tuple[int | Part, ...]
    name = "reshape"


@dataclass(frozen=True)
class ResizeTo:
    """The image bilinearly resized to ``size``: numbers and parts that the graph computes."""

    size: tuple[int | Part, ...]
    last: bool
    name = "resize"


@dataclass(frozen=True)
class Alike:
    """A tensor as it is, once its unknown size of ``axis`` is seen to be another tensor's."""

    axis: int
    name = "alike"


@dataclass(frozen=True)
class Bounds:
    """The slice of one axis: each bound a number, None or a part that the graph computes."""

    axis: int
    start: int | Part | None
    stop: int | Part | None


@dataclass(frozen=True)
class Cut:
    """Slices whose bounds the graph computes."""

    bounds: tuple[Bounds, ...]
    name = "slice"


@dataclass(frozen=True)
class Range:
    """``arange(start, stop, step)`` with scalars of the graph, of a dtype; ``length``: where it is known by name."""

    dtype: str
    length: Part | None = None
    name = "arange"


def shape(recorder: Recorder, x: Any) -> tuple[Any, ...]:
    """``ops.shape`` of a symbolic tensor: numbers, and a `Size` where Keras has None."""
    return tuple(Size(recorder, x, axis) if size is None else size for axis, size in enumerate(x.shape))


def given(shape: Sequence[Any]) -> tuple[Any, ...]:
    """A shape for a reshape: its one unknown size is what remains."""
    return tuple(-1 if size is None else size for size in shape)


def reshape(recorder: Recorder, operation: Any, x: Any) -> Any:
    """Traces a Reshape: the usual operation, unless its target has sizes that only the graph knows."""
    target = tuple(operation.newshape) if isinstance(operation.newshape, list | tuple) else (operation.newshape,)
    unknown = [i for i, size in enumerate(target) if not isinstance(size, int | np.integer)]
    if not unknown:
        return recorder.plain(operation, x)
    has_rest = any(_is_rest(size) for size in target)
    if any(target[i] is None for i in unknown):  # of a shape that Keras gave as it is: one of them is what remains
        if len(unknown) == 1 and not has_rest:
            return ops.reshape(x, tuple(-1 if size is None else int(size) for size in target))
        return recorder.plain(operation, x)
    if len(unknown) == 1 and not has_rest:  # what remains
        return ops.reshape(x, tuple(-1 if i in unknown else int(size) for i, size in enumerate(target)))
    known = list(target)
    if has_rest and len(unknown) == len([s for s in x.shape if s is None]):
        known[[_is_rest(size) for size in target].index(True)] = _remaining(recorder, x, target)
    sizes = [int(s) if isinstance(s, int | np.integer) and s != -1 else None for s in known]
    return _into(recorder, "reshape", x, target, sizes)


def _is_rest(size: Any) -> bool:
    """Whether a size is -1; one that is a value of the graph would give another value when compared."""
    return isinstance(size, int | np.integer) and size == -1


def _remaining(recorder: Recorder, x: Any, target: Sequence[Any]) -> int:
    """The -1 of a reshape whose unknown sizes are those of the tensor; the lowering checks that they are."""
    total = Fraction(math.prod(1 if size is None else size for size in x.shape))
    root, own = recorder.origins.of(x)
    rest = Fraction(1)
    for size in target:
        if isinstance(size, Size):
            origin, times = recorder.origins.of(size.tensor)
            rest *= times * size.times / own if origin == root else size.times
        elif isinstance(size, int | np.integer) and size != -1:
            rest *= int(size)
    left = total / rest if rest else Fraction(1, 2)
    return int(left) if left.denominator == 1 else -1


def broadcast_to(recorder: Recorder, x: Any, target: Any) -> Any:
    """``broadcast_to``; a size that the tensor has in its place stays."""
    target = (target,) if isinstance(target, int | Size) else tuple(target)
    return _into(
        recorder, "broadcast", x, target, [int(s) if isinstance(s, int | np.integer) else None for s in target]
    )


def slice_(recorder: Recorder, inputs: Any, start_indices: Any, shape: Sequence[Any]) -> Any:
    """``slice`` of lengths that only the graph knows."""
    key = [slice(first, _after(first, size)) for first, size in zip(start_indices, shape, strict=True)]
    return knp.GetItem().symbolic_call(inputs, tuple(key))


def _after(start: Any, length: Any) -> Any:
    if not is_computed(start):
        start = int(start)
        return length if start == 0 else length + start
    return number(start) + number(length)


def cut(recorder: Recorder, x: Any, keys: Sequence[Any]) -> tuple[Any, list[Any]]:
    """Carries out the slices of an index whose bounds only the graph knows; gives the rest of the index too.

    A slice from 0 to the axis's own size is the whole axis.
    """
    keys = list(keys)
    if any(item is Ellipsis for item in keys):
        place = next(i for i, item in enumerate(keys) if item is Ellipsis)
        taken = sum(item is not None for item in keys) - 1
        keys[place : place + 1] = [slice(None)] * (len(x.shape) - taken)
    bounds: list[Bounds] = []
    tensors: list[Any] = []
    sizes, axis = list(x.shape), -1
    for place, item in enumerate(keys):
        axis += item is not None
        if not isinstance(item, slice) or not (is_computed(item.start) or is_computed(item.stop)):
            continue
        if item.step not in (None, 1):
            raise ConversionError("a slice in steps to an unknown size", fix="give the input's sizes with --shapes")
        keys[place] = slice(None)
        if not _is_whole(x, axis, item):
            bounds.append(Bounds(axis, _bound(item.start, tensors), _bound(item.stop, tensors)))
            sizes[axis] = None
    if bounds:
        output = KerasTensor(tuple(sizes), keras.backend.standardize_dtype(x.dtype))
        x = recorder.record(Cut(tuple(bounds)), (x, *tensors), output)
    return x, keys


def _is_whole(x: Any, axis: int, item: slice) -> bool:
    start, stop = item.start, item.stop
    own = isinstance(stop, Size) and stop.tensor is x and stop.axis == axis and stop.times == 1
    return own and not is_computed(start) and start in (None, 0)


def resize(recorder: Recorder, operation: Any, images: Any) -> Any:
    """Traces a Resize: to sizes that only the graph knows bilinearly, without antialiasing."""
    if not any(is_computed(size) for size in operation.size):
        return recorder.plain(operation, images)
    special = operation.antialias or operation.crop_to_aspect_ratio or operation.pad_to_aspect_ratio
    whole = not keras.backend.is_float_dtype(images.dtype)
    if operation.interpolation != "bilinear" or special or whole or len(images.shape) != 4:
        raise ConversionError(
            "resizing to an unknown size is bilinear, of a batch of floating-point images",
            found=f"{operation.interpolation} of {tuple(images.shape)} {images.dtype}",
            fix="give the input's sizes with --shapes",
        )
    tensors: list[Any] = []
    parts = tuple(_bound(size, tensors) for size in operation.size)
    known = tuple(part if isinstance(part, int) else None for part in parts)
    last = operation.data_format == "channels_last"
    shape = (images.shape[0], *known, images.shape[3]) if last else (*images.shape[:2], *known)
    return recorder.record(ResizeTo(parts, last), (images, *tensors), KerasTensor(shape, images.dtype))  # type: ignore[arg-type]


def _bound(x: Any, tensors: list[Any]) -> int | Part | None:
    if x is None or not is_computed(x):
        return None if x is None else int(x)
    tensors.append(x.tensor if isinstance(x, Size) else x)
    return Part(len(tensors) - 1, x.axis, x.times) if isinstance(x, Size) else Part(len(tensors) - 1, None)


def slice_update(recorder: Recorder, operation: Any, inputs: Any, start_indices: Any, updates: Any) -> Any:
    """Traces a SliceUpdate: along an unknown size it must be the whole axis that is updated."""
    for axis, (size, count) in enumerate(zip(inputs.shape, updates.shape, strict=True)):
        if size is None and count is None:
            spec = KerasTensor(tuple(updates.shape), keras.backend.standardize_dtype(updates.dtype))
            updates = recorder.record(Alike(axis), (updates, inputs), spec)
    return recorder.plain(operation, inputs, start_indices, updates)


def tile(recorder: Recorder, x: Any, repeats: Any) -> Any:
    """``tile`` by unknown repeats."""
    repeats = (repeats,) if isinstance(repeats, int | Size) else tuple(repeats)
    old = tuple(x.shape)
    rank = max(len(old), len(repeats))
    old, repeats = (1,) * (rank - len(old)) + old, (1,) * (rank - len(repeats)) + repeats
    pairs = list(zip(old, repeats, strict=True))
    sizes = [None if s is None or not isinstance(r, int) else s * r for s, r in pairs]
    return _into(recorder, "tile", ops.reshape(x, old) if None not in old else x, repeats, sizes)


def repeat(recorder: Recorder, x: Any, repeats: Any, axis: int | None = None) -> Any:
    """``repeat`` of an axis of size 1, which is a broadcast."""
    if axis is None or x.shape[axis] != 1:
        raise ConversionError("a repeat of an unknown number", fix="give the input's sizes with --shapes")
    target = list(shape(recorder, x) if isinstance(x, KerasTensor) else x.shape)
    target[axis] = repeats
    return broadcast_to(recorder, x, target)


def full(recorder: Recorder, target: Any, fill_value: Any, dtype: Any = None) -> Any:
    """``full``, ``zeros`` and ``ones``: a constant that is broadcast."""
    dtype = keras.backend.floatx() if dtype is None else keras.backend.standardize_dtype(dtype)
    value = ops.cast(fill_value, dtype) if isinstance(fill_value, KerasTensor) else np.asarray(fill_value, dtype)
    return broadcast_to(recorder, value, target)


def arange(recorder: Recorder, start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """``arange`` up to an unknown size."""
    start, stop = (0, start) if stop is None else (start, stop)
    step = 1 if step is None else step
    dtype = "int32" if dtype is None else keras.backend.standardize_dtype(dtype)
    values = tuple(x if isinstance(x, int | np.integer) else ops.cast(number(x), dtype) for x in (start, stop, step))
    if isinstance(stop, Size) and isinstance(start, int) and isinstance(step, int) and (start, step) == (0, 1):
        length = Part(3, stop.axis, stop.times)
        return recorder.record(Range(dtype, length), (*values, stop.tensor), KerasTensor((None,), dtype))
    return recorder.record(Range(dtype), values, KerasTensor((None,), dtype))


def _into(recorder: Recorder, kind: str, x: Any, target: Sequence[Any], sizes: Sequence[int | None]) -> KerasTensor:
    parts: list[int | Part] = []
    tensors: list[Any] = []
    for size in target:
        if isinstance(size, int | np.integer):
            parts.append(int(size))
            continue
        if size is None:
            raise ConversionError("a size is unknown", fix="give the input's sizes with --shapes")
        parts.append(Part(len(tensors), size.axis, size.times) if isinstance(size, Size) else Part(len(tensors), None))
        tensors.append(size.tensor if isinstance(size, Size) else size)
    dtype = keras.backend.standardize_dtype(x.dtype)
    return recorder.record(Into(kind, tuple(parts)), (x, *tensors), KerasTensor(tuple(sizes), dtype))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "broadcast_to": broadcast_to,
    "tile": tile,
    "repeat": repeat,
    "full": full,
    "zeros": lambda recorder, shape, dtype=None: full(recorder, shape, 0, dtype),
    "ones": lambda recorder, shape, dtype=None: full(recorder, shape, 1, dtype),
    "arange": arange,
    "slice": slice_,
}
"""Backend functions that take an unknown size for a shape, a number or a bound."""
