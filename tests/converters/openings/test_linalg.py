"""Linear algebra of small matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, case, parametrize


def definite(x: Any) -> Any:
    """A symmetric positive definite matrix."""
    return ops.matmul(x, ops.swapaxes(x, -1, -2)) + ops.eye(x.shape[-1])


CASES = [
    case(ops.inv, (4, 4)),
    case(ops.inv, (2, 1, 1)),
    case(ops.det, (4, 4)),
    case(ops.slogdet, (3, 3)),
    case(lambda x: ops.logdet(definite(x)), (3, 3)),
    case(lambda xs: ops.solve(xs[0], xs[1]), [(4, 4), (4, 2)]),
    case(lambda xs: ops.solve(xs[0], xs[1]), [(4, 4), (4,)]),
    case(lambda xs: ops.solve_triangular(xs[0] + ops.eye(4) * 3, xs[1], lower=True), [(4, 4), (4, 2)]),
    case(lambda xs: ops.solve_triangular(xs[0] + ops.eye(4) * 3, xs[1]), [(4, 4), (4,)]),
    case(lambda x: ops.cholesky(definite(x)), (4, 4)),
    case(lambda x: ops.cholesky(definite(x), upper=True), (4, 4)),
    case(lambda x: ops.cholesky_inverse(ops.cholesky(definite(x))), (4, 4)),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_the_determinant_of_a_singular_matrix_is_zero() -> None:
    case(lambda x: ops.slogdet(ops.multiply(x, np.asarray([1.0, 0.0, 1.0], np.float32))), (3, 3)).check()


def test_complex_eigenvalues_are_refused_with_the_reason() -> None:
    with pytest.raises(ConversionError, match="complex numbers"):
        convert_model(Case(ops.eig, (4, 4)).model())


def test_a_large_matrix_is_refused() -> None:
    with pytest.raises(ConversionError, match="33 rows"):
        convert_model(Case(ops.inv, (33, 33)).model())
