"""Reads Keras variables."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray


def read(variable: Any) -> NDArray[Any]:
    """A variable's numbers as an array of its own dtype.

    ``convert_to_numpy`` copies twice under TensorFlow, which matters for a matrix of 400 MB: here the array is the
    tensor that reading the variable gives.
    """
    if keras.backend.backend() == "tensorflow":
        return np.asarray(variable.value)
    return np.asarray(keras.ops.convert_to_numpy(variable))
