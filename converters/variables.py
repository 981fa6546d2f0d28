"""Reads Keras variables, and gives them values, without copies of large ones on the way.

TensorFlow copies what it is given and what it gives, out of memory that it never hands back: a matrix of 400 MB was
there four times while its model was loaded. DLPack ("Open In Memory Tensor Structure") shares the memory instead.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ALIGNMENT = 64
"""Bytes that the memory of a tensor begins at multiples of, as Eigen's widest kernels ask for (AVX-512)."""
LARGE = 2**16
"""Bytes from which on memory is shared."""
SHARED = ("float32", "float64", "int8", "int32")


_known: ContextVar[dict[int, tuple[Any, Array]] | None] = ContextVar("known", default=None)


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """For the length of the block, in this thread, a variable is read once: its values do not change meanwhile."""
    token = _known.set({})
    try:
        yield
    finally:
        _known.reset(token)


def read(variable: Any) -> Array:
    """A variable's numbers as an array of its own dtype, which is not to be written to."""
    known = _known.get()
    if known is None:
        return _read(variable)
    if id(variable) not in known:
        known[id(variable)] = variable, _read(variable)
    return known[id(variable)][1]


def _read(variable: Any) -> Array:
    if keras.backend.backend() != "tensorflow":
        return np.asarray(keras.ops.convert_to_numpy(variable))
    import tensorflow as tf

    tensor = variable.value
    if isinstance(tensor, tf.Variable):  # as its read_value() does, without two scopes of names
        tensor = tf.raw_ops.ReadVariableOp(resource=tensor.handle, dtype=tensor.dtype)
    return np.from_dlpack(tensor) if can_share(tensor.shape, tensor.dtype.name) else np.asarray(tensor.numpy())


def aligned(shape: Sequence[int], dtype: Any) -> Array:
    """An array of zeros whose memory TensorFlow can take over; memory that is not written to takes no place."""
    dtype = np.dtype(dtype)
    count = math.prod(shape) * dtype.itemsize
    memory = np.zeros(count + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    array: Array = memory[start : start + count].view(dtype).reshape(tuple(shape)).view(_Aligned)
    return array


class _Aligned(np.ndarray[Any, Any]):
    """An array from `aligned`, or a part or a result of one."""


def is_aligned(array: Any) -> bool:
    """Whether an array is from `aligned`, whole and large enough to `share`."""
    if type(array) is not _Aligned or not can_share(array.shape, str(array.dtype)):
        return False
    return bool(array.flags.c_contiguous) and array.ctypes.data % ALIGNMENT == 0


def share(array: Array) -> Any:
    """A tensor of TensorFlow's in the memory of an `aligned` array, which nothing else writes to from now on."""
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def can_share(shape: Sequence[int], dtype: str) -> bool:
    """Whether a value of this kind is large enough for it, and of a type that TensorFlow and numpy both know."""
    if keras.backend.backend() != "tensorflow" or dtype not in SHARED:
        return False
    return math.prod(shape) * np.dtype(dtype).itemsize >= LARGE
