"""The command-line arguments by which every command takes a Keras model."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from typing import Any

from deploy.errors import ConversionError

Shapes = dict[str, list[int | None]]


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """``--shapes``, ``--custom-objects``, ``--trust-lambda``, ``--signature``; `parse_shapes` reads the first."""
    parser.add_argument(
        "--shapes", metavar="JSON", help="sizes Keras leaves open, e.g. '{\"image\": [null, 224, 224, 3]}'"
    )
    parser.add_argument("--custom-objects", nargs="+", metavar="MODULE:CLASS", help="classes the model file refers to")
    parser.add_argument("--trust-lambda", action="store_true", help="load Lambda layers: runs code that is in the file")
    parser.add_argument(
        "--signature", metavar="NAME", help="which signature of a SavedModel (default: the serving one)"
    )


def parse_shapes(text: str | None) -> Shapes | None:
    """Input name -> shape with None where unknown, of the argument ``--shapes``. Raises ConversionError."""
    if text is None:
        return None
    try:
        shapes = json.loads(text)
        if not isinstance(shapes, dict) or not all(isinstance(value, list) for value in shapes.values()):
            raise ValueError("not an object of lists")
    except ValueError as error:
        expected = 'JSON such as {"image": [null, 224, 224, 3]}'
        raise ConversionError(
            f"cannot be read ({error})",
            where="--shapes",
            expected=expected,
            found=text,
            fix="quote it for the shell: '...' around it",
        ) from error
    return shapes


@contextlib.contextmanager
def exact_shapes(model: Any) -> Iterator[None]:
    """An error that asks for ``--shapes`` gives the whole argument, 224 standing for each size that is unknown."""
    try:
        yield
    except ConversionError as error:
        line = _shapes_of(model) if "--shapes" in error.fix and "--shapes '" not in error.fix else ""
        if not line:
            raise
        fix = error.fix.replace("--shapes", f"--shapes '{line}'", 1)
        raise ConversionError(
            error.what, where=error.where, expected=error.expected, found=error.found, fix=fix
        ) from error


def _shapes_of(model: Any) -> str:
    """JSON of the inputs that have unknown sizes besides the batch; empty where none has."""
    from keras import tree

    from converters.tracing.trace import input_tensors

    shapes = {
        tensor.name: [tensor.shape[0], *(224 if size is None else size for size in tensor.shape[1:])]
        for tensor in tree.flatten(input_tensors(model, None))
        if None in tensor.shape[1:]
    }
    return json.dumps(shapes) if shapes else ""
