"""What a case is compared with where it is not simply what Keras's TensorFlow backend gives.

1. `BY_NUMPY`: functions in which that backend does not do what Keras documents, while its JAX backend does (3.15.1, run
   on the same values): `rot90` with k=2 multiplies the sizes in the wrong order, `unravel_index` of more than one axis
   counts the axes from the wrong end, `nextafter` takes the next number of float64 and rounds it back. NumPy has
   the documented meaning, and the result must equal it in every bit.
2. `upright`: singular vectors and eigenvectors have no sign of their own, and those that complete a basis no direction:
   they are compared by the sign of their largest component in Keras's result, the completing ones by the projection on
   what they span.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from benchmarks.conformance.cases import NAMES, Array, Case


def _nextafter(x: Array, y: Array) -> Array:
    dtype = keras.backend.result_type(str(x.dtype), str(y.dtype), float)
    with np.errstate(over="ignore"):
        return np.asarray(np.nextafter(x.astype(dtype), y.astype(dtype)))


BY_NUMPY: dict[str, Callable[..., Any]] = {
    "ops.nextafter": _nextafter,
    "ops.rot90": np.rot90,
    "ops.unravel_index": np.unravel_index,
}


def is_exact(case: Case) -> bool:
    """Whether a generated case is compared with NumPy; those of Keras's own tests are no expressions."""
    return bool(case.inputs) and case.subject in BY_NUMPY


def numpy_result(case: Case, inputs: Sequence[Array]) -> list[Array]:
    """A case's expression with NumPy's function in the place of Keras's."""
    name = case.subject.partition(".")[2]
    scope: dict[str, Any] = {"ops": types.SimpleNamespace(**{name: BY_NUMPY[case.subject]})}
    result = eval(case.expression, scope, dict(zip(NAMES, inputs, strict=False)))
    return [np.asarray(x) for x in (result if isinstance(result, tuple) else (result,))]


def upright(case: Case, outputs: Sequence[Array], like: Sequence[Array]) -> list[Array]:
    """The outputs with each vector turned as the one in ``like`` has its largest component positive."""
    if case.subject == "ops.eigh" and len(outputs) == 2:
        values, vectors = outputs
        return [values, vectors * _signs(vectors, like[1])]
    if case.subject == "ops.svd" and len(outputs) == 3:
        u, s, v = outputs
        k = s.shape[-1]
        signs = _signs(u[..., :k], like[0][..., :k])
        left, right = u[..., :k] * signs, v[..., :k, :] * np.swapaxes(signs, -1, -2)
        more, rest = u[..., k:], v[..., k:, :]
        return [left, s, right, more @ np.swapaxes(more, -1, -2), np.swapaxes(rest, -1, -2) @ rest]
    return list(outputs)


def _signs(vectors: Array, like: Array) -> Array:
    place = np.abs(like).argmax(-2, keepdims=True)
    return np.asarray(np.where(np.take_along_axis(vectors, place, -2) < 0, -1, 1).astype(vectors.dtype))
