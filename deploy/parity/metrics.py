"""The distance between an output and its reference, as data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from deploy.npz import Array


@dataclass(frozen=True)
class Metrics:
    """One output against its reference.

    ``max_abs``: largest absolute difference; ``scale``: largest absolute value of the reference; ``relative``:
    max_abs in units of the scale (of 1 where the reference is all zero); ``rmse``: root of the mean squared
    difference; ``cosine``: cosine similarity of the flattened arrays; ``sqnr_db``: 10 log10(reference power /
    difference power), infinite for equal arrays; ``top1``: share of samples whose largest element is the same, None
    unless the output is (batch, classes) with two classes or more. Where only one of the two is finite, the
    difference is infinite.
    """

    max_abs: float
    scale: float
    relative: float
    rmse: float
    cosine: float
    sqnr_db: float
    top1: float | None = None


def measure(reference: Array, actual: Array) -> Metrics:
    """Metrics of two arrays of one shape, axis 0 the batch; computed in float64.

    Raises ValueError where the shapes differ or the arrays are empty.
    """
    if reference.shape != actual.shape:
        raise ValueError(f"shape {actual.shape} instead of {reference.shape}")
    if reference.size == 0:
        raise ValueError("empty arrays")
    wanted, found = np.asarray(reference, np.float64), np.asarray(actual, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        difference = np.abs(found - wanted)
    difference[np.isnan(difference)] = np.inf
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    difference[same] = 0.0
    finite = np.where(np.isfinite(wanted), wanted, 0.0)
    scale = float(np.abs(finite).max())
    max_abs = float(difference.max())
    with np.errstate(over="ignore"):
        noise = float(np.mean(difference**2))
        signal = float(np.mean(finite**2))
    return Metrics(
        max_abs=max_abs,
        scale=scale,
        relative=max_abs / (scale or 1.0),
        rmse=math.sqrt(noise),
        cosine=_cosine(wanted, found),
        sqnr_db=_decibel(signal, noise),
        top1=_top1(reference, actual),
    )


def _cosine(wanted: Array, found: Array) -> float:
    if not (np.isfinite(wanted).all() and np.isfinite(found).all()):
        return 1.0 if np.array_equal(wanted, found, equal_nan=True) else 0.0
    length = float(np.linalg.norm(wanted) * np.linalg.norm(found))
    if length == 0.0:
        return 1.0 if np.array_equal(wanted, found) else 0.0
    return float(np.clip(np.vdot(wanted, found) / length, -1.0, 1.0))


def _decibel(signal: float, noise: float) -> float:
    if noise == 0.0:
        return math.inf
    if signal == 0.0 or math.isinf(noise):
        return -math.inf
    return 10.0 * math.log10(signal / noise)


def _top1(reference: Array, actual: Array) -> float | None:
    if reference.ndim != 2 or reference.shape[1] < 2:
        return None
    return float(np.mean(reference.argmax(axis=1) == actual.argmax(axis=1)))
