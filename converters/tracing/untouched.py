"""Conversion runs the model's own code; afterwards the model and Keras are as they were, whatever came of it."""

from __future__ import annotations

import contextlib
import operator
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from converters import keras_internals
from converters.tracing import repeatable

_KINDS = (dict, list, set)


@contextlib.contextmanager
def untouched(model: Any) -> Iterator[None]:
    """Puts back all that running the model's code may have changed in it and around it. One model at a time.

    That is: the attributes of all layers, and the lists, dictionaries and sets in them; what Keras keeps; and, where
    the model has code of its own, the state of Python's and numpy's random numbers.
    """
    with keras_internals.global_state_kept(), contextlib.ExitStack() as undo:
        if repeatable.has_own_code(model):
            undo.callback(random.setstate, random.getstate())
            undo.callback(np.random.set_state, np.random.get_state())
        for layer in model._flatten_layers():
            undo.callback(_put_back, vars(layer), dict(vars(layer)), _contents(vars(layer)))
        yield


def _contents(attributes: dict[str, Any]) -> dict[str, Any]:
    """Copies of the lists, dictionaries and sets among them; Keras's own kinds of these are subclasses."""
    found = {key: x for key, x in attributes.items() if issubclass(type(x), _KINDS)}
    return {key: next(kind for kind in _KINDS if issubclass(type(x), kind))(x) for key, x in found.items()}


def _put_back(now: dict[str, Any], attributes: dict[str, Any], contents: dict[str, Any]) -> None:
    if not _same(now, attributes):
        for key in [key for key in now if key not in attributes]:
            del now[key]
        for key, value in attributes.items():
            if key not in now or now[key] is not value:
                now[key] = value
    for key, before in contents.items():
        value, kind = attributes[key], type(before)
        if not _same(value, before):
            kind.clear(value)
            (list.extend if kind is list else kind.update)(value, before)


def _same(a: Any, b: Any) -> bool:
    """Whether two lists, dictionaries or sets have the same members, in the same order."""
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(operator.is_, a.values(), b.values()))
    return len(a) == len(b) and all(map(operator.is_, a, b))
