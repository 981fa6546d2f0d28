"""A conformance case is one Keras expression over named inputs; tables of them come from templates with options."""

from __future__ import annotations

import itertools
import random
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
NAMES = ("x", "y", "z", "w", "v")
UNKNOWN = 6
"""What stands for an unknown size besides the batch when a case is run."""


@dataclass(frozen=True)
class Given:
    """One input: its shape without the batch, its dtype, where its values come from (`VALUES`), its batch if fixed."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"
    values: str = ""
    batch: int | None = None

    def __str__(self) -> str:
        text = f"{self.dtype}{[self.batch, *self.shape]}".replace("None", "?")
        return f"{text} {self.values}".strip()

    def array(self, batch: int, seed: int) -> Array:
        """Values for one run."""
        shape = (self.batch or batch, *(UNKNOWN if size is None else size for size in self.shape))
        rng = np.random.default_rng(seed)
        default = {"f": "normal", "b": "coin", "u": "byte"}.get(np.dtype(self.dtype).kind, "small")
        return np.asarray(VALUES[self.values or default](rng, shape)).astype(self.dtype)


@dataclass(frozen=True)
class Case:
    """``expression`` is Python over `NAMES`, `keras`, `layers`, `ops` and `np`; ``subject`` what it is a case of."""

    subject: str
    expression: str
    inputs: tuple[Given, ...]

    def __str__(self) -> str:
        where = ", ".join(f"{name}: {given}" for name, given in zip(NAMES, self.inputs, strict=False))
        return f"{self.expression} | {where}"

    @property
    def seed(self) -> int:
        return zlib.crc32(str(self).encode())

    def arrays(self, batch: int) -> list[Array]:
        """The inputs of one run."""
        return [given.array(batch, self.seed + index + 100 * batch) for index, given in enumerate(self.inputs)]


class Code(str):
    """An option that goes into an expression as it is; other options go in as Python literals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def code(text: str) -> list[Code]:
    """Words as options."""
    return [Code(word) for word in text.split()]


def x(*shape: int | None, dtype: str = "float32", values: str = "", batch: int | None = None) -> Given:
    """An input of a case."""
    return Given(shape, dtype, values, batch)


Inputs = Sequence[Given | tuple[Given, ...]]


def cases(
    template: str, inputs: Inputs, *, pairs: bool = False, subject: str = "", **options: Sequence[Any]
) -> Iterator[Case]:
    """The cases of a template: every combination of inputs and options, or with ``pairs`` every pair of options.

    ``subject``: what they are cases of, if not the first layer or operation in the expression.
    """
    names = ["", *options]
    lists: list[Sequence[Any]] = [inputs, *options.values()]
    for chosen in pairwise(lists) if pairs else itertools.product(*lists):
        given = chosen[0] if isinstance(chosen[0], tuple) else (chosen[0],)
        fields = {name: repr(value) for name, value in zip(names[1:], chosen[1:], strict=True)}
        expression = re.sub(r"<(\w+)>", lambda match, fields=fields: fields[match[1]], template)
        found = re.search(r"\b(layers|ops|activations)\.(?:image\.|linalg\.)?(\w+)", expression)
        assert found, expression
        yield Case(subject or f"{found[1]}.{found[2]}", expression, given)


def pairwise(options: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Combinations in which each pair of options occurs at least once; always the same ones."""
    everything = list(itertools.product(*(range(len(x)) for x in options)))
    random.Random(len(everything)).shuffle(everything)
    seen: set[tuple[int, int, int, int]] = set()
    for chosen in everything:
        numbered = list(enumerate(chosen))
        pairs = {(i, a, j, b) for (i, a), (j, b) in itertools.combinations(numbered, 2)}
        if not pairs <= seen or len(options) == 1:
            seen |= pairs
            yield tuple(x[index] for x, index in zip(options, chosen, strict=True))


def distinct(found: Iterable[Case]) -> tuple[Case, ...]:
    """The cases without repetition, by subject."""
    return tuple(sorted({str(case): case for case in found}.values(), key=lambda case: case.subject))


def _special(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.choice([-np.inf, np.inf, np.nan, -0.0, 0.0, 1.0, -1.0, 2.5, -0.5, 1e30], shape)


def _missing(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.where(rng.random(shape) < 0.25, np.nan, rng.standard_normal(shape))


def _prefix(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Sequence masks: True for the first steps, at least one, then False."""
    lengths = rng.integers(1, shape[-1] + 1, shape[:-1])
    return np.arange(shape[-1]) < lengths[..., None]


def _padded(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Sequences (batch, time, features) whose last steps are zero."""
    return rng.standard_normal(shape) * _prefix(rng, shape[:2]).reshape(*shape[:2], *(1 for _ in shape[2:]))


def _definite(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    root = rng.standard_normal(shape)
    return root @ np.swapaxes(root, -1, -2) + np.eye(shape[-1])


VALUES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "wide": lambda rng, shape: rng.standard_normal(shape) * 30,
    "positive": lambda rng, shape: rng.uniform(0.1, 4, shape),
    "unit": lambda rng, shape: rng.uniform(-0.98, 0.98, shape),
    "probability": lambda rng, shape: rng.uniform(0.02, 0.98, shape),
    "above one": lambda rng, shape: rng.uniform(1.1, 5, shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, shape),
    "halves": lambda rng, shape: rng.integers(-9, 10, shape) / 2,
    "zeros": lambda rng, shape: rng.choice([-0.0, 0.0, 1.0, -1.0], shape),
    "nonzero": lambda rng, shape: rng.choice([-7, -3, -2, -1, 1, 2, 3, 7], shape),
    "special": _special,
    "infinite": lambda rng, shape: rng.choice([-np.inf, np.inf, -0.0, 1.0, -1.0, 2.5, 1e30], shape),
    "missing": _missing,
    "coin": lambda rng, shape: rng.integers(0, 2, shape),
    "small": lambda rng, shape: rng.integers(-5, 6, shape),
    "large": lambda rng, shape: rng.integers(-(2**30), 2**30, shape),
    "index": lambda rng, shape: rng.integers(0, 4, shape),
    "negative index": lambda rng, shape: rng.integers(-4, 4, shape),
    "byte": lambda rng, shape: rng.integers(0, 256, shape),
    "image": lambda rng, shape: rng.integers(0, 256, shape),
    "sorted": lambda rng, shape: np.sort(rng.standard_normal(shape), axis=-1),
    "prefix": _prefix,
    "padded": _padded,
    "definite": _definite,
}
