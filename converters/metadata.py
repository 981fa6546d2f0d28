"""What a converted graph says of the model it came from."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import keras
import numpy as np

from converters.variables import read


def describe(model: Any) -> dict[str, str]:
    """Metadata of the ONNX model: Keras version, backend, the model's name and its content hash."""
    return {
        "keras_model": str(model.name),
        "keras_version": keras.__version__,
        "keras_content_hash": content_hash(model),
    }


def content_hash(model: Any) -> str:
    """Hex BLAKE2b (16 bytes) of a model's configuration and weights: not of its file, which holds dates."""
    digest = hashlib.blake2b(digest_size=16)
    try:
        configuration = json.dumps(model.get_config(), sort_keys=True, default=str)
    except Exception:  # a subclassed model need not have one; one with a function typed at a prompt has none to save
        names = [f"{type(x).__qualname__} {x.name}" for x in getattr(model, "operations", ())]
        configuration = " ".join([type(model).__qualname__, *names])
    digest.update(configuration.encode())
    for variable in model.weights:  # not the states of random generators, which are new in every process
        array = read(variable)
        digest.update(f"{variable.name} {variable.dtype} {array.shape}".encode())  # a path changes by reloading
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
