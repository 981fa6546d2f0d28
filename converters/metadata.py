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

from converters.variables import read


def describe(model: Any) -> dict[str, str]:
    """Metadata of the ONNX model that costs nothing: Keras version and the model's name."""
    return {"keras_model": str(model.name), "keras_version": keras.__version__}


@contextlib.contextmanager
def content_hash(model: Any) -> Iterator[Future[str]]:
    """Hex BLAKE2b (16 bytes) of a model's configuration and weights: not of its file, which holds dates.

    The weights are read in a thread of their own for the length of the block, beside the lowering of the model: hashing
    is a fifth of the time that a conversion takes, and needs no interpreter.
    """
    digest = hashlib.blake2b(_configuration(model).encode(), digest_size=16)
    variables = list(model.weights)  # not the states of random generators, which are new in every process
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(_hash, digest, variables)


def _configuration(model: Any) -> str:
    try:
        return json.dumps(model.get_config(), sort_keys=True, default=str)
    except Exception:  # a subclassed model need not have one; one with a function typed at a prompt has none to save
        names = [f"{type(x).__qualname__} {x.name}" for x in getattr(model, "operations", ())]
        return " ".join([type(model).__qualname__, *names])


def _hash(digest: Any, variables: Sequence[Any]) -> str:
    for variable in variables:
        array = read(variable)
        dtype = str(variable.dtype)
        if dtype == "int32":  # Keras's `int`, in which Normalization counts, is int64 on TensorFlow and int32 elsewhere
            dtype, array = "int64", array.astype(np.int64)
        digest.update(f"{variable.name} {dtype} {array.shape}".encode())  # a path changes by reloading
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return str(digest.hexdigest())
