"""What the names of unknown sizes tell: ``batch``, ``batch*4``, ``batch*steps``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import onnx_ir as ir


@dataclass(frozen=True)
class Product:
    """``times`` the product of named sizes, the names in alphabetical order."""

    times: Fraction
    names: tuple[str, ...] = ()

    def __mul__(self, other: Product) -> Product:
        return Product(self.times * other.times, tuple(sorted((*self.names, *other.names))))

    def over(self, other: Product) -> Product | None:
        """What is left when divided, or None where the other has a name that this one has not."""
        mine, theirs = Counter(self.names), Counter(other.names)
        if theirs - mine or not other.times:
            return None
        return Product(self.times / other.times, tuple(sorted((mine - theirs).elements())))

    @property
    def size(self) -> int | str | None:
        """As a value's shape has it: a number, a name, or None where it has none."""
        if self.times.denominator != 1:
            return None
        if not self.names:
            return int(self.times)
        return "*".join((*self.names, *([str(self.times)] if self.times != 1 else [])))


def product(sizes: Iterable[Any]) -> Product | None:
    """The product of a shape's sizes: numbers, names, symbolic dimensions; None where one has no name."""
    total = Product(Fraction(1))
    for size in sizes:
        one = _single(size)
        if one is None:
            return None
        total = total * one
    return total


def _single(size: Any) -> Product | None:
    name = size.value if isinstance(size, ir.SymbolicDim) else size
    if name is None:
        return None
    if not isinstance(name, str):
        return Product(Fraction(name))
    factors = name.split("*")
    times = Fraction(factors.pop()) if len(factors) > 1 and factors[-1].isdecimal() else Fraction(1)
    return Product(times, tuple(sorted(factors)))


def multiple(name: str | None, old: int, new: int = 1) -> str | None:
    """The name of an unknown size ``old / new`` times another: ``batch*4``, and ``batch`` for a quarter of that."""
    of = _single(name)
    size = (of * Product(Fraction(old, new))).size if of is not None and new else None
    return size if isinstance(size, str) else None
