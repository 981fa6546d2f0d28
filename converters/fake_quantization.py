"""Fake quantization as quantization-aware training leaves it in a model: a fixed grid that a value is rounded to.

A grid becomes a QuantizeLinear and a DequantizeLinear, whose scale an INT8 engine then keeps
(`engines.recipe.trained`). Between two steps QuantizeLinear rounds to the nearest as TensorFlow does; only exactly
halfway it takes the even one.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops
from numpy.typing import NDArray

Array = NDArray[Any]


class FakeQuantize(keras.Operation):  # type: ignore[misc]  # Keras has no type information
    """Rounds a float tensor to the grid ``scale * (q - zero)`` of whole numbers q, ``low`` ≤ q ≤ ``high``.

    ``scale`` and ``zero``: one number, or one for each place along ``axis``.
    """

    def __init__(self, scale: Any, zero: Any, low: int, high: int, axis: int | None = None) -> None:
        super().__init__()
        self.scale, self.zero = np.asarray(scale, np.float32), np.asarray(zero, np.float32)
        self.low, self.high, self.axis = low, high, axis

    def call(self, x: Any) -> Any:
        scale, zero = (along(array, self.axis, len(x.shape)) for array in (self.scale, self.zero))
        integers = ops.clip(ops.add(ops.round(ops.divide(x, scale)), zero), self.low, self.high)
        return ops.multiply(ops.subtract(integers, zero), scale)

    def compute_output_spec(self, x: Any) -> KerasTensor:
        return KerasTensor(x.shape, dtype=x.dtype)


def affine(x: Any, minimum: Any, maximum: Any, bits: int = 8, *, narrow: bool = False, axis: int | None = None) -> Any:
    """TensorFlow's fake_quant_with_min_max_vars, whose range is moved so that 0 is a step (Jacob et al. 2018).

    Raises NotImplementedError where the range is computed: an engine's is fixed.
    """
    low, high = (_number(value) for value in (minimum, maximum))
    first, last = int(narrow), 2**bits - 1
    scale = (high - low) / np.float32(last - first)
    zero = np.clip(np.rint(first - low / scale), first, last)
    return FakeQuantize(scale, zero, first, last, axis)(x)


def symmetric(x: Any, minimum: Any, maximum: Any, bits: int = 8, *, narrow: bool = False, axis: Any = None) -> Any:
    """TensorFlow's quantize_and_dequantize_v2 of signed numbers within a given range: 0 stays 0."""
    low, high = (_number(value) for value in (minimum, maximum))
    last = 2 ** (bits - 1) - 1
    first = -last - (not narrow)
    scale = np.maximum(np.maximum(high, 0) / last, np.minimum(low, 0) / first)
    return FakeQuantize(scale, np.zeros_like(scale), first, last, axis)(x)


def _number(value: Any) -> Array:
    if isinstance(value, KerasTensor):
        raise NotImplementedError("fake quantization within a range that is computed")
    return np.asarray(ops.convert_to_numpy(value), np.float32)


def along(array: Array, axis: int | None, rank: int) -> Array:
    """The array so that it broadcasts along an axis of a tensor of that rank."""
    return array if axis is None else array.reshape([-1 if i == axis % rank else 1 for i in range(rank)])


def as_keras(
    inputs: Any, min_vals: Any, max_vals: Any, num_bits: int = 8, narrow_range: bool = False, axis: int | None = None
) -> Any:
    """What stands in for keras.quantizers.fake_quant_with_min_max_vars, which forgets all but the range of a symbolic
    input.
    """
    return affine(inputs, min_vals, max_vals, num_bits, narrow=narrow_range, axis=axis)
