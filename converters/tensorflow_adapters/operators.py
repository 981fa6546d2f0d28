"""What an operator of a TensorFlow value is, where the other operand is symbolic; of its own it is an error."""

from __future__ import annotations

from keras import ops

from converters.tensorflow_adapters import Adapter

OPERATORS: dict[str, Adapter] = {
    "__add__": ops.add,
    "__and__": ops.logical_and,
    "__floordiv__": ops.floor_divide,
    "__ge__": ops.greater_equal,
    "__gt__": ops.greater,
    "__le__": ops.less_equal,
    "__lt__": ops.less,
    "__matmul__": ops.matmul,
    "__mod__": ops.mod,
    "__mul__": ops.multiply,
    "__or__": ops.logical_or,
    "__pow__": ops.power,
    "__sub__": ops.subtract,
    "__truediv__": ops.true_divide,
}
