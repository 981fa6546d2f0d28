"""Matrix products: Dense of every rank, EinsumDense, matmul, dot, einsum, attention built of them."""

from __future__ import annotations

import keras
from keras import layers, ops

from tests.converters.checking import Case, case, check, operations, parametrize, randomize

CASES = [
    case(layers.Dense, (5,), "Gemm:1", units=4),
    case(layers.Dense, (5,), "Gemm:1", units=4, use_bias=False),
    case(layers.Dense, (5,), "Gemm:1,Sigmoid:1", units=1, activation="sigmoid"),
    case(layers.Dense, (6, 5), "Add:1,MatMul:1", units=4),
    case(layers.Dense, (6, 5, 3), "Add:1,MatMul:1", units=4),
    case(layers.Dense, (2, 6, 5, 3), "Add:1,MatMul:1", units=4),
    case(layers.Dense, (None, 5), "Add:1,MatMul:1", units=4),
    case(layers.Dense, (1, 1, 5), "Add:1,MatMul:1,Relu:1", units=4, activation="relu"),
    case(layers.EinsumDense, (5,), "Gemm:1", equation="ab,bc->ac", output_shape=4, bias_axes="c"),
    case(layers.EinsumDense, (6, 5), "Add:1,MatMul:1", equation="abc,cd->abd", output_shape=(None, 4), bias_axes="d"),
    case(layers.EinsumDense, (6, 5), "Add:1,Einsum:1", equation="abc,bd->adc", output_shape=(4, 5), bias_axes="d"),
    case(
        layers.EinsumDense,
        (6, 5),
        "Add:1,Einsum:1",
        equation="abc,cde->abde",
        output_shape=(None, 2, 3),
        bias_axes="de",
    ),
    case(layers.EinsumDense, (6, 2, 3), "Einsum:1", equation="abcd,cde->abe", output_shape=(None, 4)),
    case(layers.EinsumDense, (6, 5), "Add:1,MatMul:1", equation="...x,xy->...y", output_shape=4, bias_axes="y"),
    case(lambda xs: ops.matmul(*xs), [(6, 5), (5, 4)], "MatMul:1"),
    case(lambda xs: ops.matmul(*xs), [(2, 6, 5), (1, 5, 4)], "MatMul:1"),
    case(lambda xs: ops.matmul(xs[0], ops.transpose(xs[1], (0, 2, 1))), [(6, 5), (4, 5)], "MatMul:1,Transpose:1"),
    case(lambda xs: ops.einsum("abc,adc->abd", *xs), [(6, 5), (4, 5)], "Einsum:1"),
    case(layers.Dot, [(5,), (5,)], "MatMul:1,Reshape:3", axes=1),
    case(layers.Dot, [(6, 5), (4, 5)], "MatMul:1,Transpose:1", axes=2),
    case(layers.Dot, [(6, 5), (4, 5)], "Div:2,MatMul:1,Max:2,ReduceL2:2,Transpose:1", axes=2, normalize=True),
    case(layers.Attention, [(6, 5), (4, 5)], "MatMul:2,Softmax:1,Transpose:1"),
    case(layers.Attention, [(6, 5), (4, 5)], "MatMul:2,Mul:1,Softmax:1,Transpose:1", use_scale=True),
    case(layers.AdditiveAttention, [(6, 5), (4, 5)], "Add:1,MatMul:1,Mul:1,ReduceSum:1,Reshape:2,Softmax:1,Tanh:1"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_dense_behind_a_convolution_is_a_pointwise_convolution() -> None:
    model = keras.Sequential([keras.Input((8, 7, 3)), layers.Conv2D(4, 3), layers.Dense(5), layers.Conv2D(2, 3)])
    assert operations(check(randomize(model), layers=True)) == "Conv:3,Transpose:2"


def test_dense_behind_flatten_permutes_its_rows() -> None:
    model = keras.Sequential([keras.Input((8, 7, 3)), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(5)])
    assert operations(check(randomize(model), layers=True)) == "Conv:1,Gemm:1,Reshape:1,Transpose:1"


def test_flatten_of_two_readers_is_kept() -> None:
    inputs = keras.Input((8, 7, 3))
    x = layers.Flatten()(layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, [layers.Dense(5)(x), layers.Dense(3)(x), x])
    check(randomize(model), layers=True)
