"""The sum of products of two operands over the axes they share: what matmul, tensordot and einsum come down to.

Axes are letters, as in an einsum equation. With *inner* the shared axes that are summed, *batch* the shared ones that
are kept, *rows* the axes of one operand alone and *columns* those of the other, the product is

1. no inner axes: a Mul of broadcast operands;
2. nothing but batch and inner axes, those of size 1 aside: a Mul and a ReduceSum;
3. otherwise one MatMul of (batch, rows, inner) and (batch, inner, columns). Which operand comes first, and in which
   order the axes of a group lie, is what costs the fewest Transposes and Reshapes; a group of several axes is one axis
   for the MatMul, except where the other operand is a plain matrix, against which any number of axes broadcasts;
4. a constant matrix against a value that lies (batch, inner, spatial…): a 1x1 Conv, so nothing has to move.

A result that lies otherwise than its letters say only has another order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converters import layout
from converters.builder import Builder, Tensor, elements
from converters.layout import Shape
from converters.lowerings.broadcasting import Operand, elementwise
from converters.lowerings.reduction import reduce


@dataclass(frozen=True)
class Term:
    """An operand and the letters of its logical axes, each once."""

    value: Operand
    axes: str

    @property
    def constant(self) -> bool:
        return not isinstance(self.value, Tensor)

    @property
    def shape(self) -> Shape:
        return self.value.shape if isinstance(self.value, Tensor) else np.shape(self.value)

    @property
    def physical(self) -> str:
        """Its letters as they lie."""
        return "".join(self.axes[axis] for axis in self.value.order) if isinstance(self.value, Tensor) else self.axes

    def size(self, axis: str) -> int | None:
        return self.shape[self.axes.index(axis)]


@dataclass(frozen=True)
class _Plan:
    """One MatMul: each operand's axes as groups that become one axis each; the result's likewise."""

    first: Term
    second: Term
    first_groups: tuple[str, ...]
    second_groups: tuple[str, ...]
    result_groups: tuple[str, ...]

    def cost(self, out: str) -> float:
        """Transposes count two, Reshapes one, a result in another order a half: somebody may have to move it.

        A batch behind axes of the first operand alone is the slower product, and leaves them apart for what follows.
        """
        moves = sum(
            2 * (not term.constant and not _lies(term, "".join(groups)))
            + (not term.constant and any(len(group) != 1 for group in groups))
            for term, groups in ((self.first, self.first_groups), (self.second, self.second_groups))
        )
        again = any(len(group) != 1 for group in self.result_groups)
        lost = any(_unknown(group, self.first, self.second) > 1 for group in self.result_groups)
        stacked = self._stacked(self.first, self.first_groups) or self._stacked(self.second, self.second_groups)
        behind = len(self.first_groups) > len(self.second_groups) > 2
        order = 0.5 * ("".join(self.result_groups) != out)
        return moves + again + order + 1.5 * behind + 2 * stacked + 100 * lost

    def _stacked(self, term: Term, groups: tuple[str, ...]) -> bool:
        """Whether a constant matrix becomes a stack of small ones: slower, and hidden from a quantizer."""
        return term.constant and len(groups) > 2 and len(groups) == len(term.axes)


def contract(g: Builder, a: Term, b: Term, out: str) -> Tensor:
    """The product of two terms, at least one of them computed, with the axes ``out``: each is in one of the terms."""
    a, b = total(g, a, out + b.axes), total(g, b, out + a.axes)
    inner = [axis for axis in a.axes if axis in b.axes and axis not in out]
    if not inner:
        return _product(g, a, b, out)
    left, right = _thin(g, a, b), _thin(g, b, a)
    if set(left.axes) == set(right.axes) and any(axis in out for axis in left.axes):
        union = "".join(axis for axis in left.axes if axis in out) + "".join(inner)
        summed = total(g, Term(_product(g, left, right, union), union), out)
        kept = "".join(axis for axis in out if axis in summed.axes)
        sizes = tuple(_size(axis, a, b) for axis in out)
        return g.reshape(_transposed(summed, kept), sizes) if kept != out else _transposed(summed, out)
    pointwise = _pointwise(g, a, b, out) or _pointwise(g, b, a, out)
    if pointwise is not None:
        return pointwise
    return _multiply(g, min(_plans(a, b, out), key=lambda plan: plan.cost(out)), out)


def _thin(g: Builder, term: Term, other: Term) -> Term:
    """A term without the axes of size 1 that it has alone."""
    kept = "".join(axis for axis in term.axes if axis in other.axes or term.size(axis) != 1)
    if kept == term.axes or set(kept) != set(other.axes) & set(kept):
        return term
    sizes = tuple(term.size(axis) for axis in kept)
    if isinstance(term.value, Tensor):
        return Term(g.reshape(term.value, sizes), kept)
    return Term(np.reshape(term.value, [size or 0 for size in sizes]), kept)


def total(g: Builder, term: Term, kept: str) -> Term:
    """A term summed over the axes that are not in ``kept``."""
    gone = [index for index, axis in enumerate(term.axes) if axis not in kept]
    left = "".join(axis for axis in term.axes if axis in kept)
    if not gone:
        return term
    if isinstance(term.value, Tensor):
        return Term(reduce(g, "ReduceSum", term.value, gone, keepdims=False), left)
    return Term(np.sum(term.value, axis=tuple(gone), dtype=np.asarray(term.value).dtype), left)


def _product(g: Builder, a: Term, b: Term, out: str) -> Tensor:
    """Mul of the terms, each with axes of size 1 where it lacks one."""

    def spread(term: Term) -> Operand:
        first = min((out.index(axis) for axis in term.axes), default=len(out))
        if isinstance(term.value, Tensor):
            moved = _transposed(term, "".join(axis for axis in out if axis in term.axes))
            sizes = tuple(term.size(axis) if axis in term.axes else 1 for axis in out[first:])
            return g.reshape(moved, sizes)
        array = np.transpose(term.value, [term.axes.index(axis) for axis in out if axis in term.axes])
        return array.reshape([term.size(axis) or 0 if axis in term.axes else 1 for axis in out[first:]])

    return elementwise(g, "Mul", spread(a), spread(b))


def _pointwise(g: Builder, x: Term, matrix: Term, out: str) -> Tensor | None:
    """Rule 4, or None where it does not apply."""
    inner = [axis for axis in x.axes if axis in matrix.axes]
    columns = "".join(axis for axis in matrix.axes if axis not in inner)
    tensor = x.value
    if not isinstance(tensor, Tensor) or not matrix.constant or not 3 <= tensor.rank <= 5 or tensor.dtype.kind != "f":
        return None
    others = [axis for axis in x.axes[1:] if axis not in inner]
    if len(others) == tensor.rank - 2 > 1 and all(x.size(axis) == 1 for axis in others):  # a map of one position
        tensor = g.arrange(tensor, layout.channels_first(tensor.rank, x.axes.index(inner[0])))
        x = Term(tensor, x.axes)
    if len(inner) != 1 or x.physical[1] != inner[0] or not columns:
        return None
    kernel = np.transpose(np.asarray(matrix.value), [matrix.axes.index(axis) for axis in columns + inner[0]])
    ones = [1] * (tensor.rank - 2)
    weights = g.constant(kernel.reshape(-1, kernel.shape[-1], *ones), "kernel")
    value = g.op("Conv", tensor.value, weights, kernel_shape=ones)
    groups = (x.physical[0], columns, *x.physical[2:])
    return _transposed(_split(g, value, groups, x, matrix), out)


def _plans(a: Term, b: Term, out: str) -> Iterator[_Plan]:
    """Every MatMul that gives the product."""
    for first, second in ((a, b), (b, a)):
        shared = [axis for axis in first.axes if axis in second.axes]
        batches = _orders([axis for axis in shared if axis in out], first.physical, second.physical, out)
        inners = _orders([axis for axis in shared if axis not in out], first.physical, second.physical)
        rows = _only(first, second, out)
        columns = _only(second, first, out)
        for batch, inner in itertools.product(batches, inners):
            for row, column in itertools.product(rows, columns):
                yield _Plan(first, second, (*batch, row, inner), (*batch, inner, column), (*batch, row, column))
                if batch:  # leading axes that one operand has alone broadcast
                    lead, last = row[:-1], row[-1:]
                    yield _Plan(
                        first,
                        second,
                        (*lead, *batch, last, inner),
                        (*batch, inner, column),
                        (*lead, *batch, last, column),
                    )
                    continue
                tail = (column,) if column else ()
                yield _Plan(first, second, (*row, inner), (inner, *tail), (*row, *tail))
                if len(column) > 1:
                    left = (*column[:-1], inner, column[-1])
                    yield _Plan(first, second, (row, inner), left, (*column[:-1], row, column[-1]))


def _orders(axes: list[str], *sequences: str) -> list[str]:
    """The axes in each order in which they occur in the sequences."""
    found = ("".join(axis for axis in sequence if axis in axes) for sequence in sequences)
    return list(dict.fromkeys(found))


def _only(term: Term, other: Term, out: str) -> list[str]:
    """The axes that only ``term`` has, as they lie and as they shall be."""
    return _orders([axis for axis in term.axes if axis not in other.axes], term.physical, out)


def _multiply(g: Builder, plan: _Plan, out: str) -> Tensor:
    first, second = (
        _grouped(g, term, groups)
        for term, groups in ((plan.first, plan.first_groups), (plan.second, plan.second_groups))
    )
    value = g.op("MatMul", first, second)
    return _transposed(_split(g, value, plan.result_groups, plan.first, plan.second), out)


def _grouped(g: Builder, term: Term, groups: tuple[str, ...]) -> ir.Value:
    """The operand as MatMul takes it: physically in the order of the groups, each of them one axis."""
    axes = "".join(groups)
    sizes = tuple(joined([term.size(axis) for axis in group]) for group in groups)
    if not isinstance(term.value, Tensor):
        array = np.transpose(term.value, [term.axes.index(axis) for axis in axes])
        return g.constant(array.reshape([size or 0 for size in sizes]), "kernel")
    return g.identity(g.reshape(_transposed(term, axes), sizes)).value


def joined(sizes: Sequence[int | None]) -> int | None:
    """The size of several axes as one."""
    return None if None in sizes else elements(sizes)


def _split(g: Builder, value: ir.Value, groups: tuple[str, ...], *terms: Term) -> Term:
    """The result of a product, which lies as its groups say, with an axis for each letter again."""
    result = Tensor(value, layout.identity(len(groups)))
    sizes = tuple(_size(axis, *terms) for group in groups for axis in group)
    return Term(g.reshape(result, sizes) if any(len(group) != 1 for group in groups) else result, "".join(groups))


def _size(axis: str, *terms: Term) -> int | None:
    sizes = [term.size(axis) for term in terms if axis in term.axes]
    return sizes[0] if sizes[0] != 1 else sizes[-1]


def _unknown(group: str, *terms: Term) -> int:
    return sum(_size(axis, *terms) is None for axis in group)


def _transposed(term: Term, axes: str) -> Tensor:
    """The tensor with its logical axes in another order: no node."""
    assert isinstance(term.value, Tensor)
    return Tensor(term.value.value, layout.transpose(term.value.order, [term.axes.index(axis) for axis in axes]))


def _lies(term: Term, axes: str) -> bool:
    """Whether a tensor lies in this order of its axes, those of size 1 aside."""
    moving = [axis for axis in axes if term.size(axis) != 1]
    return moving == [axis for axis in term.physical if axis in moving]
