"""Matrix products: matmul, dot, inner, tensordot, einsum and their like, all by `contraction`."""

from __future__ import annotations

import itertools
import string
from typing import Any

import numpy as np

from converters import equation, layout
from converters.builder import Builder, Tensor
from converters.keras_internals import numpy as knp
from converters.lowerings.broadcasting import Operand, as_tensor, cast, elementwise
from converters.lowerings.contraction import Term, contract, joined, total
from converters.lowerings.diagonal import diagonal
from converters.lowerings.quantized import by_floats
from converters.registry import lowers

_LETTERS = string.ascii_letters


def multiply(g: Builder, a: Operand, a_axes: str, b: Operand, b_axes: str, out: str) -> Tensor:
    """The product of two operands by the letters of their axes, in the dtype of the operation at hand.

    ONNX Runtime multiplies matrices of floats and of 32- and 64-bit integers; others go by int32.
    """
    dtype = g.out.dtype
    kind = "int32" if dtype in ("bool", "int8", "uint8", "int16", "uint16") else dtype
    terms = [
        Term(cast(g, x, kind) if isinstance(x, Tensor) else np.asarray(x, kind), axes)
        for x, axes in ((a, a_axes), (b, b_axes))
    ]
    return cast(g, contract(g, terms[0], terms[1], out), dtype)


def _rank(x: Operand) -> int:
    return x.rank if isinstance(x, Tensor) else np.ndim(x)


@lowers(knp.Matmul)
@by_floats
def matmul(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Numpy's: leading axes broadcast, a vector is a row on the left and a column on the right."""
    batch = _LETTERS[: max(_rank(x1), _rank(x2), 2) - 2]
    left = "Z" if _rank(x1) == 1 else batch[len(batch) - _rank(x1) + 2 :] + "YZ"
    right = "Z" if _rank(x2) == 1 else batch[len(batch) - _rank(x2) + 2 :] + "ZX"
    out = batch + ("Y" if _rank(x1) > 1 else "") + ("X" if _rank(x2) > 1 else "")
    return multiply(g, x1, left, x2, right, out)


@lowers(knp.Dot)
@by_floats
def dot(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Over the last axis of the first and the last but one of the second."""
    if not _rank(x1) or not _rank(x2):
        return elementwise(g, "Mul", x1, x2, dtype=g.out.dtype)
    return _over(g, x1, x2, [_rank(x1) - 1], [max(_rank(x2) - 2, 0)])


@lowers(knp.Inner)
def inner(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Over the last axis of both."""
    if not _rank(x1) or not _rank(x2):
        return elementwise(g, "Mul", x1, x2, dtype=g.out.dtype)
    return _over(g, x1, x2, [_rank(x1) - 1], [_rank(x2) - 1])


@lowers(knp.Tensordot)
def tensordot(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Over the given pairs of axes, or the last of the first and the first of the second."""
    if isinstance(op.axes, int):
        left = list(range(_rank(x1) - op.axes, _rank(x1)))
        right = list(range(op.axes))
    else:
        left, right = ([a] if isinstance(a, int) else list(a) for a in op.axes)
    return _over(g, x1, x2, [a % _rank(x1) for a in left], [a % _rank(x2) for a in right])


def _over(g: Builder, x1: Operand, x2: Operand, left: list[int], right: list[int]) -> Tensor:
    """The product summed over pairs of axes; the others, of the first and then of the second, are the result's."""
    first, rest = _LETTERS[: _rank(x1)], _LETTERS[_rank(x1) : _rank(x1) + _rank(x2)]
    second = "".join(first[left[right.index(a)]] if a in right else rest[a] for a in range(_rank(x2)))
    kept = [letter for letter in first + second if (first + second).count(letter) == 1]
    return multiply(g, x1, first, x2, second, "".join(kept))


@lowers(knp.Vdot)
def vdot(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Of the flattened operands."""
    return multiply(g, _flat(g, x1), "a", _flat(g, x2), "a", "")


@lowers(knp.Outer)
def outer(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Of the flattened operands."""
    return multiply(g, _flat(g, x1), "a", _flat(g, x2), "b", "ab")


def _flat(g: Builder, x: Operand) -> Operand:
    if not isinstance(x, Tensor):
        return np.ravel(x)
    return x if x.rank == 1 else g.reshape(x, (joined(x.shape),))


@lowers(knp.Kron)
def kron(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """The outer product with the axes of the two interleaved, then joined in pairs."""
    rank = max(_rank(x1), _rank(x2))
    a, b = (_padded(g, x, rank) for x in (x1, x2))
    first, second = _LETTERS[:rank], _LETTERS[rank : 2 * rank]
    out = "".join(itertools.chain.from_iterable(zip(first, second, strict=True)))
    return g.reshape(multiply(g, a, first, b, second, out), tuple(g.out.shape))


def _padded(g: Builder, x: Operand, rank: int) -> Operand:
    shape = (1,) * (rank - _rank(x)) + (x.shape if isinstance(x, Tensor) else np.shape(x))
    return g.reshape(x, shape) if isinstance(x, Tensor) else np.reshape(x, [size or 0 for size in shape])


@lowers(knp.Cross)
def cross(g: Builder, op: Any, x1: Operand, x2: Operand) -> Tensor:
    """Of vectors of 2 or 3 along an axis: a[1]b[2] - a[2]b[1] and so on, a missing third component being 0.

    Two products of the rotated operands for vectors of 3, the one component that is left for vectors of 2.
    """
    dtype = g.out.dtype
    a, b = (cast(g, as_tensor(g, x), dtype) for x in (x1, x2))
    a, b = _last(a, op.axisa), _last(b, op.axisb)
    if a.shape[-1] == b.shape[-1] == 2:
        product = elementwise(g, "Mul", a, _rolled(g, b, [1, 0]))
        parts = g.op("Split", product.value, np.asarray([1, 1], np.int64), outputs=2, axis=product.axis(-1))
        difference = Tensor(g.op("Sub", *parts), product.order)
        return g.reshape(difference, tuple(g.out.shape))
    a, b = (_three(g, x) for x in (a, b))
    left = elementwise(g, "Mul", _rolled(g, a, [1, 2, 0]), _rolled(g, b, [2, 0, 1]))
    right = elementwise(g, "Mul", _rolled(g, a, [2, 0, 1]), _rolled(g, b, [1, 2, 0]))
    y = elementwise(g, "Sub", left, right)
    axes = list(range(y.rank - 1))
    axes.insert(op.axisc % y.rank, y.rank - 1)
    return Tensor(y.value, layout.transpose(y.order, axes))


def _last(x: Tensor, axis: int) -> Tensor:
    axis %= x.rank
    axes = [a for a in range(x.rank) if a != axis] + [axis]
    return Tensor(x.value, layout.transpose(x.order, axes))


def _rolled(g: Builder, x: Tensor, indices: list[int]) -> Tensor:
    return Tensor(g.op("Gather", x.value, np.asarray(indices, np.int64), axis=x.axis(-1)), x.order)


def _three(g: Builder, x: Tensor) -> Tensor:
    if x.shape[-1] != 2:
        return x
    widths = np.zeros(2 * x.rank, np.int64)
    widths[x.rank + x.axis(-1)] = 1
    return Tensor(g.op("Pad", x.value, widths), x.order)


@lowers(knp.Einsum)
@by_floats
def einsum(g: Builder, op: Any, *operands: Operand) -> Tensor:
    """Products of two operands at a time, in the order that numpy finds cheapest."""
    dtype = g.out.dtype
    kind = "int32" if dtype in ("bool", "int8", "uint8", "int16", "uint16") else dtype
    names, out = equation.spelled_out(op.subscripts, [_rank(x) for x in operands])
    terms = [
        _distinct(g, cast(g, x, kind) if isinstance(x, Tensor) else np.asarray(x, kind), axes)
        for x, axes in zip(operands, names, strict=True)
    ]
    for pair in _path(terms, out):
        chosen = [terms[index] for index in pair]
        terms = [term for index, term in enumerate(terms) if index not in pair]
        later = out + "".join(term.axes for term in terms)
        axes = "".join(dict.fromkeys(axis for term in chosen for axis in term.axes if axis in later))
        axes = axes if terms else out
        terms.append(_combined(g, chosen, axes))
    result = terms[0]
    assert isinstance(result.value, Tensor)
    return cast(g, result.value, dtype)


def _path(terms: list[Term], out: str) -> list[tuple[int, ...]]:
    """Which terms to multiply, step by step, with what is left (numpy's greedy path, unknown sizes being 8)."""
    if len(terms) <= 2:
        return [tuple(range(len(terms)))]
    shapes = [[8 if size is None else size for size in term.shape] for term in terms]
    text = ",".join(term.axes for term in terms) + "->" + out
    steps, _ = np.einsum_path(text, *(np.broadcast_to(np.float32(0), shape) for shape in shapes), optimize="greedy")
    return [pair for step in steps[1:] for pair in _pairs(step)]


def _pairs(step: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The last step, over all terms that are left, as steps over two."""
    return [step] if len(step) < 3 else [(0, 1)] * (len(step) - 1)


def _combined(g: Builder, terms: list[Term], out: str) -> Term:
    if len(terms) == 2 and not all(term.constant for term in terms):
        return Term(contract(g, terms[0], terms[1], out), out)
    if all(term.constant for term in terms):
        text = ",".join(term.axes for term in terms) + "->" + out
        return Term(np.einsum(text, *(np.asarray(term.value) for term in terms)), out)
    term = total(g, terms[0], out)
    assert isinstance(term.value, Tensor)
    axes = [term.axes.index(axis) for axis in out]
    return Term(Tensor(term.value.value, layout.transpose(term.value.order, axes)), out)


def _distinct(g: Builder, x: Operand, axes: str) -> Term:
    """A term in which a letter that occurs twice is the diagonal of its axes."""
    for letter in dict.fromkeys(axes):
        while axes.count(letter) > 1:
            first, second = axes.index(letter), axes.rindex(letter)
            x = diagonal(g, x, first, second) if isinstance(x, Tensor) else np.diagonal(x, 0, first, second)
            axes = "".join(a for index, a in enumerate(axes) if index not in (first, second)) + letter
    return Term(x, axes)
