"""Losses and measures of likeness inside of a model."""

from __future__ import annotations

import numpy as np
from keras import ops

from tests.converters.checking import Case, case, parametrize

TWO = [(5, 4), (5, 4)]
CLASSES = np.asarray([[3, 0, 1, 1, 2]], np.int32)

CASES = [
    case(lambda xs: ops.binary_crossentropy(ops.sigmoid(xs[0]), ops.sigmoid(xs[1])), TWO),
    case(lambda xs: ops.binary_crossentropy(ops.sigmoid(xs[0]), xs[1] * 9, from_logits=True), TWO),
    case(lambda xs: ops.categorical_crossentropy(ops.softmax(xs[0]), ops.exp(xs[1])), TWO),
    case(lambda xs: ops.categorical_crossentropy(ops.softmax(xs[0]), xs[1], from_logits=True), TWO),
    case(lambda xs: ops.categorical_crossentropy(ops.softmax(xs[0]), ops.exp(xs[1]), axis=1), TWO),
    case(lambda x: ops.sparse_categorical_crossentropy(ops.argmax(x[..., ::-1], axis=-1), ops.softmax(x)), (5, 4)),
    case(lambda x: ops.sparse_categorical_crossentropy(ops.argmax(-x, axis=-1), x, from_logits=True), (5, 4)),
    case(lambda xs: ops.psnr(xs[0], xs[1], 2.0), TWO),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()
