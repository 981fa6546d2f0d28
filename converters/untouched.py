"""Conversion runs the model's own code; afterwards the model and Keras are as they were, whatever came of it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from converters import keras_internals, repeatable


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
    kinds = (dict, list, set)
    return {key: kind(x) for key, x in attributes.items() for kind in kinds if issubclass(type(x), kind)}


def _put_back(now: dict[str, Any], attributes: dict[str, Any], contents: dict[str, Any]) -> None:
    for key in [key for key in now if key not in attributes]:
        del now[key]
    for key, value in attributes.items():
        if key not in now or now[key] is not value:
            now[key] = value
    for key, before in contents.items():
        value, kind = attributes[key], type(before)
        if _members(value) != _members(before):
            kind.clear(value)
            (list.extend if kind is list else kind.update)(value, before)


def _members(value: Any) -> list[Any]:
    return [(key, id(x)) for key, x in value.items()] if isinstance(value, dict) else [id(x) for x in value]
