"""Joining, splitting, rolling, sequences: what opens to other shape operations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import onnx
from keras import layers, ops

from converters import convert
from tests.converters.checking import Case, case, parametrize


class Rearrange(layers.Layer):
    """In a layer: Keras cannot rearrange a KerasTensor with an unknown batch."""

    def __init__(self, pattern: str, lengths: dict[str, int]) -> None:
        super().__init__()
        self.pattern, self.lengths = pattern, lengths

    def call(self, x: Any) -> Any:
        return ops.rearrange(x, self.pattern, **self.lengths)


TWO = [(5, 4), (5, 4)]

CASES = [
    case(lambda xs: ops.append(xs[0], xs[1], axis=1), TWO, "Concat:1"),
    case(lambda xs: ops.append(xs[0], xs[1]), TWO),
    case(ops.hstack, TWO, "Concat:1"),
    case(ops.vstack, TWO, "Concat:1"),
    case(ops.dstack, TWO, "Concat:1"),
    case(ops.dstack, [(4,), (4,)]),
    case(lambda x: ops.hsplit(x, 2), (4, 3), "Split:1"),
    case(lambda x: ops.dsplit(x, [1, 3]), (5, 4), "Split:1"),
    case(ops.fliplr, (5, 4), "Slice:1"),
    case(ops.flipud, (5, 4), "Slice:1"),
    case(lambda x: ops.roll(x, 2, axis=1), (5, 4), "Concat:1,Split:1"),
    case(lambda x: ops.roll(x, (-1, 7), axis=(1, 2)), (5, 4)),
    case(lambda x: ops.roll(x, 2, axis=0), (5, 4)),
    case(lambda x: ops.roll(x, -7, axis=1), (None, 4)),
    case(lambda x: ops.roll(x, 5, axis=1), (5, 4), "Identity:1"),
    *(case(lambda x, k=k: ops.rot90(x, k, axes=(1, 2)), (4, 4, 3)) for k in range(-1, 4)),
    case(lambda x: ops.rot90(x, axes=(2, 1)), (5, 4, 3)),
    case(ops.diff, (5, 4), "Slice:2,Sub:1"),
    case(ops.diff, (5, 4), n=2, axis=1),
    case(ops.diff, (5,), dtype="bool"),
    case(ops.tril, (5, 4), "Where:1"),
    case(ops.triu, (5, 4), k=1, dtype="int32"),
    case(ops.tril, (5, 4), k=-2, dtype="bool"),
    case(lambda x: ops.meshgrid(x[0], x[0, :3]), (5,)),
    case(lambda x: ops.meshgrid(x[0], x[0, :3], np.arange(2.0, dtype="float32"), indexing="ij"), (5,)),
    case(lambda x: ops.vander(x[0]), (5,)),
    case(lambda x: ops.vander(x[0], N=3, increasing=True), (5,), dtype="int32"),
    case(lambda x: ops.full((2, 3), x[0, 0]), (5,)),
    case(lambda x: ops.full_like(x, 3), (5, 4)),
    case(lambda x: ops.full_like(x, 2.5, dtype="int32"), (5, 4)),
    case(lambda x: ops.full_like(x, True, dtype="bool"), (5,)),
    case(lambda x: x * ops.cast(ops.size(x), "float32"), (5,)),
    case(lambda x: ops.linspace(x, 2.0, 4), (5,)),
    case(lambda x: ops.linspace(x * 9.0, x + 31.9, 5, dtype="int32"), (5,)),
    case(lambda xs: ops.linspace(xs[0], xs[1], 4, axis=-1, endpoint=False), TWO),
    case(lambda x: ops.logspace(x, x + 1.0, 3), (5,)),
    case(lambda x: ops.geomspace(ops.abs(x) + 0.1, 5.0, 3), (5,)),
    case(lambda x: ops.unravel_index(x[0], (3, 2)), (5,), dtype="int32"),
    case(Rearrange, (4, 6, 3), pattern="b (h p) (w q) c -> b (h w) (p q c)", lengths={"p": 2, "q": 3}),
    case(Rearrange, (4, 6, 3), "Reshape:1,Transpose:1", pattern="b h w c -> b c (h w)", lengths={}),
    case(lambda x: ops.slice_update(x, (0, 1, 2), ops.ones((1, 2, 2)) * x[:, :1, :1]), (5, 4)),
    case(lambda xs: ops.slice_update(xs[0], (0, 1, 0), xs[1]), [(5, 4), (2, 4)]),
    case(lambda x: ops.slice(x, (0, ops.cast(x[0, 0, 0] > 0, "int32"), 0), (1, 2, 4)), (5, 4)),
    case(lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 3)), mode="symmetric"), (5, 4), "Gather:2"),
    case(lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 3)), mode="reflect"), (5, 4), "Pad:1"),
    case(lambda x: ops.pad(x, ((0, 0), (2, 1)), constant_values=3), (5,), "Pad:1", dtype="int32"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_a_grid_of_whole_numbers_stays_whole() -> None:
    """Keras gives int32 and says float32."""
    inputs = [keras.Input(batch_shape=(size,), dtype="int32") for size in (2, 3)]
    graph = convert(keras.Model(inputs, ops.meshgrid(*inputs))).graph
    assert [output.type.tensor_type.elem_type for output in graph.output] == [onnx.TensorProto.INT32] * 2
