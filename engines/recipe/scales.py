"""Scales of weights and activations: symmetric, of whole ranges; in INT8 one for each output channel of a weight."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from engines.graphs import Weights
from engines.recipe import FP8_MAXIMUM, INT8_MAXIMUM
from engines.recipe.fp16 import SMALLEST_NORMAL
from engines.recipe.trained import grid_steps

NEGLIGIBLE = 2.0**-14
"""A channel whose largest weight is below this part of its layer's largest one is next to nothing: beside the others it
lies beneath FP16's own rounding (2^-11)."""


def weight_scales(array: npt.NDArray[np.float32], axis: int, *, on_grid: bool = False) -> npt.NDArray[np.float32]:
    """One scale per output channel: amax / 127. A channel of zeros, which any scale represents, gets 1.

    ``on_grid``: the step of the grid, for a channel whose weights lie on one.
    """
    amax = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != axis))
    scales = np.where(amax > 0, amax / INT8_MAXIMUM, 1).astype(np.float32)
    if not on_grid:
        return scales
    steps = grid_steps(array, axis)
    return np.where(steps > 0, steps, scales)


def fp8_scale(amax: float) -> float:
    """The scale of a tensor in E4M3: amax / 448, and FP16's smallest normal number at least.

    A larger scale than need be costs a floating type nothing, until its own subnormal numbers (2^-6) are reached.
    """
    return max(amax / FP8_MAXIMUM, SMALLEST_NORMAL)


def layer_scales(precision: str, weights: Weights, *, on_grid: bool = False) -> tuple[float, ...]:
    """The weight scales of an INT8 layer, one per output channel, or of an FP8 layer, a single one.

    An output channel whose weights are next to nothing (`dead_channels`) has FP16's smallest normal number.
    ``on_grid``: see `weight_scales`.
    """
    if precision == "fp8":
        return (_digits(fp8_scale(float(np.abs(weights.array).max()))),)
    scales = weight_scales(weights.array, weights.axis, on_grid=on_grid)
    scales = np.where(dead_channels(weights.array, weights.axis), np.float32(SMALLEST_NORMAL), scales)
    return tuple(_digits(scale) for scale in scales)


def activation_scale(precision: str, amax: float) -> float:
    """The scale of a value in a recipe of that precision, from the largest magnitude that it shall hold."""
    return fp8_scale(amax) if precision == "fp8" else amax / INT8_MAXIMUM or 1.0


def dead_channels(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.bool_]:
    """Output channels whose scale would be subnormal in FP16 and whose weights are `NEGLIGIBLE` beside the largest.

    They can have the smallest normal scale instead: it errs by half of 2^-14 per weight at most, which is less than a
    step of every other channel where those have normal scales (else the layer stays high). A channel that is small but
    not negligible may be scaled up again further on, so it is none of them, nor is one of zeros.
    """
    amax = np.abs(array).max(axis=tuple(i for i in range(array.ndim) if i != axis)).astype(np.float64)
    low = (amax > 0) & (amax / INT8_MAXIMUM < SMALLEST_NORMAL)
    dead: npt.NDArray[np.bool_] = low & (amax < NEGLIGIBLE * amax.max())
    return dead


def _digits(scale: float) -> float:
    """Nine digits, which tell any two FP32 numbers apart and keep the file readable."""
    return float(f"{scale:.9g}")
