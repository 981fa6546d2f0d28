"""What becomes of each Keras operation (or layer): which function lowers it, which opens it, why it is refused."""

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
_openings: dict[type, Lowering] = {}
_own_dtypes: set[type] = set()
_refusals: dict[type, str] = {}
_conditions: dict[type, Callable[..., bool]] = {}


def lowers(*classes: type, when: Callable[..., bool] | None = None) -> Callable[[Function], Function]:
    """Registers a function as the lowering of Keras Operation classes, or of layer classes that shall not be opened.

    The function is called as ``f(builder, operation, *args, **kwargs)``, with the arguments of the operation's
    ``call``: tensors are `converters.builder.Tensor`, weights and constants numpy arrays. It returns a Tensor, or a
    structure of them like that of the operation's outputs. ``when(layer, *args, **kwargs)`` says of a layer and a call
    of it (before it is traced: tensors are KerasTensors) whether to lower it as one; else it is opened.

    Raises ConversionError when one of the classes has a lowering already: a graph must not depend on the import order.
    """

    def register(function: Function) -> Function:
        registered = _registers(_lowerings, classes, "a lowering")(function)
        if when is not None:
            _conditions.update(dict.fromkeys(classes, when))
        return registered

    return register


def opens(*classes: type, own_dtype: bool = False) -> Callable[[Function], Function]:
    """Registers what a Keras Operation class consists of: a function written in `keras.ops`, traced in its place.

    A layer class may have one in the place of its `call`.

    It is called as ``f(operation, *args, **kwargs)`` with KerasTensors, variables and constants, and returns what the
    operation does. Keras's own dtype and shape rules hold for each operation in it; the result is cast to the dtype
    that Keras gives the whole (not with ``own_dtype``: Keras is wrong about it).
    """
    _own_dtypes.update(classes if own_dtype else ())
    return _registers(_openings, classes, "an opening")


def refuses(reason: str, *classes: type) -> None:
    """Says why operation classes, or layers that do not open, have neither; the error for a model with one says so."""
    _refusals.update(dict.fromkeys(classes, reason))


def _registers(table: dict[type, Lowering], classes: tuple[type, ...], what: str) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        for cls in classes:
            if cls in table:
                taken = table[cls]
                raise ConversionError(
                    f"{cls.__name__} has {what} already",
                    where=f"{function.__module__}.{function.__qualname__}",
                    found=f"{taken.__module__}.{taken.__qualname__}",
                    fix="lower a subclass of it, or leave it to the first one",
                )
            table[cls] = function
        return function

    return register


def lowering_of(operation: Any) -> Lowering | None:
    """The lowering of an operation or layer, by its exact class, or None."""
    _load()
    return _lowerings.get(type(operation))


def opening_of(operation: Any) -> Lowering | None:
    """What an operation consists of, by its exact class, or None; a lowering goes first."""
    return None if is_lowered(operation) else _openings.get(type(operation))


def has_own_dtype(operation: Any) -> bool:
    """Whether an opening's dtypes hold and not those that Keras says."""
    return type(operation) in _own_dtypes


def is_lowered(operation: Any, *args: Any, **kwargs: Any) -> bool:
    """Whether an operation, or a layer on these arguments of its call, is lowered as one."""
    if lowering_of(operation) is None:
        return False
    condition = _conditions.get(type(operation)) if args or kwargs else None
    return condition is None or condition(operation, *args, **kwargs)


def is_known(operation: Any) -> bool:
    """Whether an operation has a lowering or opens to some that have."""
    return is_lowered(operation) or opening_of(operation) is not None


def refusal_of(operation: Any) -> str:
    """Why an operation or layer has no lowering, where a reason was given."""
    _load()
    return _refusals.get(type(operation), "")


def why_unknown(operation: Any) -> str:
    """The sentence that refuses an operation, with the reason where one was given."""
    reason = refusal_of(operation)
    return f"the operation {type(operation).__name__} has no lowering" + (f": {reason}" if reason else "")


def ways() -> dict[type, tuple[str, str]]:
    """Class -> (``lowered``, ``opened`` or ``refused``; the reason for the last) of all that is registered."""
    _load()
    table = {cls: ("refused", reason) for cls, reason in _refusals.items()}
    table.update(dict.fromkeys(_openings, ("opened", "")))
    table.update(dict.fromkeys(_lowerings, ("lowered", "")))
    return table


@functools.cache
def _load() -> None:
    """Imports the built-in lowerings and those of installed packages (entry-point group ``kerasrt.lowerings``)."""
    import converters.lowerings
    import converters.openings  # noqa: F401

    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        point.load()
