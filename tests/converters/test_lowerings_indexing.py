"""Slicing, gathering, embeddings, one-hot."""

from __future__ import annotations

import keras
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, parametrize, randomize

CASES = [
    case(lambda x: x[:, 1:, ..., None], (6, 5, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[:, 0], (6, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[:, -1], (6, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[:, -2], (6, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[..., 1], (6, 5, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[..., 1:3], (6, 5, 4), "Slice:1"),
    case(lambda x: x[:, ::2, 1::3], (6, 5, 4), "Slice:1"),
    case(lambda x: x[:, ::-1], (6, 4), "Slice:1"),
    case(lambda x: x[:, ::-2], (7, 4), "Slice:1"),
    case(lambda x: x[:, 4:1:-1], (6, 4), "Slice:1"),
    case(lambda x: x[:, -1:-4:-1], (6, 4), "Slice:1"),
    case(lambda x: x[:, -3:-1], (6, 4), "Slice:1"),
    case(lambda x: x[:, 2:100], (6, 4), "Slice:1"),
    case(lambda x: x[:, None, :, 0], (6, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[:, 1, :, 2], (6, 5, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[..., ::-1], (6, 5, 3), "Slice:1"),
    case(lambda x: x[:, 1:], (None, 4), "Slice:1"),
    case(lambda x: x[:, -1], (None, 4), "Reshape:1,Slice:1"),
    case(lambda x: x[:, :-1], (None, 4), "Slice:1"),
    case(lambda x: ops.slice(x, (0, 1, 2), (1, 3, 2)), (6, 5), "Slice:1"),
    case(lambda x: ops.take(x, [2, 0, 1], axis=1), (6, 5), "Gather:1"),
    case(lambda x: ops.take(x, [-1, 0], axis=-1), (6, 5), "Gather:1"),
    case(lambda x: ops.take(x, 3, axis=1), (6, 5), "Gather:1"),
    case(lambda x: ops.one_hot(x, 5), (6,), "Cast:1,Equal:1,Reshape:1", dtype="int32"),
    case(lambda x: ops.one_hot(x, 5, axis=1), (6,), "Cast:1,Equal:1,Reshape:1", dtype="int32"),
    case(lambda x: ops.argmax(x, axis=-1), (6, 5), "ArgMax:1,Cast:1"),
    case(layers.Embedding, (6,), "Gather:1", dtype="int32", input_dim=7, output_dim=4),
    case(layers.Embedding, (6,), "Cast:1,Gather:1", dtype="float32", input_dim=7, output_dim=4),
    case(layers.CategoryEncoding, (1,), "Cast:1,Equal:1", dtype="int32", num_tokens=5, output_mode="one_hot"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize(
    "index",
    [
        (slice(None), slice(1, None), ..., None),
        (slice(None), 2),
        (..., 3),
        (..., slice(1, 3)),
        (slice(None), slice(None, None, -1), slice(None), slice(None, None, 2)),
    ],
    ids=str,
)
def test_behind_a_convolution(index: tuple[object, ...]) -> None:
    inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)[index]
    check(randomize(keras.Model(inputs, x)))
