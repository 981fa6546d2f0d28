"""Fourier transforms, short-time transforms, windows, spectrogram layers."""

from __future__ import annotations

import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, case, parametrize

TWO = [(3, 8), (3, 8)]

CASES = [
    case(lambda xs: ops.fft((xs[0], xs[1])), TWO, "Add:1,MatMul:4,Sub:1"),
    case(lambda xs: ops.fft((xs[0], xs[1])), [(7,), (7,)]),
    case(lambda xs: ops.fft2((xs[0], xs[1])), TWO),
    case(lambda xs: ops.ifft2((xs[0], xs[1])), TWO),
    case(ops.rfft, (3, 8), "MatMul:2"),
    case(ops.rfft, (7,), fft_length=12),
    case(ops.rfft, (9,), fft_length=6),
    case(lambda xs: ops.irfft((xs[0], xs[1])), [(5,), (5,)]),
    case(lambda xs: ops.irfft((xs[0], xs[1]), fft_length=7), [(5,), (5,)]),
    case(lambda x: ops.irfft(ops.rfft(x)), (10,)),
    case(lambda x: ops.stft(x, 8, 4, 16), (40,)),
    case(lambda x: ops.stft(x, 8, 3, 9, window="hamming", center=False), (2, 40)),
    case(lambda x: ops.stft(x, 8, 4, 8, window=None), (40,)),
    case(lambda x: ops.stft(x, 5, 8, 8), (2, 25)),
    case(lambda x: ops.stft(x, 8, 4, 12, window=np.linspace(0.1, 1, 8)), (40,)),
    case(lambda x: ops.istft(ops.stft(x, 8, 4, 8), 8, 4, 8), (40,)),
    case(lambda x: ops.istft(ops.stft(x, 8, 2, 16, center=False), 8, 2, 16, center=False), (40,)),
    case(lambda x: ops.istft(ops.stft(x, 8, 4, 8), 8, 4, 8, length=33), (40,)),
    case(lambda x: ops.extract_sequences(x, 6, 4), (2, 21), "Gather:1"),
    case(layers.STFTSpectrogram, (64, 1), frame_length=16, frame_step=8, fft_length=32),
    case(layers.STFTSpectrogram, (64, 2), mode="magnitude", frame_length=16, frame_step=8, fft_length=16),
    case(layers.MelSpectrogram, (400,), fft_length=64, sequence_stride=32, num_mel_bins=8),
    case(lambda xs: ops.cdist(xs[0], xs[1]), [(5, 4), (3, 4)]),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_a_long_transform_is_refused() -> None:
    with pytest.raises(ConversionError, match="5000 values"):
        convert_model(Case(ops.rfft, (5000,)).model())
