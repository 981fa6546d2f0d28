"""What TensorFlow's tensors say of themselves, said by symbolic values: ``x.shape.as_list()``, ``x.dtype.is_floating``.

Layers that run on TensorFlow ask its tensors so. Keras's symbolic values have a tuple and a string there; here these
are a tuple and a string with TensorFlow's attributes, so that all that Keras does with them stays as it is.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterable, Iterator
from typing import Any, SupportsIndex

import ml_dtypes
import numpy as np
from keras import KerasTensor


class Shape(tuple):  # type: ignore[type-arg]
    """A shape with what `tf.TensorShape` has beside its sizes; an unknown size is None."""

    __slots__ = ()

    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        found = super().__getitem__(index)
        return Shape(found) if isinstance(index, slice) else found

    def __add__(self, other: Iterable[Any]) -> Shape:
        return Shape((*self, *other))

    concatenate = __add__

    @property
    def rank(self) -> int:
        return len(self)

    ndims = rank

    @property
    def dims(self) -> list[int | None]:
        return list(self)

    def as_list(self) -> list[int | None]:
        return list(self)

    def is_fully_defined(self) -> bool:
        return None not in self

    def num_elements(self) -> int | None:
        return math.prod(self) if self.is_fully_defined() else None


class DType(str):
    """The name of a dtype with what `tf.DType` has."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return str(self)

    @property
    def base_dtype(self) -> DType:
        return self

    @property
    def as_numpy_dtype(self) -> Any:
        return getattr(ml_dtypes, self, None) or np.dtype(self).type

    @property
    def is_floating(self) -> bool:
        return self.startswith(("float", "bfloat"))

    @property
    def is_integer(self) -> bool:
        return self.startswith(("int", "uint"))

    @property
    def is_bool(self) -> bool:
        return self == "bool"

    @property
    def is_complex(self) -> bool:
        return self.startswith("complex")

    @property
    def size(self) -> int:
        return int(np.dtype(self.as_numpy_dtype).itemsize)

    @property
    def _limits(self) -> Any:
        return ml_dtypes.finfo(self) if self.is_floating else np.iinfo(self)  # type: ignore[no-untyped-call]

    @property
    def max(self) -> Any:
        return self._limits.max

    @property
    def min(self) -> Any:
        return self._limits.min


def get_shape(tensor: Any) -> Any:
    """`tf.Tensor.get_shape`."""
    return tensor.shape


def set_shape(tensor: Any, shape: Iterable[int | None]) -> None:
    """`tf.Tensor.set_shape`: what is known already must agree; what is not stays unknown."""
    given = tuple(shape)
    known = tuple(tensor.shape)
    if len(given) != len(known) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(given, known, strict=True)
    ):
        raise ValueError(f"a value of shape {known} cannot have shape {given}")


@contextlib.contextmanager
def spoken() -> Iterator[None]:
    """For the length of the block, and in this thread, every `keras.KerasTensor` has these."""
    owner, cls = threading.get_ident(), KerasTensor
    with contextlib.ExitStack() as undo:
        for name, kind in (("shape", Shape), ("dtype", DType)):
            plain = vars(cls)[name]

            def get(self: Any, plain: Any = plain, kind: Any = kind) -> Any:
                found = plain.fget(self)
                return kind(found) if threading.get_ident() == owner else found

            undo.callback(setattr, cls, name, plain)
            setattr(cls, name, property(get, plain.fset))
        for method in (get_shape, set_shape):
            undo.callback(delattr, cls, method.__name__)
            setattr(cls, method.__name__, method)
        yield
