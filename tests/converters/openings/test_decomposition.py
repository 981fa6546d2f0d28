"""QR, LU, singular values and eigenvalues, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from converters.convert import convert_model
from tests.converters.checking import Array, Case, case, check_graph, parametrize, run_session

RANK_ONE = np.asarray([[1.0, 2.0, 0.5]], np.float32)

CASES = [
    case(ops.qr, (3, 3)),
    case(ops.qr, (2, 5, 3)),
    case(ops.qr, (3, 12)),
    case(lambda x: ops.qr(x, mode="complete"), (5, 3)),
    case(lambda x: ops.qr(ops.triu(x)), (3, 3)),
    case(lambda x: ops.svd(x, compute_uv=False), (4, 4)),
    case(lambda x: ops.svd(x, compute_uv=False), (2, 3, 12)),
    case(lambda x: ops.eigh(x)[0], (4, 4)),
    case(ops.pinv, (5, 3)),
    case(ops.pinv, (3, 5)),
    case(lambda x: ops.pinv(ops.matmul(x, RANK_ONE)), (4, 1)),
    case(lambda x: ops.pinv(x, rcond=0.5), (3, 3)),
    case(ops.matrix_rank, (4, 4)),
    case(lambda x: ops.matrix_rank(ops.matmul(x, RANK_ONE)), (4, 1)),
    case(lambda x: ops.matrix_rank(x, tol=1.0), (4, 4)),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("columns", [(), (2,)])
def test_least_squares(columns: tuple[int, ...]) -> None:
    _of_one((5, 3), (5, *columns), ops.lstsq)


def test_lu_factor() -> None:
    """A pivot in another row each time."""
    _of_one((4, 4), (4, 4), lambda a, b: (*ops.lu_factor(a), ops.lu_factor(ops.flip(b, 0))[0]))


def _of_one(first: tuple[int, ...], second: tuple[int, ...], function: Callable[[Any, Any], Any]) -> None:
    """A function of two matrices without a batch, compared with Keras."""
    rng = np.random.default_rng(2)
    inputs = [keras.Input(batch_shape=shape, name=f"x{i}") for i, shape in enumerate((first, second))]

    class Layer(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type information
        def call(self, xs: Any) -> Any:
            return function(*xs)

    converted = convert_model(keras.Model(inputs, Layer()(inputs)))
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in (first, second)]
    expected = [ops.convert_to_numpy(x) for x in keras.tree.flatten(function(*arrays))]
    for got, wanted in zip(run_session(check_graph(converted))(arrays), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5 * max(1.0, float(np.abs(wanted).max())))


def _matrices(shape: tuple[int, int], seed: int = 3) -> Array:
    """Random, graded, of rank 1, of repeated singular values, zero."""
    rng = np.random.default_rng(seed)
    m, n = shape
    one = rng.standard_normal((m, 1)) @ rng.standard_normal((1, n))
    graded = rng.standard_normal(shape) * np.logspace(0, -3, n)
    return np.stack([rng.standard_normal(shape), graded, one, np.eye(m, n), np.zeros(shape)]).astype(np.float32)


def _run(function: Any, shape: tuple[int, int], x: Array) -> list[Array]:
    converted = convert_model(Case(function, shape).model())
    return run_session(check_graph(converted))([x])


def _largest_is_positive(vectors: Array) -> bool:
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(-2, keepdims=True), -2)
    return bool((largest > 0).all())


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (6, 3), (3, 4), (16, 9)])
def test_singular_vectors(shape: tuple[int, int], full: bool) -> None:
    """Orthonormal, falling, the factors of the matrix; each left one with its largest component positive."""
    x, k = _matrices(shape), min(shape)
    u, s, v = _run(lambda x: ops.svd(x, full_matrices=full), shape, x)
    np.testing.assert_allclose(u[..., :k] * s[..., None, :] @ v[..., :k, :], x, atol=1e-5)
    for vectors in (np.swapaxes(u, -1, -2), v):
        identity = np.broadcast_to(np.eye(vectors.shape[-2]), (5, vectors.shape[-2], vectors.shape[-2]))
        np.testing.assert_allclose(vectors @ np.swapaxes(vectors, -1, -2), identity, atol=1e-5)
    assert (np.diff(s) <= 1e-6).all()
    np.testing.assert_allclose(s, np.linalg.svd(x, compute_uv=False), atol=1e-5)
    assert _largest_is_positive(u[..., :k])


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_eigenvectors(size: int) -> None:
    """Orthonormal, rising, of the lower triangle; each with its largest component positive."""
    x = _matrices((size, size))
    lower = np.tril(x) + np.swapaxes(np.tril(x, -1), -1, -2)
    values, vectors = _run(ops.eigh, (size, size), x)
    np.testing.assert_allclose(lower @ vectors, vectors * values[..., None, :], atol=1e-5)
    np.testing.assert_allclose(
        np.swapaxes(vectors, -1, -2) @ vectors, np.broadcast_to(np.eye(size), x.shape), atol=1e-5
    )
    np.testing.assert_allclose(values, np.linalg.eigvalsh(lower), atol=1e-5)
    assert _largest_is_positive(vectors)


def test_a_loop_has_one_body_for_any_size() -> None:
    small, large = (len(list(convert_model(_norm(n)).model.graph.all_nodes())) for n in (10, 24))
    assert small == large


def _norm(size: int) -> keras.Model:
    return Case(lambda x: ops.norm(x, ord=2, axis=(1, 2)), (size, size)).model()
