"""What many openings need: dtypes as Keras promotes them, sizes that must be known."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import backend, ops

from deploy.errors import ConversionError


def dtype_of(x: Any) -> str:
    """The dtype of a value's name in Keras; a Python number's is that of its own tensor."""
    return str(backend.standardize_dtype(x.dtype if hasattr(x, "dtype") else ops.convert_to_tensor(x).dtype))


def is_float(x: Any) -> bool:
    """Whether the value is of a floating-point dtype."""
    return "float" in dtype_of(x)


def promoted(*values: Any, floating: bool = False) -> str:
    """The dtype Keras gives to an operation on these values; ``floating``: a float one."""
    values = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in values)
    kinds = [x.dtype if hasattr(x, "dtype") else type(x) for x in values]
    return str(backend.result_type(*kinds, *([float] if floating else [])))


def floats(*values: Any) -> list[Any]:
    """The values as tensors of one float dtype."""
    dtype = promoted(*values, floating=True)
    return [cast(x, dtype) for x in values]


def same(*values: Any) -> list[Any]:
    """The values as tensors of the dtype they promote to."""
    dtype = promoted(*values)
    return [cast(x, dtype) for x in values]


def cast(x: Any, dtype: str) -> Any:
    """The value as a tensor of a dtype."""
    return ops.cast(x, dtype) if hasattr(x, "dtype") else ops.convert_to_tensor(x, dtype)


def known(size: int | None, what: str) -> int:
    """A size that must be a number. Raises ConversionError where it is unknown."""
    if size is None:
        raise ConversionError(f"{what} is unknown", fix="give the size with --shapes")
    return int(size)


def flat_or(x: Any, axis: int | None) -> tuple[Any, int]:
    """The value and a non-negative axis; of the flattened value where the axis is None."""
    return (ops.ravel(x), 0) if axis is None else (x, axis % len(x.shape))
