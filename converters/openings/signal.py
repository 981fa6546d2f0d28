"""Fourier transforms of a known length: products with constant matrices, a short-time one a strided convolution.

TensorRT has no DFT, and at these lengths a product is as exact in float32. Complex numbers are pairs of real ones.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from converters.keras_internals import math as kmath
from converters.openings.common import cast, dtype_of, known
from converters.registry import opens
from deploy.errors import ConversionError

LONGEST = 4096
"""Beyond this length a transform's two matrices would hold more than 2 * 4096^2 numbers, 134 MB."""


def _length(size: int | None) -> int:
    length = known(size, "the length of a Fourier transform")
    if length > LONGEST:
        raise ConversionError(
            f"a Fourier transform of {length} values would be a product with a matrix of {length}^2",
            expected=f"at most {LONGEST}",
            fix="use short-time transforms (ops.stft)",
        )
    return length


def _waves(rows: int, columns: int, length: int) -> tuple[Any, Any]:
    """The matrices cos and -sin of 2 pi j k / length."""
    turns = np.outer(np.arange(rows), np.arange(columns)) % length * (2 * np.pi / length)
    return np.cos(turns).astype(np.float32), (-np.sin(turns)).astype(np.float32)


def _transform(real: Any, imag: Any, sign: float = 1.0) -> tuple[Any, Any]:
    """The complex transform over the last axis; with ``sign`` -1 the inverse one, not divided."""
    length = _length(real.shape[-1])
    cos, sin = _waves(length, length, length)
    sin = sin * np.float32(sign)
    return (
        ops.subtract(ops.matmul(real, cos), ops.matmul(imag, sin)),
        ops.add(ops.matmul(real, sin), ops.matmul(imag, cos)),
    )


@opens(kmath.FFT)
def fft(op: Any, x: Any) -> Any:
    return _transform(*x)


@opens(kmath.FFT2, kmath.IFFT2)
def fft2(op: Any, x: Any) -> Any:
    """Over the last axis, then, the axes swapped, over the other."""
    sign = -1.0 if isinstance(op, kmath.IFFT2) else 1.0
    real, imag = x
    for _ in range(2):
        real, imag = (ops.swapaxes(part, -1, -2) for part in _transform(real, imag, sign))
    if sign > 0:
        return real, imag
    count = 1.0 / (real.shape[-1] * real.shape[-2])
    return ops.multiply(real, count), ops.multiply(imag, count)


def _fitted(x: Any, length: int) -> Any:
    """The last axis cut or filled with zeros to a length."""
    size = known(x.shape[-1], "the length of a Fourier transform")
    if size > length:
        return x[..., :length]
    return ops.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, length - size)]) if size < length else x


@opens(kmath.RFFT)
def rfft(op: Any, x: Any) -> Any:
    length = _length(op.fft_length or x.shape[-1])
    cos, sin = _waves(length, length // 2 + 1, length)
    x = _fitted(x, length)
    return ops.matmul(x, cos), ops.matmul(x, sin)


@opens(kmath.IRFFT)
def irfft(op: Any, x: Any) -> Any:
    """The real inverse: every frequency but the first and (of an even length) the last counts twice."""
    real, imag = x
    length = _length(op.fft_length or 2 * (known(real.shape[-1], "the number of frequencies") - 1))
    bins = length // 2 + 1
    cos, sin = _inverse_waves(bins, length)
    return ops.add(ops.matmul(_fitted(real, bins), cos), ops.matmul(_fitted(imag, bins), sin))


def _inverse_waves(bins: int, length: int) -> tuple[Any, Any]:
    cos, sin = _waves(bins, length, length)
    twice = np.full((bins, 1), 2.0)
    twice[0] = 1.0
    if length % 2 == 0:
        twice[-1] = 1.0
    return (cos * twice / length).astype(np.float32), (sin * twice / length).astype(np.float32)


def _window(op: Any) -> Any:
    """The window of a short-time transform, in the middle of the transform's length."""
    size, length = int(op.sequence_length), int(op.fft_length)
    if op.window is None:
        return np.ones(length)
    if isinstance(op.window, str):
        a = {"hann": 0.5, "hamming": 0.54}[op.window]
        period = size - 1 if size % 2 and keras.backend.backend() == "tensorflow" else size  # TensorFlow's odd ones
        window = a - (1 - a) * np.cos(2 * np.pi * np.arange(size) / max(period, 1))
    else:
        window = np.asarray(ops.convert_to_numpy(op.window), np.float64)
    left = (length - size) // 2
    return np.pad(window, (left, length - size - left))


@opens(kmath.STFT)
def stft(op: Any, x: Any) -> Any:
    """One convolution whose kernels are the windowed waves, at the stride of the frames."""
    length, bins = int(op.fft_length), int(op.fft_length) // 2 + 1
    cos, sin = _waves(length, bins, length)
    kernel = (np.concatenate([cos, sin], axis=1) * _window(op)[:, None]).astype(np.float32)
    if op.center:
        x = ops.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(length // 2, length // 2)], mode="reflect")
    lead = x.shape[:-1]
    flat = ops.reshape(x, (-1, known(x.shape[-1], "the length of a signal"), 1))
    y = ops.conv(flat, kernel[:, None, :], strides=int(op.sequence_stride), padding="valid")
    y = ops.reshape(y, (*(size or -1 for size in lead), y.shape[1], 2 * bins))
    return y[..., :bins], y[..., bins:]


@opens(kmath.ISTFT)
def istft(op: Any, x: Any) -> Any:
    """Each frame's inverse, windowed, added up at its place: one transposed convolution."""
    real, imag = x
    length, stride, bins = int(op.fft_length), int(op.sequence_stride), int(op.fft_length) // 2 + 1
    window = _window(op)
    parts = -(-length // stride)
    total = (np.pad(window**2, (0, parts * stride - length)).reshape(parts, stride)).sum(0)
    inverse = window / np.tile(total, parts)[:length] if op.window is not None else window
    kernel = (np.concatenate(_inverse_waves(bins, length), axis=0) * inverse).astype(np.float32)
    both = ops.concatenate([_fitted(real, bins), _fitted(imag, bins)], axis=-1)
    frames = known(both.shape[-2], "the number of frames")
    flat = ops.reshape(both, (-1, frames, 2 * bins))
    y = ops.conv_transpose(flat, kernel.T[:, None, :], strides=stride, padding="valid")
    y = ops.reshape(y, (*(size or -1 for size in both.shape[:-2]), y.shape[1]))
    size = length + stride * (frames - 1)
    start = length // 2 if op.center else 0
    end = start + op.length if op.length is not None else size - start if op.center else size
    return _fitted(y, size)[..., start:end]


@opens(kmath.ExtractSequences)
def extract_sequences(op: Any, x: Any) -> Any:
    """Windows at known places of the last axis: one Gather."""
    size = known(x.shape[-1], "the length of a signal")
    count = max(0, 1 + (size - op.sequence_length) // op.sequence_stride)
    places = np.arange(count)[:, None] * op.sequence_stride + np.arange(op.sequence_length)[None, :]
    return ops.take(x, places, axis=-1)


@opens(kmath.CDist)
def cdist(op: Any, x: Any, y: Any) -> Any:
    difference = ops.subtract(ops.expand_dims(x, -2), ops.expand_dims(cast(y, dtype_of(x)), -3))
    return ops.sqrt(ops.sum(ops.square(difference), axis=-1))
