"""Adapters of `tf.quantization` functions within fixed ranges: what quantization-aware training leaves in a model."""

from __future__ import annotations

from typing import Any

from converters.fake_quantization import affine, symmetric


def fake_quant(
    inputs: Any, min: Any = -6, max: Any = 6, num_bits: int = 8, narrow_range: bool = False, name: str | None = None
) -> Any:
    return affine(inputs, min, max, num_bits, narrow=narrow_range)


def fake_quant_per_channel(
    inputs: Any, min: Any, max: Any, num_bits: int = 8, narrow_range: bool = False, name: str | None = None
) -> Any:
    return affine(inputs, min, max, num_bits, narrow=narrow_range, axis=-1)


def quantize_and_dequantize(
    input: Any, input_min: Any, input_max: Any, signed_input: bool = True, num_bits: int = 8,
    range_given: bool = False, round_mode: str = "HALF_TO_EVEN", name: str | None = None, narrow_range: bool = False,
    axis: int | None = None,
) -> Any:  # fmt: skip
    if not range_given:
        raise NotImplementedError("fake quantization within a range that is computed")
    if not signed_input:
        return affine(input, 0, input_max, num_bits, narrow=narrow_range, axis=axis)
    return symmetric(input, input_min, input_max, num_bits, narrow=narrow_range, axis=axis)
