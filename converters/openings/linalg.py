"""Linear algebra of small matrices, unrolled: elimination with a fixed number of steps.

ONNX has no node for these that TensorRT reads. The number of steps is the matrix's size, at most `LARGEST`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import linalg
from converters.keras_internals import math as kmath
from converters.keras_internals import numpy as knp
from converters.openings.common import dtype_of, floats, known
from converters.registry import opens
from deploy.errors import ConversionError

LARGEST = 32


def _size(x: Any) -> int:
    n = known(x.shape[-1], "the size of a matrix")
    if n > LARGEST:
        raise ConversionError(
            f"a matrix of {n} rows is too large to unroll its elimination",
            expected=f"at most {LARGEST} rows",
            fix="solve it outside of the model, or by an iteration of keras.ops.matmul",
        )
    return n


def _eliminated(a: Any, b: Any, divide: Any = ops.divide) -> tuple[Any, Any]:
    """Gauss and Jordan's elimination of [a | b] with row pivots: a^-1 b, and the determinant of a.

    ``divide``: how a row is divided by its pivot, which is 0 where a is singular.
    """
    n = _size(a)
    joined = ops.concatenate([a, b], axis=-1)
    determinant = None
    for k in range(n):
        below = np.arange(n) >= k
        column = joined[..., :, k]
        pivot = ops.argmax(ops.where(below, ops.abs(column), -1.0), axis=-1)
        chosen = ops.cast(ops.equal(ops.expand_dims(pivot, -1), np.arange(n, dtype=np.int32)), dtype_of(a))
        here = (np.arange(n) == k).astype(np.float32)
        top = ops.matmul(ops.expand_dims(chosen, -2), joined)  # the pivot's row, (…, 1, columns)
        old = joined[..., k : k + 1, :]
        moved = ops.multiply(ops.expand_dims(ops.subtract(chosen, here), -1), ops.subtract(old, top))
        joined = ops.add(joined, moved)  # rows k and pivot have changed places
        value = top[..., 0, k]
        swapped = ops.subtract(ops.multiply(ops.cast(ops.equal(pivot, k), dtype_of(a)), 2.0), 1.0)
        signed = ops.multiply(value, swapped)
        determinant = signed if determinant is None else ops.multiply(determinant, signed)
        row = divide(top, ops.expand_dims(ops.expand_dims(value, -1), -1))
        factors = ops.subtract(joined[..., :, k : k + 1], here[:, None])
        joined = ops.subtract(joined, ops.multiply(factors, row))
    return joined[..., :, n:], determinant


def _eye_like(x: Any) -> Any:
    return ops.add(ops.zeros_like(x), np.eye(_size(x), dtype=dtype_of(x)))


@opens(linalg.Inv)
def inv(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return _eliminated(x, _eye_like(x))[0]


@opens(linalg.Det)
def det(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    return _eliminated(x, _eye_like(x)[..., :1], ops.divide_no_nan)[1]


@opens(knp.Slogdet)
def slogdet(op: Any, x: Any) -> Any:
    determinant = ops.det(x)
    return ops.sign(determinant), ops.log(ops.abs(determinant))


@opens(kmath.Logdet)
def logdet(op: Any, x: Any) -> Any:
    return ops.log(ops.det(x))


@opens(linalg.Solve)
def solve(op: Any, a: Any, b: Any) -> Any:
    a, b = floats(a, b)
    if len(b.shape) == len(a.shape) - 1:
        return ops.squeeze(_eliminated(a, ops.expand_dims(b, -1))[0], -1)
    return _eliminated(a, b)[0]


@opens(linalg.SolveTriangular)
def solve_triangular(op: Any, a: Any, b: Any) -> Any:
    """Substitution, row by row."""
    a, b = floats(a, b)
    vector = len(b.shape) == len(a.shape) - 1
    b = ops.expand_dims(b, -1) if vector else b
    n = _size(a)
    rows: dict[int, Any] = {}
    for i in range(n) if op.lower else reversed(range(n)):
        rest = b[..., i : i + 1, :]
        for j, row in rows.items():
            rest = ops.subtract(rest, ops.multiply(a[..., i : i + 1, j : j + 1], row))
        rows[i] = ops.divide(rest, a[..., i : i + 1, i : i + 1])
    y = ops.concatenate([rows[i] for i in range(n)], axis=-2)
    return ops.squeeze(y, -1) if vector else y


@opens(linalg.Cholesky)
def cholesky(op: Any, x: Any) -> Any:
    """The factor column by column: each is what is left of the matrix's, over the root of its pivot."""
    (x,) = floats(x)
    n = _size(x)
    columns = []
    for k in range(n):
        column = ops.where(
            np.arange(n)[:, None] >= k, ops.divide(x[..., k : k + 1], ops.sqrt(x[..., k : k + 1, k : k + 1])), 0.0
        )
        columns.append(column)
        x = ops.subtract(x, ops.matmul(column, ops.swapaxes(column, -1, -2)))
    y = ops.concatenate(columns, axis=-1)
    return ops.swapaxes(y, -1, -2) if op.upper else y


@opens(linalg.CholeskyInverse)
def cholesky_inverse(op: Any, x: Any) -> Any:
    """(L L^T)^-1 = L^-T L^-1."""
    (x,) = floats(x)
    lower = ops.swapaxes(x, -1, -2) if op.upper else x
    inverse = ops.solve_triangular(lower, _eye_like(lower), lower=True)
    return ops.matmul(ops.swapaxes(inverse, -1, -2), inverse)
