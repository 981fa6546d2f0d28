"""Adapters of `tf.signal` and of complex values, which are pairs of real ones.

A short-time Fourier transform is a strided convolution, every other one a product with constant matrices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops, tree

from converters.tensorflow_adapters import Adapter
from deploy.errors import ConversionError


class Complex:
    """A complex tensor: its real and its imaginary part, symbolic values of the same shape."""

    dtype = "complex64"

    def __init__(self, real: Any, imag: Any) -> None:
        self.real, self.imag = real, imag

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(self.real.shape)

    def __getitem__(self, key: Any) -> Complex:
        return Complex(self.real[key], self.imag[key])

    def __abs__(self) -> Any:
        return ops.sqrt(ops.add(ops.square(self.real), ops.square(self.imag)))

    def __neg__(self) -> Complex:
        return Complex(-self.real, -self.imag)

    def __add__(self, other: Any) -> Complex:
        other = _as_complex(other)
        return Complex(self.real + other.real, self.imag + other.imag)

    def __sub__(self, other: Any) -> Complex:
        other = _as_complex(other)
        return Complex(self.real - other.real, self.imag - other.imag)

    def __mul__(self, other: Any) -> Complex:
        other = _as_complex(other)
        real = self.real * other.real - self.imag * other.imag
        return Complex(real, self.real * other.imag + self.imag * other.real)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other: Any) -> Complex:
        if isinstance(other, Complex | complex):
            raise ConversionError("a division by a complex value", fix="multiply by its conjugate over its square")
        return Complex(self.real / other, self.imag / other)


def has_complex(*structure: Any) -> bool:
    """Whether there is a complex tensor in the arguments of a function."""
    return any(isinstance(x, Complex) for x in tree.flatten(structure))


def _as_complex(x: Any) -> Any:
    if isinstance(x, Complex | complex | int | float):
        return x  # Python's numbers have a real and an imaginary part
    if "complex" in str(getattr(x, "dtype", "")):
        array = np.asarray(x)
        return Complex(array.real, array.imag)
    return Complex(x, 0.0)


def pair(real: Any, imag: Any, name: str | None = None) -> Complex:
    return Complex(real, imag)


def cast(function: Adapter) -> Adapter:
    """``function``: the cast between real dtypes."""

    def to(x: Any, dtype: Any, name: str | None = None) -> Any:
        wanted = str(getattr(dtype, "name", dtype))
        if wanted.startswith("complex"):
            return x if isinstance(x, Complex) else Complex(function(x, "float32"), ops.zeros_like(x, "float32"))
        return function(x.real if isinstance(x, Complex) else x, dtype)

    return to


def of_parts(function: Callable[[Complex], Any], real: Adapter) -> Adapter:
    """A function of a complex value, and what it is for a real one."""

    def of(x: Any = None, name: str | None = None, **named: Any) -> Any:
        (value,) = [x] if x is not None else named.values()
        return function(value) if isinstance(value, Complex) else real(value)

    return of


def angle(x: Complex) -> Any:
    return ops.arctan2(x.imag, x.real)


def conjugate(x: Complex) -> Complex:
    return Complex(x.real, -x.imag)


def product(x: Any, y: Any, name: str | None = None) -> Any:
    return x * y if has_complex(x, y) else ops.multiply(x, y)


def transform(function: Adapter) -> Adapter:
    """A transform of complex values, which real ones become here."""

    def of(input: Any, name: str | None = None) -> Complex:
        value = input if isinstance(input, Complex) else Complex(input, ops.zeros_like(input))
        return Complex(*function((value.real, value.imag)))

    return of


def rfft(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Complex:
    return Complex(*ops.rfft(input_tensor, fft_length=_number(fft_length)))


def irfft(input_tensor: Any, fft_length: Any = None, name: str | None = None) -> Any:
    return ops.irfft((input_tensor.real, input_tensor.imag), fft_length=_number(fft_length))


def _number(length: Any) -> int | None:
    return None if length is None else int(np.asarray(length).reshape(()))


def stft(
    signals: Any, frame_length: int, frame_step: int, fft_length: int | None = None, window_fn: Any = "hann",
    pad_end: bool = False, name: str | None = None,
) -> Complex:  # fmt: skip
    """Windows of ``frame_length`` samples, the transform of each one filled up with zeros to ``fft_length``."""
    count, step = int(frame_length), int(frame_step)
    length = 2 ** int(np.ceil(np.log2(count))) if fft_length is None else int(fft_length)
    window = np.ones(count) if window_fn is None else _hann(count) if window_fn == "hann" else window_fn(count)
    turns = np.outer(np.arange(min(count, length)), np.arange(length // 2 + 1)) % length * (2 * np.pi / length)
    waves = np.concatenate([np.cos(turns), -np.sin(turns)], axis=1) * np.asarray(window)[: len(turns), None]
    kernel = np.zeros((count, waves.shape[1]))
    kernel[: len(turns)] = waves
    if pad_end:
        size = _known(signals)
        signals = ops.pad(
            signals, [(0, 0)] * (len(signals.shape) - 1) + [(0, (-(-size // step) - 1) * step + count - size)]
        )
    leading = tuple(signals.shape[:-1])
    flat = ops.reshape(signals, (-1, _known(signals), 1))
    parts = ops.conv(flat, kernel[:, None].astype(np.float32), step, "valid", "channels_last")
    if len(leading) != 1:
        parts = ops.reshape(parts, (*(-1 if size is None else size for size in leading), *parts.shape[1:]))
    return Complex(*ops.split(parts, 2, axis=-1))


def _known(signals: Any) -> int:
    if signals.shape[-1] is None:
        raise ConversionError("the length of a signal is unknown", fix="give it with --shapes")
    return int(signals.shape[-1])


def _hann(count: int) -> Any:
    """The periodic window, which is TensorFlow's default."""
    even = 1 - count % 2
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(count) / (count + even - 1)) if count > 1 else np.ones(1)


def frame(
    signal: Any, frame_length: int, frame_step: int, pad_end: bool = False, pad_value: Any = 0, axis: int = -1,
    name: str | None = None,
) -> Any:  # fmt: skip
    if pad_end or axis not in (-1, len(signal.shape) - 1):
        raise NotImplementedError("tf.signal.frame with pad_end or over another axis")
    return ops.extract_sequences(signal, int(frame_length), int(frame_step))


def dct(
    input: Any, type: int = 2, n: int | None = None, axis: int = -1, norm: str | None = None, name: str | None = None
) -> Any:
    """The second cosine transform."""
    if type != 2 or n is not None or axis != -1:
        raise NotImplementedError("tf.signal.dct of another type, length or axis")
    count = int(input.shape[-1])
    matrix = 2 * np.cos(np.pi * np.outer(2 * np.arange(count) + 1, np.arange(count)) / (2 * count))
    if norm == "ortho":
        matrix = matrix * np.sqrt(np.where(np.arange(count) == 0, 0.25, 0.5) / count)
    return ops.matmul(input, matrix.astype(np.float32))


def mfccs(log_mel_spectrograms: Any, name: str | None = None) -> Any:
    return dct(log_mel_spectrograms) * np.float32(1 / np.sqrt(2 * log_mel_spectrograms.shape[-1]))
