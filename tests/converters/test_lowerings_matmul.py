"""Matrix products: Dense of every rank, EinsumDense, matmul, dot, einsum and their like; diagonals."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
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
    case(layers.Dense, (1, 1, 5), "Conv:1,Relu:1,Reshape:2", units=4, activation="relu"),
    case(layers.EinsumDense, (5,), "Gemm:1", equation="ab,bc->ac", output_shape=4, bias_axes="c"),
    case(layers.EinsumDense, (6, 5), "Add:1,MatMul:1", equation="abc,cd->abd", output_shape=(None, 4), bias_axes="d"),
    case(layers.EinsumDense, (6, 5), "Conv:1", equation="abc,bd->adc", output_shape=(4, 5), bias_axes="d"),
    case(
        layers.EinsumDense,
        (6, 5),
        "Add:1,MatMul:1,Reshape:1",
        equation="abc,cde->abde",
        output_shape=(None, 2, 3),
        bias_axes="de",
    ),
    case(layers.EinsumDense, (6, 2, 3), "MatMul:1,Reshape:1", equation="abcd,cde->abe", output_shape=(None, 4)),
    case(layers.EinsumDense, (6, 5), "Add:1,MatMul:1", equation="...x,xy->...y", output_shape=4, bias_axes="y"),
    case(lambda xs: ops.matmul(*xs), [(6, 5), (5, 4)], "MatMul:1"),
    case(lambda xs: ops.matmul(*xs), [(2, 6, 5), (1, 5, 4)], "MatMul:1"),
    case(lambda xs: ops.matmul(xs[0], ops.transpose(xs[1], (0, 2, 1))), [(6, 5), (4, 5)], "MatMul:1,Transpose:1"),
    case(lambda xs: ops.einsum("abc,adc->abd", *xs), [(6, 5), (4, 5)], "MatMul:1,Transpose:1"),
    case(layers.Dot, [(5,), (5,)], "Mul:1,ReduceSum:1", axes=1),
    case(layers.Dot, [(6, 5), (4, 5)], "MatMul:1,Transpose:1", axes=2),
    case(layers.Dot, [(6, 5), (4, 5)], "Div:2,MatMul:1,Max:2,ReduceL2:2,Transpose:1", axes=2, normalize=True),
]


def weights(*shape: int) -> Any:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def einsum(equation: str, *operands: Any, expects: str = "", dtype: str = "float32") -> Case:
    """An einsum whose operands are inputs (tuples: their shapes without the batch) and weights (arrays)."""
    shapes = [x for x in operands if isinstance(x, tuple)]

    def call(xs: Any) -> Any:
        given = iter(xs if isinstance(xs, list) else [xs])
        return ops.einsum(equation, *(next(given) if isinstance(x, tuple) else x for x in operands))

    return case(call, shapes if len(shapes) > 1 else shapes[0], expects, dtype)


EINSUMS = [
    einsum("abc->acb", (6, 5), expects="Transpose:1"),
    einsum("abc->ab", (6, 5), expects="ReduceSum:1"),
    einsum("abc->", (6, 5)),
    einsum("abb->ab", (5, 5), expects="Reshape:1,Slice:1"),
    einsum("abb->a", (5, 5)),
    einsum("aecd,abcd->acbe", (6, 2, 4), (5, 2, 4), expects="MatMul:1,Transpose:2"),
    einsum("acbe,aecd->abcd", (2, 5, 6), (6, 2, 4), expects="MatMul:1,Transpose:2"),
    einsum("...ij,...jk->...ik", (2, 6, 5), (2, 5, 3), expects="MatMul:1"),
    einsum("abc,abc->abc", (3, 4), (3, 4), expects="Mul:1"),
    einsum("abc,ab->abc", (3, 4), (3,), expects="Mul:1,Reshape:1"),
    einsum("ab,ac->abc", (3,), (4,), expects="Mul:1,Reshape:2"),
    einsum("abc,ab->ac", (3, 4), (3,), expects="MatMul:1,Reshape:2"),
    einsum("abcd,aefd->abcef", (3, 2, 4), (5, 6, 4)),
    einsum("abcd,adcb->a", (3, 2, 4), (4, 2, 3), expects="Mul:1,ReduceSum:1,Transpose:1"),
    einsum("abc,adc,aec->abde", (3, 4), (2, 4), (5, 4)),
    einsum("aij,ajk,akl->ail", (3, 4), (4, 5), (5, 2), expects="MatMul:2"),
    einsum("bhwc,bhc->bhw", (3, 4, 5), (3, 5)),
    einsum("abhc,adhc->ahbd", (None, 2, 5), (None, 2, 5), expects="MatMul:1,Transpose:2"),
    einsum("abc,dc->abd", (6, 5), weights(4, 5), expects="MatMul:1"),
    einsum("abc,bd->acd", (6, 5), weights(6, 4), expects="Conv:1,Transpose:1"),
    einsum("abc,bcd->ad", (6, 5), weights(6, 5, 4), expects="Gemm:1,Reshape:1"),
    einsum("abc,bc->a", (6, 5), weights(6, 5), expects="MatMul:1,Reshape:1"),
    einsum("abc,c->ab", (6, 5), weights(5), expects="MatMul:1"),
    einsum("abc,b->ac", (6, 5), weights(6)),
    einsum("abcd,bde->abce", (6, 2, 3), weights(6, 3, 4)),
    einsum("abcd,be->acde", (6, 2, 3), weights(6, 4), expects="Conv:1,Transpose:1"),
    einsum("abcd,ce->abed", (6, 2, 3), weights(2, 4), expects="MatMul:1"),
    einsum("abc,cd,d->abd", (6, 5), weights(5, 4), weights(4)),
    einsum("ij,...j->...i", weights(4, 5), (6, 5), expects="MatMul:1"),
    einsum("a...x,xyz->a...yz", (6, 5), weights(5, 3, 2), expects="MatMul:1,Reshape:1"),
    einsum("abc,acd->abd", (6, 5), (5, 4), dtype="int32"),
    einsum("abc,acd->abd", (6, 5), (5, 4), dtype="int8"),
]

PRODUCTS = [
    case(lambda xs: ops.matmul(*xs), [(3, 2, 6, 5), (1, 2, 5, 4)], "MatMul:1"),
    case(lambda xs: ops.matmul(*xs), [(6, 5), (5, 4)], dtype="int32"),
    case(lambda xs: ops.matmul(*xs), [(6, 5), (5, 4)], dtype="bool"),
    case(lambda x: ops.matmul(x, weights(5)), (6, 5), "MatMul:1"),
    case(lambda x: ops.matmul(x, weights(3, 5, 4)), (3, 6, 5), "MatMul:1"),
    case(lambda x: ops.matmul(weights(5), x), (5, 4)),
    case(lambda x: ops.matmul(weights(7, 5), x), (3, 5, 4), "MatMul:1"),
    case(lambda x: ops.dot(x, weights(5, 4)), (6, 5), "MatMul:1"),
    case(lambda x: ops.dot(x, weights(2, 5, 4)), (6, 5), "MatMul:1,Reshape:1"),
    case(lambda x: ops.dot(x, 2.0), (6, 5), "Mul:1"),
    case(lambda xs: ops.dot(*xs), [(6, 5), (5, 4)]),
    case(lambda x: ops.tensordot(x, weights(6, 5, 4), axes=2), (6, 5), "Gemm:1,Reshape:1"),
    case(lambda x: ops.tensordot(x, weights(5, 6, 4), axes=[[1, -1], [1, 0]]), (6, 5), "Gemm:1,Reshape:1"),
    case(lambda x: ops.tensordot(x, weights(2, 3), axes=0), (6, 5)),
    case(lambda xs: ops.tensordot(*xs, axes=[[1, 2], [1, 2]]), [(6, 5), (6, 5)]),
    case(lambda x: ops.inner(x, weights(4, 5)), (6, 5), "MatMul:1"),
    case(lambda x: ops.vdot(x, x), (5,)),
    case(lambda x: ops.outer(x, weights(3)), (5,), "Mul:1,Reshape:1"),
    case(lambda x: ops.kron(x, weights(2, 3)), (5,), "Mul:1,Reshape:2"),
    case(lambda xs: ops.cross(*xs), [(4, 3), (4, 3)], "Gather:4,Mul:2,Sub:1"),
    case(lambda xs: ops.cross(*xs), [(4, 2), (4, 2)]),
    case(lambda xs: ops.cross(*xs), [(4, 2), (4, 3)]),
    case(lambda xs: ops.cross(*xs, axisa=1, axisb=2, axisc=1), [(3, 4), (4, 3)]),
    case(lambda x: ops.diagonal(x, axis1=1, axis2=2), (4, 5), "Reshape:1,Slice:1"),
    case(lambda x: ops.diagonal(x, offset=-1, axis1=1, axis2=2), (6, 3)),
    case(lambda x: ops.diagonal(x, offset=1, axis1=3, axis2=1), (4, 2, 5)),
    case(lambda x: ops.trace(x, axis1=1, axis2=-1), (4, 5)),
    case(lambda x: ops.trace(x, offset=-1, axis1=1, axis2=2), (4, 5), dtype="int8"),
    case(lambda x: ops.diag(ops.mean(x, axis=0), k=2), (5,)),
    case(lambda x: ops.diag(ops.mean(x, axis=0), k=-2), (5,)),
    case(lambda x: ops.diag(ops.mean(x, axis=0), k=1), (3, 5)),
    case(lambda x: ops.diagflat(ops.mean(x, axis=0), k=-1), (3, 2)),
]


def einsum_dense(equation: str, shape: Any, size: Any, expects: str, bias: str | None = None) -> Case:
    return case(layers.EinsumDense, shape, expects, equation=equation, output_shape=size, bias_axes=bias)


EINSUM_DENSE = [
    einsum_dense("abc,bd->adc", (6, 5), (4, 5), "Add:1,Conv:1", "dc"),
    einsum_dense("abc,cde->abde", (6, 5), (None, 2, 3), "Add:1,MatMul:1,Reshape:1", "e"),
    einsum_dense("abc,cde->aebd", (6, 5), (3, None, 2), "Add:1,MatMul:1,Reshape:1,Transpose:1", "ed"),
    einsum_dense("...ab,b->...a", (6, 5), (None,), "MatMul:1"),
    einsum_dense("ab...,bc->ac...", (6, 5), (4,), "Conv:1"),
    einsum_dense("ab,bcd->acd", (6,), (4, 3), "Gemm:1,Reshape:1", "c"),
    einsum_dense("abcd,cd->ab", (6, 2, 3), (None,), "MatMul:1,Reshape:1"),
    einsum_dense("BTD,DF->BTF", (6, 5), (None, 4), "Add:1,MatMul:1", "F"),
    einsum_dense("abc,cd->adb", (6, 5), (4, None), "Add:1,MatMul:1,Transpose:1", "d"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@parametrize(EINSUMS)
def test_einsum(item: Case) -> None:
    item.check()


@parametrize(PRODUCTS)
def test_products_and_diagonals(item: Case) -> None:
    item.check()


@parametrize(EINSUM_DENSE)
def test_einsum_dense(item: Case) -> None:
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


def _random_equation(seed: int) -> Case:
    """Two or three operands over a batch and up to four other axes, any of them kept or summed, in any order."""
    rng = np.random.default_rng(seed)
    sizes = dict(zip("cdef", (2, 3, 1, 4), strict=True))

    def some(letters: str, least: int = 0) -> str:
        count = int(rng.integers(least, len(letters) + 1))
        return "".join(rng.permutation(list(letters))[:count])

    terms = ["b" + some("cdef", 1) for _ in range(int(rng.integers(2, 4)))]
    operands: list[Any] = [tuple(sizes[letter] for letter in term[1:]) for term in terms]
    if rng.random() < 0.5:
        terms[-1] = some("cdef", 1)
        operands[-1] = weights(*(sizes[letter] for letter in terms[-1]))
    kept = some("".join(sorted(set("".join(terms)) - {"b"})))
    result = "".join(rng.permutation(list("b" + kept)))
    return einsum(",".join(terms) + "->" + result, *operands)


@pytest.mark.parametrize("seed", range(30))
def test_random_equations(seed: int) -> None:
    converted = _random_equation(seed).check()
    assert "Einsum" not in operations(converted)
