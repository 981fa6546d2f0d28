"""The log-mel spectrogram, in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

RATE = 16000
"""Samples a second."""
FRAMES, BANDS = 64, 40
WINDOW, HOP, POINTS = 400, 256, 512
"""Of one frame, in samples: 25 ms analysed every 16 ms, by a 512-point Fourier transform."""
SAMPLES = (FRAMES - 1) * HOP + WINDOW
"""Samples of one clip: 1.03 s."""
LOWEST, HIGHEST = 60.0, 7600.0
"""Band edges, Hz."""


def mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hz to mel: 2595 log10(1 + f / 700) (O'Shaughnessy, Speech Communication, 1987)."""
    return np.asarray(2595.0 * np.log10(1.0 + hertz / 700.0))


def mel_filters() -> NDArray[np.float64]:
    """Triangular filters, equally wide in mel and half overlapping: (BANDS, POINTS // 2 + 1), each of peak 1."""
    lowest, highest = mel(np.array([LOWEST, HIGHEST]))
    edges = np.linspace(float(lowest), float(highest), BANDS + 2)
    bins = mel(np.arange(POINTS // 2 + 1) * RATE / POINTS)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0.0, None))


def log_mel(audio: Array) -> Array:
    """Audio at 16 kHz, shape (samples,), to the model's input for one item: (64, 40, 1), time by frequency.

    Each frame is windowed (Hann); band b is log(1e-5 + sum_k filter[b, k] |X[k]|^2), with X the Fourier transform, and
    the clip's mean over time and bands is taken off, which makes it independent of the volume. Longer audio is cut
    after 1.03 s, shorter audio is followed by silence.
    """
    audio = np.pad(audio[:SAMPLES], (0, max(0, SAMPLES - len(audio)))).astype(np.float64)
    frames = np.lib.stride_tricks.sliding_window_view(audio, WINDOW)[::HOP] * np.hanning(WINDOW)
    power = np.abs(np.fft.rfft(frames, POINTS)) ** 2
    bands = np.log(1e-5 + power @ mel_filters().T)
    return np.asarray(bands - bands.mean(), np.float32)[..., None]
