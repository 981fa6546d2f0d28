"""The order algebra against numpy: random chains of reshapes, transpositions and reductions, in any order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from converters import layout

NCHW = (0, 3, 1, 2)
SIZES = st.sampled_from([1, 1, 2, 3, 4, 6])


class Pair:
    """A logical array beside the physical one that stands for it; ``batch`` sizes may be unknown to the algebra."""

    def __init__(self, array: NDArray[Any], order: layout.Order, unknown: bool) -> None:
        self.logical, self.physical, self.order, self.unknown = array, array.transpose(order), order, unknown

    @property
    def shape(self) -> layout.Shape:
        """What the algebra may know of the shape."""
        shape: tuple[int | None, ...] = self.logical.shape
        return (None, *shape[1:]) if self.unknown else shape

    def agrees(self) -> bool:
        expected = self.logical.transpose(self.order)
        return expected.shape == self.physical.shape and bool((expected == self.physical).all())

    def reshape(self, shape: tuple[int, ...]) -> bool:
        """Reshapes both; returns whether the physical one did not have to move."""
        known = (None, *shape[1:]) if self.unknown else shape
        order = layout.reshape(self.shape, self.order, known)
        free = order is not None
        if order is None:
            self.physical, order = self.logical, layout.identity(len(shape))
        self.logical, self.order = self.logical.reshape(shape), order
        self.physical = self.physical.reshape([shape[axis] for axis in order])
        return free

    def transpose(self, axes: list[int]) -> None:
        self.logical, self.order = self.logical.transpose(axes), layout.transpose(self.order, axes)

    def reduce(self, axes: list[int], keepdims: bool) -> None:
        physical = tuple(self.order.index(axis) for axis in axes)
        self.physical = self.physical.max(axis=physical, keepdims=keepdims)
        self.order = layout.reduce(self.order, axes, keepdims=keepdims)
        self.logical = self.logical.max(axis=tuple(axes), keepdims=keepdims)


@st.composite
def pairs(draw: Any, unknown: bool = False) -> Pair:
    shape = draw(st.lists(SIZES, min_size=1, max_size=5))
    order = draw(st.permutations(range(len(shape))))
    if unknown:
        shape[0] = draw(st.integers(1, 3))
    return Pair(np.arange(math.prod(shape)).reshape(shape), tuple(order), unknown)


@st.composite
def reshapes(draw: Any, shape: tuple[int, ...], first: int) -> tuple[int, ...]:
    """A new shape by joining, splitting and adding axes of size 1; axes before ``first`` stay."""
    new = list(shape)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["one", "join", "split", "drop"]))
        place = draw(st.integers(first, max(first, len(new) - 1)))
        if kind == "one":
            new.insert(place, 1)
        elif kind == "join" and place + 1 < len(new):
            new[place : place + 2] = [new[place] * new[place + 1]]
        elif kind == "split" and place < len(new):
            factor = draw(st.sampled_from([f for f in (1, 2, 3) if new[place] % f == 0]))
            new[place : place + 1] = [factor, new[place] // factor]
        elif kind == "drop" and place < len(new) and new[place] == 1 and len(new) > 1:
            del new[place]
    return tuple(new)


@settings(max_examples=1500)
@given(st.data(), st.booleans())
def test_chains(data: st.DataObject, unknown: bool) -> None:
    pair = data.draw(pairs(unknown))
    for _ in range(data.draw(st.integers(1, 6))):
        rank = pair.logical.ndim
        if rank == 0:
            break
        kind = data.draw(st.sampled_from(["reshape", "reshape", "transpose", "reduce"]))
        first = int(unknown)
        if kind == "reshape":
            pair.reshape(data.draw(reshapes(pair.logical.shape, first)))
        elif kind == "transpose":
            pair.transpose([*range(first), *data.draw(st.permutations(range(first, rank)))])
        else:
            axes = data.draw(st.lists(st.integers(first, rank - 1), unique=True)) if rank > first else []
            pair.reduce(axes, data.draw(st.booleans()))
        assert pair.agrees()


@settings(max_examples=500)
@given(st.data())
def test_permutation_takes_one_order_to_another(data: st.DataObject) -> None:
    pair = data.draw(pairs())
    target = tuple(data.draw(st.permutations(range(pair.logical.ndim))))
    moved = pair.physical.transpose(layout.permutation(pair.order, target))
    assert (moved == pair.logical.transpose(target)).all()
    assert moved.shape == layout.physical(pair.logical.shape, target)
    assert layout.logical(moved.shape, target) == pair.logical.shape
    if layout.only_ones_move(pair.logical.shape, pair.order, target):
        assert (pair.physical.reshape(moved.shape) == moved).all()


@settings(max_examples=500)
@given(st.data(), st.booleans())
def test_groups_have_equal_products_and_lose_no_axis(data: st.DataObject, unknown: bool) -> None:
    pair = data.draw(pairs(unknown))
    new = data.draw(reshapes(pair.logical.shape, int(unknown)))
    known = (None, *new[1:]) if unknown else new
    groups = layout.groups(pair.shape, known)
    assert groups is not None
    assert [axis for old, _ in groups for axis in old] == list(range(len(pair.shape)))
    assert [axis for _, fresh in groups for axis in fresh] == list(range(len(known)))
    for old, fresh in groups:
        assert math.prod(pair.logical.shape[a] for a in old) == math.prod(new[a] for a in fresh)


@settings(max_examples=300)
@given(st.data())
def test_a_reshape_in_identity_order_is_always_free(data: st.DataObject) -> None:
    pair = data.draw(pairs())
    pair = Pair(pair.logical, layout.identity(pair.logical.ndim), False)
    assert pair.reshape(data.draw(reshapes(pair.logical.shape, 0)))
    assert pair.agrees()


@pytest.mark.parametrize(
    ("shape", "order", "new", "expected"),
    [
        pytest.param((None, 7, 7, 64), NCHW, (None, 49, 64), (0, 2, 1), id="tokens of a feature map"),
        pytest.param((None, 56, 56, 96), NCHW, (None, 8, 7, 8, 7, 96), (0, 5, 1, 2, 3, 4), id="windows"),
        pytest.param((None, 64), (0, 1), (None, 1, 1, 64), (0, 3, 1, 2), id="a gate"),
        pytest.param((None, 1, 1, 64), NCHW, (None, 64), (0, 1), id="a squeezed vector"),
        pytest.param((None, 7, 7, 64), NCHW, (None, 3136), None, id="Flatten must move"),
        pytest.param((None, None, 4), (0, 2, 1), (None, None, 2, 2), (0, 2, 3, 1), id="unknown size stays"),
        pytest.param((None, None, 4), (0, 1, 2), (None, 8, None), None, id="unknown size moves"),
    ],
)
def test_known_reshapes(
    shape: layout.Shape, order: layout.Order, new: layout.Shape, expected: layout.Order | None
) -> None:
    found = layout.reshape(shape, order, new)
    if expected is None or found is None:
        assert found == expected
        return
    ones = {axis for axis, size in enumerate(new) if size == 1}
    assert [axis for axis in found if axis not in ones] == [axis for axis in expected if axis not in ones]


def test_channels_first() -> None:
    assert layout.channels_first(4, -1) == NCHW
    assert layout.channels_first(4, 1) == layout.identity(4)
    assert layout.channels_first(3, 2) == (0, 2, 1)
    assert layout.channels_first(5, 4) == (0, 4, 1, 2, 3)
