"""TensorFlow for the tests of what needs it: on another backend of Keras they are skipped, and say why."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import pytest

IS_BACKEND = keras.backend.backend() == "tensorflow"
REASON = "needs the TensorFlow backend of Keras: raw tf.* layers, SavedModels, tf2onnx and layers of text do"

needs_tensorflow = pytest.mark.skipif(not IS_BACKEND, reason=REASON)


def tensorflow() -> Any:
    """The module, or None on another backend; a test that uses it is marked ``needs_tensorflow``."""
    return importlib.import_module("tensorflow") if IS_BACKEND else None


def require_tensorflow() -> Any:
    """The module, for a file whose every test needs it: it is skipped as a whole on another backend."""
    if not IS_BACKEND:
        pytest.skip(REASON, allow_module_level=True)
    return tensorflow()
