"""What a converted graph says of the model it came from."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras
import numpy as np

from converters.keras_internals import uncopied_configs
from converters.variables import Array, read


def describe(model: Any) -> dict[str, str]:
    """Metadata of the ONNX model that costs nothing: Keras version and the model's name."""
    return {"keras_model": str(model.name), "keras_version": keras.__version__}


@contextlib.contextmanager
def content_hash(model: Any) -> Iterator[Future[str]]:
    """Hex BLAKE2b (16 bytes) of a model's configuration and weights: not of its file, which holds dates.

    The weights are hashed in a thread of their own for the length of the block, beside the lowering of the model, since
    that needs no interpreter.
    """
    digest = hashlib.blake2b(_configuration(model).encode(), digest_size=16)
    # not the states of random generators, which are new in every process
    named = [_named(variable) for variable in model.weights]
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_hash, digest, named)


def _configuration(model: Any) -> str:
    try:
        with uncopied_configs():
            return json.dumps(model.get_config(), sort_keys=True, default=str)
    except Exception:  # a subclassed model need not have one; one with a function typed at a prompt has none to save
        names = [f"{type(x).__qualname__} {x.name}" for x in getattr(model, "operations", ())]
        return " ".join([type(model).__qualname__, *names])


def _named(variable: Any) -> tuple[str, Array]:
    array, dtype = read(variable), str(variable.dtype)
    if dtype == "int32":  # Keras's `int`, in which Normalization counts, is int64 on TensorFlow and int32 elsewhere
        dtype, array = "int64", array.astype(np.int64)
    return f"{variable.name} {dtype} {array.shape}", array  # a path changes by reloading


def _hash(digest: Any, named: Sequence[tuple[str, Array]]) -> str:
    for name, array in named:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return str(digest.hexdigest())
