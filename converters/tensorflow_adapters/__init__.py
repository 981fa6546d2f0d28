"""Adapters: what a `tf.*` function means in `keras.ops`, with the argument names that TensorFlow 2.20 gives it.

Arguments that say nothing at inference are left out. `converters.tensorflow_adapters.functions` is the table of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Adapter = Callable[..., Any]
