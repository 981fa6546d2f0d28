"""What a model may be given as: told apart without importing Keras or onnx."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeGuard


def is_file(source: object) -> TypeGuard[str | Path]:
    """Whether it is a path."""
    return isinstance(source, str | Path)


def is_keras(source: object) -> TypeGuard[Any]:
    """Whether it is a model (or layer) of Keras 3, or of `tf_keras`."""
    return any(base.__module__.partition(".")[0] in ("keras", "tf_keras") for base in type(source).__mro__)


def is_graph(source: object) -> TypeGuard[Any]:
    """Whether it is an `onnx.ModelProto`."""
    return hasattr(source, "SerializeToString")
