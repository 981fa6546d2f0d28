"""converters.arrays: copies and products of large arrays equal numpy's own, and are in order."""

from __future__ import annotations

import numpy as np
import pytest

from converters.arrays import contiguous, scaled

SHAPES = [(3, 5), (3, 3, 130, 260), (1, 1, 700, 300), (600, 513), (0, 4)]


@pytest.mark.parametrize("shape", [(), (7,), *SHAPES])
@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_a_transposed_array_is_copied_in_order(shape: tuple[int, ...], dtype: str) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = contiguous(array.T)
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, array.T)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_product_is_in_order_and_rounded_once(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    rng = np.random.default_rng(0)
    array = rng.normal(size=shape).astype(dtype).T
    factors = rng.uniform(0.5, 1.5, array.shape[axis])
    found = scaled(array, factors, axis)
    assert (found.dtype, found.flags.c_contiguous) == (array.dtype, True)
    wide = np.moveaxis(np.moveaxis(array.astype(np.float64), axis, -1) * factors, -1, axis)
    np.testing.assert_array_equal(found, wide.astype(dtype))
