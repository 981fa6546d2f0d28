"""Einsum equations against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.equation import result_shape, spelled_out


@pytest.mark.parametrize(
    ("equation", "ranks", "terms", "result"),
    [
        ("ij, jk -> ik", [2, 2], ["ij", "jk"], "ik"),
        ("ij,jk", [2, 2], ["ij", "jk"], "ik"),
        ("ba", [2], ["ba"], "ab"),
        ("ii", [2], ["ii"], ""),
        ("...x,xy->...y", [3, 2], ["abx", "xy"], "aby"),
        ("a...,...b->a...b", [2, 3], ["ad", "cdb"], "acdb"),
        ("...i,...i", [3, 2], ["abi", "bi"], "ab"),
    ],
)
def test_spelled_out(equation: str, ranks: list[int], terms: list[str], result: str) -> None:
    assert spelled_out(equation, ranks) == (terms, result)


@pytest.mark.parametrize(
    ("equation", "ranks"),
    [("ij,jk->ik", [2]), ("ij,jk->ik", [3, 2]), ("...ijk->i", [2])],
)
def test_an_equation_that_does_not_fit(equation: str, ranks: list[int]) -> None:
    with pytest.raises(ValueError, match="operand"):
        spelled_out(equation, ranks)


def test_unknown_sizes() -> None:
    assert result_shape("btd,df->btf", [(None, 6, None), (5, 4)]) == (None, 6, 4)
    assert result_shape("...d,...d->...", [(None, 6, 5), (1, 5)]) == (None, 6)


SIZES = dict(zip("abcde", (2, 3, 1, 4, 5), strict=True))


@settings(max_examples=60)
@given(st.lists(st.text("abcde", max_size=3), min_size=1, max_size=3), st.data())
def test_shapes_are_numpys(terms: list[str], data: st.DataObject) -> None:
    letters = sorted(set("".join(terms)))
    result = "".join(data.draw(st.permutations(letters)) if letters else [])[: data.draw(st.integers(0, 5))]
    shapes = [tuple(SIZES[letter] for letter in term) for term in terms]
    equation = ",".join(terms) + "->" + result
    assert result_shape(equation, shapes) == np.einsum(equation, *(np.zeros(shape) for shape in shapes)).shape
