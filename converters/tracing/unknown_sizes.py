"""Unknown sizes as values: what ``ops.shape(x)[0]`` and ``tf.shape(x)`` are while a model is traced.

Keras gives None there, which no arithmetic takes. A `Size` can be multiplied, handed to a reshape, a broadcast or a
fill, and becomes a number of the graph in any other arithmetic; Python that needs its value at once is refused.
`Sizes` is the vector that TensorFlow gives: it adds and multiplies by elements, where a tuple of Keras is repeated.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import KerasTensor, ops, tree

from deploy.errors import ConversionError

if TYPE_CHECKING:
    from converters.tracing.recording import Recorder


@dataclass(frozen=True)
class SizeOf:
    """``times`` the size of an axis of a tensor, rounded down, as an int32 scalar."""

    axis: int
    times: int | Fraction
    name = "shape"


class Size:
    """``times`` the unknown size of one axis of a symbolic tensor, rounded down."""

    def __init__(self, recorder: Recorder, tensor: KerasTensor, axis: int, times: int | Fraction = 1) -> None:
        self.recorder, self.tensor, self.axis = recorder, tensor, axis
        self.times = times if times != int(times) else int(times)

    def value(self) -> KerasTensor:
        """The size as an int32 scalar that the graph computes."""
        output = KerasTensor((), "int32")
        return self.recorder.record(SizeOf(self.axis, self.times), (self.tensor,), output)

    def __mul__(self, other: Any) -> Any:
        if isinstance(other, int | np.integer) and other >= 0 and isinstance(self.times, int):
            return Size(self.recorder, self.tensor, self.axis, self.times * int(other))
        return self.value() * number(other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        if isinstance(other, int | np.integer) and other > 0:
            return Size(self.recorder, self.tensor, self.axis, Fraction(self.times) / int(other))
        return ops.floor_divide(self.value(), number(other))

    def __neg__(self) -> Any:
        return -self.value()

    def __add__(self, other: Any) -> Any:
        return self.value() + number(other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self.value() - number(other)

    def __rsub__(self, other: Any) -> Any:
        return number(other) - self.value()

    def __truediv__(self, other: Any) -> Any:
        return self.value() / number(other)

    def __rtruediv__(self, other: Any) -> Any:
        return number(other) / self.value()

    def __mod__(self, other: Any) -> Any:
        return ops.mod(self.value(), number(other))

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Size) and other.tensor is self.tensor and other.axis == self.axis:
            return other.times == self.times
        if isinstance(other, Size) or (isinstance(other, int | np.integer) and other >= 0):
            raise self._unknown()
        return False

    __hash__ = object.__hash__

    def _number(self, *_: Any) -> Any:
        raise self._unknown()

    __index__ = __int__ = __float__ = __bool__ = _number

    def __lt__(self, other: Any) -> Any:
        return self.value() < number(other)

    def __le__(self, other: Any) -> Any:
        return self.value() <= number(other)

    def __gt__(self, other: Any) -> Any:
        return self.value() > number(other)

    def __ge__(self, other: Any) -> Any:
        return self.value() >= number(other)

    def _unknown(self) -> ConversionError:
        return ConversionError(
            f"Python needs the size of axis {self.axis} of a tensor {tuple(self.tensor.shape)}, which is unknown",
            fix="give the input's sizes with --shapes, or use keras.ops without a Python loop or branch on the size",
        )

    def __repr__(self) -> str:
        return f"Size(axis {self.axis} of {tuple(self.tensor.shape)})"


class Sizes:
    """A vector of sizes, each a number, a `Size` or an integer scalar of the graph."""

    def __init__(self, items: Any) -> None:
        self.items = tuple(items)
        self.shape = (len(self.items),)

    def value(self) -> Any:
        """The sizes as an int32 vector, of numpy where all are known."""
        if all(isinstance(item, int | np.integer) for item in self.items):
            return np.asarray(self.items, np.int32)
        return ops.stack([ops.cast(number(item), "int32") for item in self.items])

    def product(self) -> Any:
        """The number of elements of a tensor of these sizes: a number, a `Size` or a scalar of the graph."""
        return functools.reduce(operator.mul, self.items, 1)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)

    def __getitem__(self, key: Any) -> Any:
        (key,) = key if isinstance(key, tuple) else (key,)
        return Sizes(self.items[key]) if isinstance(key, slice) else self.items[key]

    def _each(self, function: Callable[[Any, Any], Any], other: Any) -> Any:
        others = [other] * len(self) if np.ndim(other) == 0 or isinstance(other, Size) else list(other)
        return Sizes(function(one, two) for one, two in zip(self.items, others, strict=True))

    def __mul__(self, other: Any) -> Any:
        return self._each(operator.mul, other)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._each(operator.floordiv, other)

    def __add__(self, other: Any) -> Any:
        return self._each(operator.add, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._each(operator.sub, other)

    def __truediv__(self, other: Any) -> Any:
        return self.value() / other

    def __repr__(self) -> str:
        return f"Sizes{self.items}"


def number(x: Any) -> Any:
    """A size as a scalar of the graph, sizes as a vector; everything else as it is."""
    return x.value() if isinstance(x, Size | Sizes) else x


def has_size(*structure: Any) -> bool:
    """Whether there is an unknown size in the arguments of a function."""
    return any(isinstance(x, Size | Sizes) for x in tree.flatten(structure))


def has_symbolic(*structure: Any) -> bool:
    """Whether there is a value of the graph, or an unknown size, in the arguments of a function."""
    return any(isinstance(x, KerasTensor | Size | Sizes) for x in tree.flatten(structure))


def is_computed(x: Any) -> bool:
    """Whether an index is a value of the graph."""
    return isinstance(x, Size | KerasTensor)
