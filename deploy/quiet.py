"""Imports Keras without what TensorFlow writes to the terminal as it starts."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from deploy.interrupts import import_module


def import_keras() -> Any:
    """The module keras, imported quietly; what was written is shown only if that fails. Raises ImportError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet():
        return import_module("keras")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow writes to file descriptor 2 as it is imported, whatever its log level."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        kept = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        except Exception:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
