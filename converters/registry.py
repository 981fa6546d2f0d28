"""Which function lowers which Keras operation (or layer)."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Callable
from typing import Any, TypeVar

from deploy.errors import ConversionError

Lowering = Callable[..., Any]
Function = TypeVar("Function", bound=Lowering)

ENTRY_POINTS = "kerasrt.lowerings"

_lowerings: dict[type, Lowering] = {}


def lowers(*classes: type) -> Callable[[Function], Function]:
    """Registers a function as the lowering of Keras Operation classes, or of layer classes that shall not be opened.

    The function is called as ``f(builder, operation, *args, **kwargs)``, with the arguments of the operation's
    ``call``: tensors are `converters.lowering.Tensor`, weights and constants numpy arrays. It returns a Tensor, or a
    structure of them like that of the operation's outputs.

    Raises ConversionError when one of the classes has a lowering already: a graph must not depend on the import order.
    """

    def register(function: Function) -> Function:
        for cls in classes:
            if cls in _lowerings:
                taken = _lowerings[cls]
                raise ConversionError(
                    f"{cls.__name__} has a lowering already",
                    where=f"{function.__module__}.{function.__qualname__}",
                    found=f"{taken.__module__}.{taken.__qualname__}",
                    fix="lower a subclass of it, or leave it to the first one",
                )
            _lowerings[cls] = function
        return function

    return register


def lowering_of(operation: Any) -> Lowering | None:
    """The lowering of an operation or layer, by its exact class, or None."""
    _load()
    return _lowerings.get(type(operation))


def is_lowered(operation: Any) -> bool:
    """Whether an operation or layer has a lowering."""
    return lowering_of(operation) is not None


@functools.cache
def _load() -> None:
    """Imports the built-in lowerings and those of installed packages (entry-point group ``kerasrt.lowerings``)."""
    import converters.lowerings  # noqa: F401

    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        point.load()
