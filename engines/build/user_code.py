"""Hashes of the user's own code that a model needs: a class whose ``call`` was edited makes another model."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

_KNOWN = frozenset({"keras", "tensorflow", "converters", "engines", "deploy", "builtins"})
"""Packages whose versions or source are in the key of a build anyway."""


def module_hashes(names: Iterable[str]) -> list[str]:
    """Hashes of the user's modules (``module:Class``), found without importing them.

    A module that is not there is only named: loading the model says so.
    """
    found = []
    for name in names:
        module = name.partition(":")[0]
        top = module.partition(".")[0]
        if module in sys.modules:
            found.append(_module(module))
            continue
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            spec = None
        if spec is None:
            found.append(name)
        elif spec.submodule_search_locations:
            found.append(_sources(Path(folder) for folder in spec.submodule_search_locations))
        else:
            found.append(_beside(spec.origin))
    return found


def class_hashes(things: Iterable[Any]) -> list[str]:
    """Hashes of the source that defines these classes and functions, and of what lies beside it.

    ``?`` stands for source that is in no file (typed into an interpreter), which may have changed unseen.
    """
    modules = {str(getattr(thing, "__module__", "") or "") for thing in things}
    return [_module(name) for name in sorted(modules) if name.partition(".")[0] not in _KNOWN]


def layer_code(model: Any) -> Iterator[Any]:
    """The classes of a Keras model and of all its layers, and the functions that these hold (activations)."""
    yield type(model)
    for layer in model._flatten_layers():
        yield type(layer)
        yield from (value for value in vars(layer).values() if isinstance(value, FunctionType))


def code_names(things: Iterable[Any]) -> list[str]:
    """``module:Class`` of those that are the user's own."""
    names = {f"{thing.__module__}:{thing.__qualname__}" for thing in things}
    return sorted(name for name in names if name.partition(":")[0].partition(".")[0] not in _KNOWN)


def as_recorded(names: Iterable[str]) -> bool:
    """Whether the classes that are registered with Keras now are those of ``names``, where one is called the same.

    While Keras is not imported nothing is registered.
    """
    keras = sys.modules.get("keras")
    if keras is None:
        return True
    now = {thing.__qualname__: thing.__module__ for thing in keras.saving.get_custom_objects().values()}
    parts = (name.partition(":") for name in names)
    return all(now.get(called, module) == module for module, _, called in parts)


def _module(name: str) -> str:
    top = sys.modules.get(name.partition(".")[0])
    if top is not None and getattr(top, "__path__", None):
        return _sources(Path(folder) for folder in top.__path__)
    return _beside(getattr(sys.modules.get(name), "__file__", None))


def _beside(file: str | None) -> str:
    """A single module, with the modules of its folder that it may import."""
    if file is None or not Path(file).is_file():
        return "?"
    return _hash([Path(file), *sorted(Path(file).parent.glob("*.py"))])


def _sources(folders: Iterable[Path]) -> str:
    return _hash([file for folder in folders for file in sorted(folder.rglob("*.py"))])


def _hash(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
