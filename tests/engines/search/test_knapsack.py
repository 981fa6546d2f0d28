"""The solver against all subsets of ten groups."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from engines.search.knapsack import Pairs, choose


def exhaustive(gain: np.ndarray, noise: np.ndarray, allowed: np.ndarray, pairs: Pairs) -> float:
    best = 0.0
    for subset in itertools.product((0, 1), repeat=len(gain)):
        x = np.array(subset)
        total = noise @ x + sum((more * x[i] * x[j] for (i, j), more in pairs.items()), np.zeros(len(allowed)))
        if (total <= allowed).all():
            best = max(best, float(gain @ x))
    return best


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_best_of_all_subsets(seed: int) -> None:
    random = np.random.default_rng(seed)
    gain, noise = random.uniform(0.1, 1, 10), random.lognormal(0, 2, (2, 10))
    pairs = {(0, 3): -0.4 * noise[:, [0, 3]].sum(axis=1), (2, 7): 0.5 * noise[:, [2, 7]].sum(axis=1)}
    allowed = 0.3 * noise.sum(axis=1)
    chosen = choose(gain, noise, allowed, pairs)
    assert gain[chosen].sum() == pytest.approx(exhaustive(gain, noise, allowed, pairs))


def test_what_saves_nothing_or_overflows_stays_high() -> None:
    noise = np.array([[0.1, 0.1, np.inf, 0.1]])
    chosen = choose(np.array([1.0, -1.0, 5.0, 0.0]), noise, np.array([1.0]), {})
    assert chosen.tolist() == [True, False, False, False]


def test_nothing_goes_low_where_no_noise_is_left() -> None:
    assert not choose(np.ones(3), np.full((1, 3), 1e-9), np.array([-1.0]), {}).any()
