"""File to file: a Keras model file to an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.convert import convert_model
from converters.loading import load

if TYPE_CHECKING:
    from converters.convert import Conversion


def export(
    source: Path | str,
    target: Path | str,
    custom_objects: Mapping[str, Any] | Sequence[str] | None = None,
    *,
    trust_lambda: bool = False,
    signature: str | None = None,
    **options: Any,
) -> Path:
    """Converts a model file and writes the ONNX file; see `converters.load` and `converters.convert` for the arguments.

    Returns the path written. Raises ConversionError or KerasrtError; the target is then as it was.
    """
    write(
        convert_model(load(source, custom_objects, trust_lambda=trust_lambda, signature=signature), **options), target
    )
    return Path(target)


def write(conversion: Conversion, target: Path | str) -> None:
    """Writes the graph whole or not at all; what is over 2 GB has its weights in a second file, ``<target>.data``."""
    from converters.writing import write_model

    write_model(conversion.model, target)
