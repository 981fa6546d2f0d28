"""Norms and determinants."""

from __future__ import annotations

import math
from typing import Any

from keras import ops

from tests.converters.checking import Case, case, parametrize


def norm(order: Any, axis: Any, keepdims: bool = False) -> Case:
    return case(lambda x: ops.norm(x, ord=order, axis=axis, keepdims=keepdims), (6, 5, 4))


VECTORS = [norm(order, 2) for order in (None, 1, 2, 3, 0, -1, 0.5, math.inf, -math.inf)]
MATRICES = [
    norm(order, axis, keepdims)
    for order in (None, "fro", 1, -1, math.inf, -math.inf)
    for axis, keepdims in (((1, 2), False), ((3, 1), True))
]
SPECTRAL = [
    norm(order, axis, keepdims)
    for order in (2, -2, "nuc")
    for axis, keepdims in (((1, 2), False), ((3, 1), False), ((1, 3), True))
]


@parametrize([*VECTORS, *MATRICES, *SPECTRAL])
def test_norm(item: Case) -> None:
    item.check()


def test_norm_of_integers() -> None:
    case(lambda x: ops.norm(x, axis=-1), (6, 4), "Cast:1,ReduceL2:1", dtype="int32").check()


def test_det() -> None:
    case(ops.det, (4, 4)).check()
