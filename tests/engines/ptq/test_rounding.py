"""Learned rounding: a local optimum of its own objective, and never worse than rounding to nearest."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.ptq.products import Doubles
from engines.ptq.rounding import damped, error, nearest, rounded


def problem(seed: int, groups: int, size: int, outputs: int) -> tuple[Doubles, Doubles, Doubles]:
    """Weights, scales, and the moments of inputs that are alike."""
    random = np.random.default_rng(seed)
    weights = random.normal(size=(groups, size, outputs))
    scale = np.abs(weights).max(axis=1, keepdims=True) / random.integers(3, 128)
    rows = random.normal(size=(groups, 50, size)) + 2 * random.normal(size=(groups, 50, 1))
    return weights, scale, damped(rows.transpose(0, 2, 1) @ rows / 50)


@settings(max_examples=60)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 12), st.integers(1, 4))
def test_never_worse_than_nearest(seed: int, groups: int, size: int, outputs: int) -> None:
    weights, scale, moments = problem(seed, groups, size, outputs)
    integers = rounded(weights, scale, moments)
    assert np.array_equal(integers, np.clip(np.rint(integers), -127, 127))
    limit = error(weights, nearest(weights, scale), scale, moments)
    assert (error(weights, integers, scale, moments) <= limit * (1 + 1e-9)).all()


@pytest.mark.parametrize("seed", range(5))
def test_no_single_weight_could_do_better(seed: int) -> None:
    weights, scale, moments = problem(seed, 1, 6, 3)
    integers = rounded(weights, scale, moments)
    least = error(weights, integers, scale, moments)
    for k in range(6):
        for step in (-1, 1):
            other = integers.copy()
            other[:, k] += step
            beyond = np.abs(other[:, k]) > 127
            assert ((error(weights, other, scale, moments) >= least * (1 - 1e-9)) | beyond).all()


def test_alike_inputs_gain_much() -> None:
    weights, scale, moments = problem(0, 1, 40, 16)
    before = error(weights, nearest(weights, scale), scale, moments).sum()
    assert error(weights, rounded(weights, scale, moments), scale, moments).sum() < 0.5 * before
