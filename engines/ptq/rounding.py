"""Learned rounding: each weight goes up or down so that the layer's output errs least, not the weight itself.

The error of an output channel is (q s - w)ᵀ H (q s - w), with H the second moments of the layer's inputs (Nagel et al.
2020, "Up or Down? Adaptive Rounding for Post-Training Quantization", equation 13). Its minimum over integers is sought
by coordinate descent from the nearest ones: a weight takes the integer that is best while all others stay. No step
raises the error, so that it ends no higher than rounding to nearest.
"""

from __future__ import annotations

import numpy as np

from engines.ptq.products import Doubles
from engines.recipe import INT8_MAXIMUM

DAMPING = 0.03
"""Part of the mean of H's diagonal that is added to it: directions that few samples show are not trusted."""
BLOCK = 128
"""Weights of an output channel that are gone through before the gradients of the others follow, in one product."""
SWEEPS = 6
"""Passes over all weights of a layer; few change after the third."""


def nearest(weights: Doubles, scale: Doubles) -> Doubles:
    """Integers of ``weights`` (groups, K, M) with ``scale`` (groups, 1, M), as QuantizeLinear rounds."""
    integers: Doubles = np.clip(np.rint(weights / scale), -INT8_MAXIMUM, INT8_MAXIMUM)
    return integers


def damped(gram: Doubles) -> Doubles:
    """H, (groups, K, K), with `DAMPING`."""
    size = gram.shape[-1]
    mean = np.trace(gram, axis1=1, axis2=2)[:, None, None] / size
    result: Doubles = gram + (DAMPING * mean + 1e-30) * np.eye(size)
    return result


def error(weights: Doubles, integers: Doubles, scale: Doubles, moments: Doubles) -> Doubles:
    """What is minimised, per group and output channel (groups, M)."""
    change = integers * scale - weights
    result: Doubles = np.einsum("gkm,gkm->gm", change, moments @ change)
    return result


def rounded(weights: Doubles, scale: Doubles, moments: Doubles) -> Doubles:
    """The integers (groups, K, M) that coordinate descent finds; ``moments``: H, positive definite."""
    integers = nearest(weights, scale)
    gradient = moments @ (integers * scale - weights)
    for _ in range(SWEEPS):
        moved = False
        for start in range(0, weights.shape[1], BLOCK):
            block = slice(start, start + BLOCK)
            here = np.ascontiguousarray(moments[:, block, block])
            change = _descend(integers[:, block], gradient[:, block].copy(), scale, here)
            if change.any():
                moved = True
                gradient += moments[:, :, block] @ change
        if not moved:
            break
    return integers


def _descend(integers: Doubles, gradient: Doubles, scale: Doubles, moments: Doubles) -> Doubles:
    """One sweep over the rows of a block, in place; returns by how much its weights change.

    ``gradient``: of these rows, which is used up; ``moments``: among these rows.
    """
    change = np.zeros_like(integers)
    for k in range(integers.shape[1]):
        best = integers[:, k] - gradient[:, k] / (moments[:, k, k, None] * scale[:, 0])
        best = np.clip(np.rint(best), -INT8_MAXIMUM, INT8_MAXIMUM)
        step = best - integers[:, k]
        channels = np.flatnonzero(step.any(axis=0))
        if channels.size:
            integers[:, k] = best
            change[:, k] = step * scale[:, 0]
            gradient[:, :, channels] += moments[:, :, k, None] * change[:, None, k, channels]
    return change
