"""Einsum equations: spelled out with an axis letter for each dimension, and the shape of their result.

The rules are numpy's: an ellipsis stands for the axes that a term does not name, aligned to the right; without ``->``
the result has the ellipsis's axes and then, in alphabetical order, the letters that occur once.
"""

from __future__ import annotations

import string
from collections.abc import Sequence

Shape = tuple[int | None, ...]


def spelled_out(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """The terms of an equation, one letter an axis, and the letters of its result.

    Raises ValueError where the equation does not fit the operands' ranks.
    """
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"'{equation}' is for {len(terms)} operands, not {len(ranks)}")
    free = [letter for letter in string.ascii_letters if letter not in equation]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0 for term, rank in zip(terms, ranks, strict=True)
    ]
    ellipsis = "".join(free[: max(hidden, default=0)])
    if not arrow:
        letters = left.replace(",", "").replace(".", "")
        result = "..." + "".join(sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    found = [term.replace("...", ellipsis[len(ellipsis) - count :]) for term, count in zip(terms, hidden, strict=True)]
    for term, rank in zip(found, ranks, strict=True):
        if len(term) != rank:
            raise ValueError(f"'{equation}' names {len(term)} axes of an operand of rank {rank}")
    return found, result.replace("...", ellipsis)


def result_shape(equation: str, shapes: Sequence[Shape]) -> Shape:
    """The shape that an equation gives, None where it is unknown; axes of size 1 broadcast."""
    terms, result = spelled_out(equation, [len(shape) for shape in shapes])
    sizes: dict[str, int | None] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            if letter not in sizes or sizes[letter] == 1 or (sizes[letter] is None and size != 1):
                sizes[letter] = size
    return tuple(sizes[letter] for letter in result)
