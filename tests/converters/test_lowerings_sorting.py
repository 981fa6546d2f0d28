"""Sorting, the largest values, gathering and scattering along axes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, parametrize, randomize

TWO = [(5, 4), (5, 4)]
PLACES = np.asarray([[0, 2], [1, 1], [0, 0]], np.int32)

CASES = [
    case(ops.sort, (5, 4), "TopK:1"),
    case(ops.sort, (5, 4), "TopK:1", axis=1),
    case(ops.sort, (5,), axis=None),
    case(ops.sort, (5,), "TopK:1", dtype="int32"),
    case(ops.sort, (5,), "Cast:2,TopK:1", dtype="uint8"),
    case(ops.sort, (5,), "Cast:2,TopK:1", dtype="bool"),
    case(ops.sort, (None, 4), "Shape:1,TopK:1", axis=1),
    case(ops.argsort, (5, 4), "Cast:1,TopK:1", axis=1),
    case(ops.argsort, (6,), dtype="int32"),
    case(ops.argsort, (6,), dtype="bool"),
    case(ops.nonzero, (5, 4), "Cast:4,NonZero:1,Reshape:3,Split:1"),
    case(lambda x: ops.where(ops.greater(x, 2)), (6,), dtype="int32"),
    case(ops.unique, (6,), "Cast:2,Unique:1", dtype="int32"),
    case(lambda x: ops.unique(ops.round(x), True, True, True, True), (None, 4)),
    case(lambda x: ops.unique(ops.round(x[0]), axis=1, return_inverse=True, return_counts=True), (2, 9)),
    case(lambda x: ops.unique(x, sorted=False, return_index=True), (6,), dtype="int32"),
    *(
        case(lambda x, n=size: ops.unique(x[0], False, True, False, True, size=n, fill_value=9), (6,), dtype="int32")
        for size in (2, 8)
    ),
    case(lambda x: ops.top_k(x, 3), (5, 4), "Cast:1,TopK:1"),
    case(lambda x: ops.top_k(x, 2), (6,), dtype="int32"),
    case(lambda x: ops.take(x[0], ops.take(ops.argpartition(x[0], 2), [0, 1, 2], axis=0)), (6,), dtype="int32"),
    case(lambda x: ops.argpartition(x[0], 5), (6,), dtype="int32"),
    case(lambda x: ops.take_along_axis(x, ops.argsort(x, axis=1), axis=1), (5, 4), "Cast:1,GatherElements:1,TopK:1"),
    case(lambda x: ops.take_along_axis(x, ops.argmax(x, axis=1, keepdims=True), axis=1), (5, 4)),
    case(lambda x: ops.take_along_axis(x, ops.argmax(x[:, :, :1], axis=1, keepdims=True), axis=1), (5, 4)),
    case(lambda x: ops.take_along_axis(x, ops.cast(x > 0, "int32") - 1, axis=2), (5, 4)),
    case(lambda x: ops.take_along_axis(x, np.asarray([[[2], [0], [1], [3], [0]]]), axis=2), (5, 4)),
    case(lambda x: ops.scatter(PLACES, x[0, :3], (2, 3)), (5,)),
    case(lambda x: ops.scatter(PLACES[:2], x[0, :2], (2, 3)), (5,)),
    case(lambda x: ops.scatter(PLACES[:, :1], x[0, :3], (2, 4)), (3, 4)),
    *(
        case(lambda x, r=reduction: ops.scatter_update(x[0], PLACES, np.float32([2, 3, 4]), reduction=r), (3, 4))
        for reduction in (None, "add", "mul", "max", "min")
    ),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_behind_a_convolution(axis: int) -> None:
    inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)
    places = ops.argsort(x, axis=axis)
    check(randomize(keras.Model(inputs, [ops.sort(x, axis=axis), ops.take_along_axis(x, places, axis=axis)])))
