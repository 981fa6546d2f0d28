"""What a package's module declares of each model: how to build it, and what inputs it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Entry:
    """A model of a package, in a small configuration.

    ``build`` gives it with Keras's initial weights. ``sizes``: input name -> its shape without the batch, for inputs
    with unknown sizes; the name "" is for any other. ``values``: input name -> its numbers, the same for every row of
    the batch, or the exclusive upper bound of random integers (else 2).
    """

    build: Callable[[], Any]
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def shape(self, name: str, given: tuple[int | None, ...]) -> tuple[int, ...]:
        """The sizes of an input without the batch. Raises ValueError where one is unknown."""
        sizes = given[1:]
        if None in sizes:
            sizes = self.sizes.get(name, self.sizes.get("", sizes))
        known = tuple(size for size in sizes if size is not None)
        if len(known) != len(sizes):
            raise ValueError(f"the entry lacks sizes for input '{name}' {given}")
        return known

    def array(self, name: str, shape: tuple[int, ...], dtype: str, rng: np.random.Generator) -> Array:
        """Random numbers for one input, of a shape with the batch."""
        value = self.values.get(name)
        if value is not None and np.ndim(value):
            return np.broadcast_to(np.asarray(value, dtype), shape).copy()
        if dtype.startswith("float"):
            return rng.standard_normal(shape).astype(dtype)
        return rng.integers(0, 2 if value is None else value, shape).astype(dtype)
