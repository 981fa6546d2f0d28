"""The order algebra: how a value's physical axes hold its logical (Keras) axes.

A value of rank n has an order, a permutation of range(n): physical axis i holds logical axis ``order[i]``, so
``physical == logical.transpose(order)``. All functions are pure; shapes are logical, with None for an unknown size.
tests/converters/test_layout.py checks them on random chains against numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Order = tuple[int, ...]
Shape = tuple[int | None, ...]


def identity(rank: int) -> Order:
    """The order of a value that lies as Keras has it."""
    return tuple(range(rank))


def channels_first(rank: int, channel: int) -> Order:
    """(batch, channel, spatial…): the order that convolutions, pooling and normalization ask for."""
    channel %= rank
    return (0, channel, *(axis for axis in range(1, rank) if axis != channel))


def physical(shape: Sequence[int | None], order: Order) -> Shape:
    """The physical shape of a value."""
    return tuple(shape[axis] for axis in order)


def logical(shape: Sequence[int | None], order: Order) -> Shape:
    """The logical shape of a value with that physical shape."""
    return tuple(shape[order.index(axis)] for axis in range(len(order)))


def transpose(order: Order, axes: Sequence[int]) -> Order:
    """The order of ``transpose(x, axes)`` over the same physical value: a transposition costs nothing."""
    return tuple(axes.index(axis) for axis in order)


def reduce(order: Order, axes: Iterable[int], *, keepdims: bool) -> Order:
    """The order after reducing the logical ``axes``."""
    if keepdims:
        return order
    gone = set(axes)
    left = sorted(axis for axis in order if axis not in gone)
    return tuple(left.index(axis) for axis in order if axis not in gone)


def permutation(source: Order, target: Order) -> tuple[int, ...]:
    """The ``perm`` of the Transpose that takes a physical value from one order to another."""
    return tuple(source.index(axis) for axis in target)


def only_ones_move(shape: Sequence[int | None], source: Order, target: Order) -> bool:
    """Whether the change of order moves only axes of size 1, so that a Reshape does it."""
    return [a for a in source if shape[a] != 1] == [a for a in target if shape[a] != 1]


def groups(old: Shape, new: Shape) -> list[tuple[list[int], list[int]]] | None:
    """The smallest runs of axes of a row-major reshape with equal products, as (old axes, new axes).

    An unknown size must stay an axis of its own; None when it does not, or when the products do not match.
    """
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        a, b = (old[i] if i < len(old) else 1), (new[j] if j < len(new) else 1)
        if (a is None) != (b is None):
            # an axis of size 1 beside the unknown one is a group of its own
            if a is None and b == 1 and j < len(new):
                found.append(([], [j]))
                j += 1
                continue
            if b is None and a == 1 and i < len(old):
                found.append(([i], []))
                i += 1
                continue
            return None
        if a is None:
            found.append(([i], [j]))
            i, j = i + 1, j + 1
            continue
        run = _run(old, new, i, j)
        if run is None:
            return None
        found.append(run)
        i, j = i + len(run[0]), j + len(run[1])
    return found


def _run(old: Shape, new: Shape, i: int, j: int) -> tuple[list[int], list[int]] | None:
    """The first run from old[i] and new[j] on whose products are equal."""
    left, right = [i] if i < len(old) else [], [j] if j < len(new) else []
    products = [1, 1]
    for side, (axes, shape) in enumerate(((left, old), (right, new))):
        for axis in axes:
            products[side] *= shape[axis] or 0
    while products[0] != products[1]:
        side, axes, shape = (0, left, old) if products[0] < products[1] else (1, right, new)
        following = axes[-1] + 1 if axes else (i, j)[side]
        if following >= len(shape) or shape[following] is None:
            return None
        axes.append(following)
        products[side] *= shape[following] or 0
    return left, right


def reshape(shape: Shape, order: Order, new: Shape) -> Order | None:
    """The order of the result when the physical value can simply be reshaped to ``new``; None when it must move first.

    Free where the axes of each group lie side by side and in order; axes of size 1 lie anywhere.
    """
    pairs = groups(shape, new)
    if pairs is None:
        return None
    where = {axis: n for n, (old, _) in enumerate(pairs) for axis in old if shape[axis] != 1}
    runs: list[list[int]] = []
    for axis in (axis for axis in order if shape[axis] != 1):
        if runs and where[runs[-1][-1]] == where[axis]:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    seen = [where[run[0]] for run in runs]
    if len(set(seen)) != len(seen) or any(run != sorted(run) for run in runs):
        return None
    result = [axis for n in seen for axis in pairs[n][1]]
    return tuple(result) + tuple(axis for axis in range(len(new)) if axis not in result)
