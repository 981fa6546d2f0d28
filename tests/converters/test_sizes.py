"""Unknown sizes: what people paste of `ops.shape(x)[0]` and `tf.shape(x)[0]` converts, without a node where it can."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, Function, case, parametrize
from tests.converters.tensorflow_only import needs_tensorflow, tensorflow

tf = tensorflow()

TOKEN = "Pad:1"


def _batch(x: Any) -> Any:
    return ops.shape(x)[0]


def _token(x: Any) -> Any:
    return ops.broadcast_to(ops.ones((1, 1, 3)), (_batch(x), 1, 3))


def _windows(x: Any) -> Any:
    """Windows of 2x2 pixels, and back, as attention in windows has it: one Transpose each way."""
    windows = ops.reshape(ops.transpose(ops.reshape(x, (_batch(x), 2, 2, 3, 2, 3)), (0, 1, 3, 2, 4, 5)), (-1, 2, 2, 3))
    windows = ops.square(windows)
    batch = _batch(windows) // 6
    x = ops.transpose(ops.reshape(windows, (batch, 2, 3, 2, 2, -1)), (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, 4, 6, -1))


def _boxes(x: Any) -> Any:
    """Each of 5 rows by itself, and back, where what a row gives has no size of its own in Keras."""
    rows = ops.reshape(x, (_batch(x) * 5, -1))
    return ops.reshape(ops.square(rows), (_batch(x), 5, -1))


def _causal(x: Any) -> Any:
    """Two layers that each make a causal mask: there is one of it, of one size."""
    for _ in range(2):
        steps = ops.arange(ops.shape(x)[1])
        x = ops.matmul(ops.cast(steps[:, None] >= steps, "float32"), x)
    return x


CASES = [
    case(Function(lambda x: ops.reshape(x * 2.0, (_batch(x), -1, 2))), (None, None, 4), "Mul:1,Reshape:1"),
    case(Function(_causal), (None, 3), "Cast:2,GreaterOrEqual:1,MatMul:2,Range:1,Reshape:1,Shape:1,Squeeze:1"),
    case(Function(lambda x: ops.reshape(ops.reshape(x, (-1, 2, 3)), ((_batch(x) + 0), 4, 3))), (4, 3), "Reshape:1"),
    case(Function(_windows), (4, 6, 3), "Mul:1,Reshape:4,Transpose:2"),
    case(Function(_boxes), (5, 3), "Mul:1,Reshape:2"),
    case(Function(lambda x: x * ops.cast(-_batch(x), "float32")), (3,), "Cast:2,Mul:1,Neg:1,Shape:1,Squeeze:1"),
    case(Function(lambda x: x * ops.cast(_batch(x) // 2 * 2, "float32")), (3,)),
    case(Function(lambda x: ops.reshape(ops.tile(x, (_batch(x), 2)), (_batch(x), _batch(x), -1)) * 1.0), (3,)),
    case(Function(lambda x: ops.reshape(x, (_batch(x), -1))), (5, 3), "Reshape:1"),
    case(Function(lambda x: ops.reshape(x * 2.0, (_batch(x), -1, 3))), (5, 3), "Mul:1"),
    case(Function(lambda x: ops.reshape(x, (_batch(x) * 5, 3))), (5, 3), "Reshape:1"),
    case(Function(lambda x: ops.reshape(x, (_batch(x), ops.shape(x)[1], 2, 2))), (None, 4), "Reshape:1"),
    case(Function(lambda x: ops.reshape(x, (_batch(x), -1, 2, 2))), (None, 4), "Reshape:1"),
    case(Function(lambda x: ops.reshape(x, (ops.shape(x)[1], _batch(x), 3))), (None, 3), "Concat:1,Reshape:1,Shape:1"),
    case(Function(lambda x: ops.reshape(x, (_batch(x), ops.shape(x)[1] * 3))), (None, 3)),
    case(Function(lambda x: ops.concatenate([_token(x), x], axis=1)), (5, 3), TOKEN),
    case(Function(lambda x: ops.concatenate([ops.repeat(ops.ones((1, 1, 3)), _batch(x), 0), x], 1)), (5, 3), TOKEN),
    case(Function(lambda x: ops.concatenate([ops.zeros((_batch(x), 1, 3)), x], axis=1)), (5, 3), TOKEN),
    case(Function(lambda x: ops.tile(ops.ones((1, 3)), (_batch(x), 1)) * x), (3,), "Mul:1"),
    case(Function(lambda x: ops.sum(x, 0) / ops.cast(_batch(x), "float32") + x), (3,)),
    case(Function(lambda x: x + ops.cast(ops.arange(ops.shape(x)[1]), "float32")[:, None]), (None, 3)),
    case(Function(lambda x: ops.cond(ops.shape(x)[1] + 1 > 5, lambda: x * 2.0, lambda: x)), (None, 3)),
]
TABLE = np.random.default_rng(1).normal(size=(1, 9, 4)).astype(np.float32)
CUT = "Add:1,Shape:1,Slice:1"


class _Positions(layers.Layer):
    """As many positions of a table as there are steps, the table kept in one of the ways that people keep it."""

    def __init__(self, kept: Any, key: Any) -> None:
        super().__init__()
        self.kept, self.key = kept, key

    def build(self, shape: Any) -> None:
        self.table = self.kept(self)

    def call(self, x: Any) -> Any:
        return x + self.key(self.table, x)


def _mask(batch: Any, steps: int) -> Any:
    """Of the causal attention in tutorials: one for each row of the batch."""
    mask = tf.cast(tf.range(steps)[:, None] >= tf.range(4), tf.float32)[None]
    return tf.tile(mask, tf.concat([tf.expand_dims(batch, -1), tf.constant([1, 1], dtype=tf.int32)], 0))


def _weight(layer: layers.Layer) -> Any:
    return layer.add_weight(shape=TABLE.shape, initializer=keras.initializers.Constant(TABLE), name="table")


BOUNDS = [
    case(Function(lambda x: x[:, : ops.shape(x)[1], :2]), (None, 4), "Slice:1"),
    case(Function(lambda x: x[:, : ops.shape(x)[1] // 2]), (None, 4)),
    case(Function(lambda x: x[:, ops.shape(x)[1] - 2 :, None, 1]), (None, 4)),
    case(Function(lambda x: x[0][:, : ops.shape(x[1])[1]] + x[1]), [(None, 4), (None, 4)]),
    case(_Positions(_weight, lambda table, x: table[:, : ops.shape(x)[1]]), (None, 4), CUT),
    case(_Positions(_weight, lambda table, x: ops.slice(table, (0, 0, 0), (1, ops.shape(x)[1], 4))), (None, 4), CUT),
    case(_Positions(_weight, lambda table, x: table[:, ops.shape(x)[1] - 1]), (None, 4)),
]
RAW_BOUNDS = [
    case(_Positions(kept, key), (None, 4), CUT)
    for kept in (_weight, lambda layer: tf.constant(TABLE), lambda layer: tf.Variable(TABLE, trainable=False))
    for key in (
        lambda table, x: table[:, : tf.shape(x)[1], :],
        lambda table, x: tf.slice(table, [0, 0, 0], [1, tf.shape(x)[1], -1]),
    )
]
RAW = [
    case(Function(lambda x: tf.reshape(x, (tf.shape(x)[0], -1))), (5, 3), "Reshape:1"),
    case(Function(lambda x: tf.reshape(x, [-1, tf.shape(x)[1] * 3])), (5, 3), "Reshape:1"),
    case(Function(lambda x: tf.concat([tf.zeros((tf.shape(x)[0], 1, 3)), x], 1)), (5, 3), TOKEN),
    case(Function(lambda x: tf.concat([tf.tile(tf.ones((1, 1, 3)), [tf.shape(x)[0], 1, 1]), x], 1)), (5, 3)),
    case(Function(lambda x: x + tf.cast(tf.range(tf.shape(x)[1]), tf.float32)[:, None]), (None, 3)),
    case(Function(lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:-1], [2, 2]], 0))), (None, 4), "Reshape:1"),
    case(Function(lambda x: tf.reshape(x, tf.stack([tf.shape(x)[0], tf.shape(x)[1] * 4]))), (None, 4)),
    case(Function(lambda x: tf.reshape(x, (*tf.unstack(tf.shape(x))[:2], 2, 2))), (None, 4), "Reshape:1"),
    case(Function(lambda x: tf.reshape(x, [tf.shape(x)[0], tf.reduce_prod(tf.shape(x)[1:])])), (3, 4), "Reshape:1"),
    case(Function(lambda x: tf.reshape(x, [-1, tf.reduce_prod(x.shape[1:])])), (3, 4), "Reshape:1"),
    case(Function(lambda x: tf.image.resize(x, tf.shape(x)[1:3] * 2)), (None, None, 4), "Resize:1,Transpose:2"),
    case(Function(lambda x: tf.image.resize(x, tf.shape(x)[1:3] * 2, "nearest")), (None, None, 4)),
    case(
        Function(lambda x: tf.image.resize(x[1], tf.shape(x[0])[1:3]) + x[0]),
        [(None, None, 3), (2, 5, 3)],
        "Add:1,Concat:1,Resize:1,Shape:2,Transpose:3",
    ),
    case(Function(lambda x: tf.image.resize(x, [4, tf.shape(x)[2] // 2])), (None, None, 3)),
    case(Function(lambda x: x / tf.cast(tf.reduce_prod(tf.shape(x)[1:3]), tf.float32)), (None, None, 4)),
    case(Function(lambda x: tf.tile(x[:, :1], tf.concat([[1], tf.shape(x)[1:2], [1]], 0)) + x), (None, 4)),
    case(Function(lambda x: _mask(tf.shape(x)[0], 3) * x), (3, 4)),
    case(Function(lambda x: tf.pad(x, [[0, 0], [0, 4 - tf.shape(x)[1] % 4], [0, 0]])), (None, 4)),
]


@parametrize([*CASES, *BOUNDS])
def test_cases(item: Case) -> None:
    item.check()


@needs_tensorflow
@parametrize([*RAW, *RAW_BOUNDS])
def test_raw_tensorflow(item: Case) -> None:
    item.check()


def test_heads_of_an_attention_need_no_shape_node() -> None:
    class Heads(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(8)

        def build(self, shape: Any) -> None:
            self.dense.build(shape)

        def call(self, x: Any) -> Any:
            heads = ops.reshape(self.dense(x), (ops.shape(x)[0], -1, 2, 4))
            return ops.transpose(heads, (0, 2, 1, 3))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 2, shape[1], 4)

    Case(Heads(), (5, 6), "Add:1,MatMul:1,Reshape:1,Transpose:1").check()


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x if ops.shape(x)[0] == 1 else -x,
        lambda x: ops.concatenate([x[i : i + 1] * i for i in range(ops.shape(x)[0])]),
        lambda x: x * float(ops.shape(x)[0]),
        lambda x: ops.pad(x, ((0, 4 - ops.shape(x)[0]), (0, 0))),
    ],
    ids=["branch", "loop", "number", "padding"],
)
def test_python_that_needs_the_size_is_refused(function: Any) -> None:
    class Needs(layers.Layer):
        def call(self, x: Any) -> Any:
            return function(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    with pytest.raises(ConversionError, match="layer 'needs'") as caught:
        convert_model(Case(Needs(name="needs"), (4,)).model(), exporter="direct")
    assert "--shapes" in str(caught.value)


def test_a_minus_one_beside_the_batch_of_another_tensor_is_checked() -> None:
    """(2 * batch, 3) to (batch, -1) has a 6 for the -1: taking the batch for the tensor's own would be wrong."""

    class Doubled(layers.Layer):
        def call(self, x: Any) -> Any:
            return ops.reshape(ops.concatenate([x, x], axis=0), (ops.shape(x)[0], -1))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 6)

    with pytest.raises(ConversionError, match="may not be the tensor's own"):
        convert_model(Case(Doubled(name="doubled"), (3,)).model())
