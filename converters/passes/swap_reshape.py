"""A Transpose, a Reshape and a Transpose that could be one Transpose and a Reshape.

The Reshape joins or splits groups of neighbouring axes. Where the second Transpose moves each group as a whole, the
first can do so before the Reshape. This is what shuffled channels, pixels of channels and windows of an image become
between convolutions, whose channels lie first, while Keras reshapes with the channels last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import absorb, only_consumer, producer, replace_constant

Group = tuple[list[int], list[int]]
"""Axes before a Reshape, and the axes after it that hold the same elements."""


def swap_reshape(graph: ir.Graph) -> bool:
    """Rewrites every such three. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Transpose":
            changed |= _swap(graph, node)
    return changed


def _swap(graph: ir.Graph, last: ir.Node) -> bool:
    reshape = producer(last.inputs[0], "Reshape")
    first = producer(reshape.inputs[0], "Transpose") if reshape is not None else None
    if reshape is None or first is None or first.inputs[0] is None or last.outputs[0].shape is None:
        return False
    middle, result = first.outputs[0], reshape.outputs[0]
    if only_consumer(middle) is not reshape or only_consumer(result) is not last:
        return False
    if middle.shape is None or result.shape is None:
        return False
    groups = _groups(list(middle.shape), list(result.shape))
    blocks = _blocks(groups, list(last.attributes.get_ints("perm"))) if groups is not None else None
    if blocks is None:
        return False
    moved = [axis for before, _ in blocks for axis in before]
    sizes = [middle.shape[axis] for axis in moved]
    target = _target(sizes, list(last.outputs[0].shape))
    if target is None:
        return False
    perm = first.attributes.get_ints("perm")
    first.attributes["perm"] = ir.AttrInt64s("perm", [perm[axis] for axis in moved])
    middle.shape = ir.Shape(sizes)
    # what flows here is no longer what a layer gives
    middle.name, first.name = f"{middle.name}/moved", f"{first.name}/moved"
    replace_constant(graph, reshape, 1, np.asarray(target, np.int64), "shape")
    absorb(graph, reshape, last)
    return True


def _groups(before: list[Any], after: list[Any]) -> list[Group] | None:
    """The smallest groups of axes that a reshape keeps apart; None where an unknown size is not alone in its group."""
    groups: list[Group] = []
    i = j = 0
    while i < len(before) and j < len(after):
        group: Group = [i], [j]
        if before[i] != after[j] and not (isinstance(before[i], int) and isinstance(after[j], int)):
            return None
        one, two = before[i], after[j]
        i, j = i + 1, j + 1
        while one != two:
            side, sizes, place = (group[0], before, i) if one < two else (group[1], after, j)
            if place == len(sizes) or not isinstance(sizes[place], int):
                return None
            side.append(place)
            one, two, i, j = (one * before[i], two, i + 1, j) if one < two else (one, two * after[j], i, j + 1)
        groups.append(group)
    rest = before[i:] + after[j:]
    if not groups or any(size != 1 for size in rest):
        return None
    groups[-1][0].extend(range(i, len(before)))
    groups[-1][1].extend(range(j, len(after)))
    return groups


def _blocks(groups: list[Group], perm: list[int]) -> list[Group] | None:
    """The groups in the order that a Transpose of the axes behind puts them in; None where it takes one apart."""
    first = {group[1][0]: group for group in groups}
    blocks: list[Group] = []
    place = 0
    while place < len(perm):
        group = first.get(perm[place])
        if group is None or perm[place : place + len(group[1])] != group[1]:
            return None
        blocks.append(group)
        place += len(group[1])
    return blocks


def _target(sizes: list[Any], wanted: list[Any]) -> list[int] | None:
    """The shape for a Reshape: 0 keeps an unknown size in its place, one other may be -1."""
    target: list[int] = []
    for place, size in enumerate(wanted):
        if isinstance(size, int):
            target.append(size)
        else:
            kept = place < len(sizes) and size.value is not None and sizes[place] == size
            target.append(0 if kept else -1)
    return target if target.count(-1) <= 1 and 0 not in wanted else None
