"""Decompositions of matrices of known size, and what follows from singular values: loops with a fixed number of steps.

1. QR: Householder's reflections (Golub and Van Loan, "Matrix Computations", 5.1) with the signs of LAPACK's geqrf and
   of Eigen, which TensorFlow runs: each diagonal element of R has the sign opposite to that of its column's first
   element, and a column with nothing below the diagonal is left alone.
2. LU: elimination with row pivots, as getrf.
3. Singular values: Hestenes's one-sided Jacobi method (1958; Golub and Van Loan 8.6.3). Two columns at a time are
   turned until they are orthogonal; n / 2 disjoint pairs at once, in the order of a round-robin tournament, so that
   each step of the loop is the same. It converges quadratically: every pair 6 + log2(n) times is beyond what float32
   can show (random, graded, singular and integer matrices of 2 to 64 columns: error below 5e-6, as TensorFlow's).
4. Eigenvalues of a symmetric matrix: the same, of the matrix plus its largest sum of a row's magnitudes, which has
   positive eigenvalues; its columns then become eigenvectors themselves.

A singular vector or an eigenvector has no sign of its own. Here the largest component of each eigenvector, and of each
left singular vector, is positive; LAPACK and Eigen leave it to the path of their iteration.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import linalg
from converters.openings.common import cast, dtype_of, floats, known
from converters.registry import opens


def _sizes(x: Any) -> tuple[int, int]:
    return known(x.shape[-2], "the number of rows"), known(x.shape[-1], "the number of columns")


def _eye_beside(x: Any, n: int) -> Any:
    """An identity matrix for each matrix."""
    return ops.add(ops.zeros_like(x[..., :1, :1]), np.eye(n, dtype=dtype_of(x)))


def _unit(n: int, k: Any, dtype: str) -> Any:
    """The k-th unit vector as a column."""
    return ops.expand_dims(ops.cast(ops.equal(np.arange(n, dtype=np.int32), ops.cast(k, "int32")), dtype), -1)


def _transposed(x: Any) -> Any:
    return ops.swapaxes(x, -1, -2)


@opens(linalg.Qr)
def qr(op: Any, x: Any) -> Any:
    (x,) = floats(x)
    m, n = _sizes(x)
    k = m if op.mode == "complete" else min(m, n)
    q, r = _householder(x)
    return q[..., :k], r[..., :k, :]


def _householder(x: Any) -> tuple[Any, Any]:
    """Q of all rows, and R."""
    m, n = _sizes(x)
    dtype = dtype_of(x)

    def reflect(k: Any, state: Any) -> Any:
        r, q = state
        below = ops.expand_dims(ops.greater(np.arange(m, dtype=np.int32), ops.cast(k, "int32")), -1)
        column = ops.matmul(r, _unit(n, k, dtype))
        here = _unit(m, k, dtype)
        first = ops.sum(ops.multiply(column, here), axis=-2, keepdims=True)
        tail = ops.where(below, column, 0.0)
        rest = ops.sum(ops.square(tail), axis=-2, keepdims=True)
        length = ops.sqrt(ops.add(ops.square(first), rest))
        lead = ops.add(first, ops.where(ops.less(first, 0.0), ops.negative(length), length))
        v = ops.where(ops.equal(rest, 0.0), 0.0, ops.add(tail, ops.multiply(lead, here)))
        scaled = ops.multiply(v, ops.divide_no_nan(2.0, ops.sum(ops.square(v), axis=-2, keepdims=True)))
        r = ops.subtract(r, ops.matmul(scaled, ops.matmul(_transposed(v), r)))
        return r, ops.subtract(q, ops.matmul(ops.matmul(q, v), _transposed(scaled)))

    scale = _largest(x)
    r, q = ops.fori_loop(0, min(m - 1, n), reflect, (ops.divide(x, scale), _eye_beside(x, m)))
    return q, ops.multiply(ops.where(np.triu(np.ones((m, n), bool)), r, 0.0), scale)


def _largest(x: Any) -> Any:
    """The largest magnitude of each matrix, 1 for zeros: what to divide by so that no square leaves the dtype."""
    largest = ops.max(ops.abs(x), axis=(-2, -1), keepdims=True)
    return ops.where(ops.equal(largest, 0.0), 1.0, largest)


@opens(linalg.LuFactor, own_dtype=True)  # Keras says floats of the permutation, which are int32
def lu_factor(op: Any, x: Any) -> Any:
    """L below the diagonal and U in one, and the place to which each row went."""
    (x,) = floats(x)
    m, n = _sizes(x)
    dtype = dtype_of(x)
    rows, columns = np.arange(m, dtype=np.int32), np.arange(n, dtype=np.int32)

    def eliminate(k: Any, joined: Any) -> Any:
        number = ops.cast(k, "int32")
        column = ops.matmul(joined[..., :n], _unit(n, k, dtype))
        candidates = ops.where(ops.expand_dims(ops.less(rows, number), -1), -1.0, ops.abs(column))
        chosen = ops.cast(ops.equal(ops.argmax(candidates, axis=-2, keepdims=True), rows[:, None]), dtype)
        swap = ops.subtract(chosen, _unit(m, k, dtype))
        joined = ops.subtract(joined, ops.matmul(swap, ops.matmul(_transposed(swap), joined)))
        column = ops.matmul(joined[..., :n], _unit(n, k, dtype))
        top = ops.matmul(_transposed(_unit(m, k, dtype)), joined)
        pivot = ops.matmul(top[..., :n], _unit(n, k, dtype))
        below = ops.expand_dims(ops.greater(rows, number), -1)
        factors = ops.where(below, ops.divide(column, pivot), 0.0)
        right = np.concatenate([columns, np.full(m, -1, np.int32)])  # not the permutation's part
        top = ops.where(ops.greater(right, number), top, 0.0)
        joined = ops.subtract(joined, ops.matmul(factors, top))
        stored = ops.multiply(ops.subtract(factors, ops.where(below, column, 0.0)), _transposed(_unit(n + m, k, dtype)))
        return ops.add(joined, stored)

    joined = ops.concatenate([x, _eye_beside(x, m)], axis=-1)
    joined = ops.fori_loop(0, min(m - 1, n), eliminate, joined)
    return joined[..., :n], ops.argmax(joined[..., n:], axis=-2)


def _orthogonalized(x: Any, *, following: Any = None) -> Any:
    """The columns of x (m rows, n columns) turned until they are orthogonal, in no order; and below them, the columns
    of ``following`` turned with them.
    """
    m, n = _sizes(x)
    columns = x if following is None else ops.concatenate([x, following], axis=-2)
    if n == 1:
        return columns
    half = (n + 1) // 2
    if n % 2:
        columns = ops.pad(columns, [(0, 0)] * (len(x.shape) - 1) + [(0, 1)])

    def turn(_: Any, pairs: Any) -> Any:
        left, right = pairs
        a, b = left[..., :m, :], right[..., :m, :]
        inner, outer = (ops.sum(ops.multiply(y, z), axis=-2, keepdims=True) for y, z in ((a, b), (b - a, b + a)))
        twice = ops.multiply(inner, 2.0)
        root = ops.sqrt(ops.add(ops.square(outer), ops.square(twice)))
        signed = ops.where(ops.less(outer, 0.0), ops.negative(twice), twice)
        tangent = ops.divide_no_nan(signed, ops.add(ops.abs(outer), root))
        cosine = ops.divide(1.0, ops.sqrt(ops.add(ops.square(tangent), 1.0)))
        sine = ops.multiply(cosine, tangent)
        ratio = ops.divide(sine, ops.add(cosine, 1.0))  # so that nothing changes where there is nothing to turn
        left, right = (
            ops.subtract(left, ops.multiply(sine, ops.add(right, ops.multiply(ratio, left)))),
            ops.add(right, ops.multiply(sine, ops.subtract(left, ops.multiply(ratio, right)))),
        )
        if half == 1:
            return left, right
        return (  # the first stays, all others go round one place
            ops.concatenate([left[..., :1], right[..., :1], left[..., 1 : half - 1]], axis=-1),
            ops.concatenate([right[..., 1:], left[..., half - 1 :]], axis=-1),
        )

    steps = (6 + math.ceil(math.log2(n))) * (2 * half - 1)  # a round of the tournament is 2 * half - 1 of them
    pairs = ops.fori_loop(0, steps, turn, (columns[..., :half], columns[..., half:]))
    return ops.concatenate(pairs, axis=-1)[..., :n]


def _lengths(columns: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(columns), axis=-2))


def _upright(vectors: Any) -> Any:
    """1 or -1 for each column: what makes its largest component positive."""
    place = ops.argmax(ops.abs(vectors), axis=-2, keepdims=True)
    largest = ops.take_along_axis(vectors, place, axis=-2)
    return ops.where(ops.less(largest, 0.0), cast(-1.0, dtype_of(vectors)), cast(1.0, dtype_of(vectors)))


def singular_values(x: Any) -> Any:
    """The singular values, falling, (…, min(m, n))."""
    (x,) = floats(x)
    m, n = _sizes(x)
    scale = _largest(x)
    columns = _orthogonalized(ops.divide(x if m >= n else _transposed(x), scale))
    return ops.multiply(ops.top_k(_lengths(columns), min(m, n))[0], ops.squeeze(scale, -1))


@opens(linalg.SVD)
def svd(op: Any, x: Any) -> Any:
    """U, the singular values, V transposed.

    Of orthogonal columns of falling length, R is diagonal: Q holds them as unit vectors, and completes those of zeros.
    """
    if not op.compute_uv:
        return singular_values(x)
    (x,) = floats(x)
    m, n = _sizes(x)
    wide = m < n
    x = _transposed(x) if wide else x
    m, n = max(m, n), min(m, n)
    scale = _largest(x)
    found = _orthogonalized(ops.divide(x, scale), following=_eye_beside(x, n))
    lengths, order = ops.top_k(_lengths(found[..., :m, :]), n)
    found = ops.take_along_axis(found, ops.expand_dims(order, -2), axis=-1)
    q, r = _householder(found[..., :m, :])
    diagonal = ops.sum(ops.multiply(r[..., :n, :], np.eye(n, dtype=dtype_of(x))), axis=-2, keepdims=True)
    left, right = q[..., :n], ops.where(ops.less(diagonal, 0.0), ops.negative(found[..., m:, :]), found[..., m:, :])
    sign = _upright(right if wide else left)
    left, right = ops.multiply(left, sign), ops.multiply(right, sign)
    if op.full_matrices and m > n:
        left = ops.concatenate([left, q[..., n:]], axis=-1)
    values = ops.multiply(lengths, ops.squeeze(scale, -1))
    return (right, values, _transposed(left)) if wide else (left, values, _transposed(right))


@opens(linalg.Eigh)
def eigh(op: Any, x: Any) -> Any:
    """Rising eigenvalues and their vectors, of the lower triangle as in Keras."""
    (x,) = floats(x)
    n, _ = _sizes(x)
    x = ops.where(np.tril(np.ones((n, n), bool)), x, _transposed(x))
    scale = _largest(x)
    x = ops.divide(x, scale)
    shift = ops.add(ops.max(ops.sum(ops.abs(x), axis=-1, keepdims=True), axis=-2, keepdims=True), 1.0)
    columns = _orthogonalized(ops.add(x, ops.multiply(shift, np.eye(n, dtype=dtype_of(x)))))
    vectors = ops.divide(columns, ops.expand_dims(_lengths(columns), -2))
    values = ops.sum(ops.multiply(vectors, ops.matmul(x, vectors)), axis=-2)
    order = ops.argsort(values, axis=-1)
    vectors = ops.take_along_axis(vectors, ops.expand_dims(order, -2), axis=-1)
    values = ops.multiply(ops.take_along_axis(values, order, axis=-1), ops.squeeze(scale, -1))
    return values, ops.multiply(vectors, _upright(vectors))


def _inverse(x: Any, cutoff: float, *, inclusive: bool) -> Any:
    """The pseudo-inverse, without the singular values that are below ``cutoff`` times the largest (or at it)."""
    (x,) = floats(x)
    m, n = _sizes(x)
    tall = x if m >= n else _transposed(x)
    k = min(m, n)
    scale = _largest(x)
    found = _orthogonalized(ops.divide(tall, scale), following=_eye_beside(x, k))
    turned, right = found[..., : max(m, n), :], found[..., max(m, n) :, :]
    squares = ops.sum(ops.square(turned), axis=-2, keepdims=True)
    bound = ops.multiply(ops.sqrt(ops.max(squares, axis=-1, keepdims=True)), cutoff)
    counts = (ops.greater_equal if inclusive else ops.greater)(ops.sqrt(squares), bound)
    weights = ops.where(counts, ops.divide_no_nan(1.0, squares), 0.0)
    inverse = ops.divide(ops.matmul(ops.multiply(right, weights), _transposed(turned)), scale)
    return inverse if m >= n else _transposed(inverse)


def _epsilon(x: Any) -> float:
    return float(np.finfo(dtype_of(floats(x)[0])).eps)


@opens(linalg.Pinv)
def pinv(op: Any, x: Any) -> Any:
    """Without ``rcond`` it is 10 times the larger size times the spacing of 1, as TensorFlow has it."""
    cutoff = 10.0 * max(_sizes(x)) * _epsilon(x) if op.rcond is None else float(op.rcond)
    return _inverse(x, cutoff, inclusive=False)


@opens(linalg.Lstsq)
def lstsq(op: Any, a: Any, b: Any) -> Any:
    """The pseudo-inverse times b."""
    cutoff = max(_sizes(a)) * _epsilon(a) if op.rcond is None else float(op.rcond)
    cutoff = _epsilon(a) if cutoff < 0 else cutoff
    return ops.matmul(_inverse(a, cutoff, inclusive=True), floats(a, b)[1])


@opens(linalg.MatrixRank)
def matrix_rank(op: Any, x: Any) -> Any:
    """How many singular values are above ``tol``; without it the larger size times the spacing of 1 of the largest."""
    values = singular_values(x)
    bound = op.tol
    if bound is None:
        bound = ops.multiply(values[..., :1], max(_sizes(x)) * _epsilon(x))
    return ops.sum(ops.cast(ops.greater(values, bound), "int32"), axis=-1)


def spectral_norm(x: Any, order: Any, axes: tuple[int, int], *, keepdims: bool) -> Any:
    """The norms of matrices over two axes that are the largest (2), the smallest (-2) or the sum (nuc) of these."""
    values = singular_values(ops.moveaxis(x, axes, (-2, -1)))
    y = {2: ops.max, -2: ops.min, "nuc": ops.sum}[order](values, axis=-1)
    return ops.expand_dims(y, tuple(sorted(axis % len(x.shape) for axis in axes))) if keepdims else y
