"""`tf.gather` with batch dimensions, which `keras.ops` has not: places along the axis behind them, for each batch."""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops


class BatchGather(keras.Operation):  # type: ignore[misc]  # Keras has no type information
    """``params[b, indices[b, ...], ...]`` for each place b of the first ``batch_dims`` axes of both."""

    def __init__(self, batch_dims: int) -> None:
        super().__init__()
        self.batch_dims = batch_dims

    def call(self, params: Any, indices: Any) -> Any:
        behind = len(params.shape) - self.batch_dims - 1
        leading = tuple(indices.shape[: self.batch_dims])
        flat = ops.reshape(indices, (*leading, -1, *(1,) * behind))
        taken = ops.take_along_axis(params, flat, axis=self.batch_dims)
        return ops.reshape(taken, (*indices.shape, *params.shape[self.batch_dims + 1 :]))

    def compute_output_spec(self, params: Any, indices: Any) -> KerasTensor:
        shape = (*indices.shape, *params.shape[self.batch_dims + 1 :])
        return KerasTensor(shape, keras.backend.standardize_dtype(params.dtype))
