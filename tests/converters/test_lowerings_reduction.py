"""Reductions over any axes, in any order of the value."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, parametrize, randomize

CASES = [
    case(ops.mean, (5, 4), "ReduceMean:1", axis=1),
    case(ops.mean, (5, 4), "ReduceMean:1", axis=(1, 2), keepdims=True),
    case(ops.mean, (5, 4), "ReduceMean:1"),
    case(ops.mean, (5,), "Cast:1,ReduceMean:1", dtype="int32", axis=1),
    case(ops.sum, (5, 4), "ReduceSum:1", axis=-1),
    case(ops.sum, (5, 4), "ReduceSum:1", axis=(-1, 1)),
    case(ops.sum, (5,), "ReduceSum:1", dtype="int32", axis=1),
    case(ops.sum, (5,), "Cast:1,ReduceSum:1", dtype="bool", axis=1),
    case(ops.prod, (5, 4), "ReduceProd:1", axis=1),
    case(ops.max, (5, 4), "ReduceMax:1", axis=1),
    case(ops.max, (5, 4), "Max:1,ReduceMax:1", axis=1, initial=0.5),
    case(ops.amax, (5, 4), "ReduceMax:1", axis=1),
    case(ops.min, (5, 4), "ReduceMin:1", axis=2, keepdims=True),
    case(ops.min, (5, 4), "Min:1,ReduceMin:1", axis=2, initial=-0.5),
    case(ops.amin, (5, 4), "ReduceMin:1", axis=1),
    case(ops.var, (5, 4), "Mul:1,ReduceMean:2,Sub:1", axis=1),
    case(ops.std, (5, 4), "Mul:1,ReduceMean:2,Sqrt:1,Sub:1", axis=(1, 2), keepdims=True),
    case(ops.logsumexp, (5, 4), "ReduceLogSumExp:1", axis=1),
    case(ops.argmax, (5, 4), "ArgMax:1,Cast:1", axis=1),
    case(ops.argmax, (5, 4), "ArgMax:1,Cast:1", axis=-1, keepdims=True),
    case(ops.argmin, (5, 4), "ArgMin:1,Cast:1", axis=1),
    case(ops.any, (5, 4), "Cast:2,ReduceMax:1", dtype="bool", axis=1),
    case(ops.all, (5, 4), "Cast:2,ReduceMin:1", dtype="bool", axis=1),
    case(lambda x: ops.any(x > 1.0, axis=(1, 2)), (5, 4), "Cast:2,Greater:1,ReduceMax:1"),
    case(ops.argmax, (5, 4), "ArgMax:1,Cast:1,Reshape:1"),
    case(lambda x: ops.argmax(x, keepdims=True), (5, 4), "ArgMax:1,Cast:1,Reshape:2"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("axis", [1, 2, 3, -1, (1, 2), (1, 3), (1, 2, 3)])
@pytest.mark.parametrize("keepdims", [True, False])
@pytest.mark.parametrize("function", [ops.mean, ops.max, ops.std])
def test_behind_a_convolution(function: Any, axis: Any, keepdims: bool) -> None:
    inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)
    y = function(x, axis=axis, keepdims=keepdims)
    model = randomize(keras.Model(inputs, [y, x * y] if keepdims else y))
    check(model)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_argmax_behind_a_convolution(axis: int) -> None:
    inputs = keras.Input((8, 6, 3))
    check(randomize(keras.Model(inputs, ops.argmax(layers.Conv2D(4, 3)(inputs), axis=axis))))
