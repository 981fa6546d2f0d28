"""Which groups go low: the cheapest choice whose summed noise stays within every bound.

A knapsack with several limits, solved by HiGHS in `scipy.optimize.milp`: the noises of fusion groups add up (measured,
benchmarks/results/budget.md), so the best choice is that of a linear program in 0 and 1. Where two groups together make
more or less noise than their sum (`pairs`), the product of their choices is a variable of its own (McCormick 1976). A
choice that was measured to be beyond the bounds is cut off, and with it all that have more groups low: their noise is
not less (combinatorial Benders cuts, Codato and Fischetti 2006).
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

SECONDS = 10.0
"""After these HiGHS gives the best choice so far."""

Floats = npt.NDArray[np.float64]
Pairs = Mapping[tuple[int, int], Floats]
"""Per pair of groups, by their positions, what they add together beyond their sum, per bound."""


def choose(
    gain: Floats, noise: Floats, allowed: Floats, pairs: Pairs, beyond: Sequence[npt.NDArray[np.bool_]] = ()
) -> npt.NDArray[np.bool_]:
    """The groups that go low.

    ``gain`` (groups,): what each saves low; ``noise`` (bounds, groups): what it adds; ``allowed`` (bounds,). Groups
    that save nothing, or whose noise is not finite, stay high; all of them where nothing is allowed. ``beyond``:
    choices that are cut off.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    possible = np.asarray((gain > 0) & np.isfinite(noise).all(axis=0) & (noise <= allowed[:, None]).all(axis=0))
    for (i, j), more in pairs.items():  # two that are too much alone may be within together
        if (noise[:, i] + noise[:, j] + more <= allowed).all():
            possible[[i, j]] |= gain[[i, j]] > 0
    chosen = np.zeros(len(gain), bool)
    if not possible.any() or (allowed <= 0).any():
        return chosen
    both = [(i, j) for i, j in pairs if possible[i] and possible[j]]
    groups, products = len(gain), len(both)
    terms = np.hstack([np.where(possible, noise, 0), *(pairs[pair][:, None] for pair in both)]) / allowed[:, None]
    terms[np.abs(terms) < 1e-9] = 0  # below the solver's tolerance
    linked = np.zeros((3 * products, groups + products))
    limits = np.zeros(3 * products)
    for row, (i, j) in enumerate(both):  # product <= either, product >= sum - 1
        product = groups + row
        for line, group in enumerate((i, j)):
            linked[3 * row + line, [product, group]] = 1, -1
        linked[3 * row + 2, [i, j, product]] = 1, 1, -1
        limits[3 * row + 2] = 1
    cuts = np.array([np.concatenate([cut, np.zeros(products)]) for cut in beyond]).reshape(-1, groups + products)
    upper = np.concatenate([np.ones(len(allowed)), limits, cuts.sum(axis=1) - 1])
    worth = np.concatenate([np.where(possible, gain, 0) / gain[possible].max(), np.zeros(products)])
    with _silent():
        result = milp(
            -worth,
            integrality=np.ones(groups + products),
            bounds=Bounds(0, np.concatenate([possible.astype(float), np.ones(products)])),
            constraints=LinearConstraint(np.vstack([terms, linked, cuts]), ub=upper),
            options={"time_limit": SECONDS},
        )
    return chosen if result.x is None else np.asarray(result.x[:groups] > 0.5)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """HiGHS writes a line of its own to file descriptor 1 where it repairs a solution, whatever it is told."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
