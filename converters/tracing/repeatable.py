"""Whether a model's own code does the same at each call: what it does otherwise would be frozen into the graph.

A counter in an attribute, numpy's random numbers, the time, a value kept from the first call: none of them is a
variable that Keras knows, so a model with code that isn't Keras's is traced twice and both traces are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, tree

from converters.tracing.recording import Call, Weight

_TRUSTED = ("keras.", "converters.layers")


def has_own_code(model: Any) -> bool:
    """Whether a layer's class, or a function in a Lambda, is neither Keras's nor this package's."""
    return any(
        isinstance(layer, keras.layers.Lambda) or not type(layer).__module__.startswith(_TRUSTED)
        for layer in model._flatten_layers()
    )


def first_difference(first: Sequence[Call], second: Sequence[Call]) -> str | None:
    """Where and in what two traces of one model differ, or None."""
    numbers: list[dict[int, int]] = [{}, {}]
    for a, b in zip(first, second, strict=False):
        found = _difference(a, b, numbers)
        if found is not None:
            return f"{a.where}: {found}"
    if len(first) != len(second):
        return f"{len(first)} operations, then {len(second)}"
    return None


def _difference(a: Call, b: Call, numbers: list[dict[int, int]]) -> str | None:
    name = type(a.operation).__name__
    if type(a.operation) is not type(b.operation) or _unnumbered(a.path) != _unnumbered(b.path):
        return f"{name}, then {type(b.operation).__name__}"
    if not _same((a.args, a.kwargs, _settings(a)), (b.args, b.kwargs, _settings(b)), numbers):
        return f"{name} on other constants, or on a value kept from an earlier call"
    for x, y in zip(a.bodies, b.bodies, strict=True):
        for side, body in zip(numbers, (x, y), strict=True):
            _number(side, body.inputs)
        for inner, other in zip(x.calls, y.calls, strict=False):
            found = _difference(inner, other, numbers)
            if found is not None:
                return found
        if len(x.calls) != len(y.calls) or not _same(x.outputs, y.outputs, numbers):
            return f"{name} with other steps"
    for side, outputs in zip(numbers, (a.outputs, b.outputs), strict=True):
        _number(side, tree.flatten(outputs))
    return None


def _unnumbered(path: str) -> str:
    """A path without the numbers that Keras gives: a layer that is made in a call has another one in each."""
    return re.sub(r"_\d+(?=/|$)", "", path)


def _settings(call: Call) -> dict[str, Any]:
    """The arguments that an operation keeps: its public attributes; a layer is the same object in both traces."""
    if isinstance(call.operation, keras.layers.Layer):
        return {}
    return {key: value for key, value in vars(call.operation).items() if not key.startswith("_") and key != "name"}


def _number(known: dict[int, int], tensors: Sequence[Any]) -> None:
    for tensor in tensors:
        known.setdefault(id(tensor), len(known))


def _same(a: Any, b: Any, numbers: list[dict[int, int]]) -> bool:
    flat = [tree.flatten(a), tree.flatten(b)]
    if len(flat[0]) != len(flat[1]):
        return False
    return all(_equal(x, y, numbers) for x, y in zip(*flat, strict=True))


def _equal(x: Any, y: Any, numbers: list[dict[int, int]]) -> bool:
    if isinstance(x, KerasTensor) and isinstance(y, KerasTensor):
        places = [known.get(id(t), f"input {t.name}") for known, t in zip(numbers, (x, y), strict=True)]
        return places[0] == places[1]
    if isinstance(x, Weight) and isinstance(y, Weight):
        return x.variable is y.variable and x.dtype == y.dtype
    if type(x) is not type(y):
        return False
    if keras.ops.is_tensor(x) or isinstance(x, np.ndarray):
        x, y = np.asarray(keras.ops.convert_to_numpy(x)), np.asarray(keras.ops.convert_to_numpy(y))
        return (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())
    if isinstance(x, bool | int | float | str | bytes | np.generic):
        return repr(x) == repr(y)
    return True  # a function, say, made anew by each call
