"""The parts of a value as one Split.

1. Slices along one axis that together take all of it, each element once, are a Split.
2. A Slice or a Split of a Concat over the same axis is one of its parts, where it takes none apart from the next.
3. A Split of the first of the axes that a Reshape made of one: that one is split, and each part reshaped, which most
   are anyway. Queries, keys and values that come from one product are.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, initializer, only_consumer, producer, replace_constant, reshape_target


def join_slices(graph: ir.Graph) -> bool:
    """Applies every rule. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type == "Slice":
            changed |= _of_part(graph, node) or _join(graph, node)
        elif node.op_type == "Split":
            changed |= _of_parts(graph, node) or _before_reshape(graph, node)
    return changed


def _join(graph: ir.Graph, node: ir.Node) -> bool:
    source, bounds = node.inputs[0], _bounds(node)
    if source is None or bounds is None:
        return False
    axis = bounds[0]
    parts: list[tuple[int, int, ir.Node]] = []
    for use in source.uses():
        found = _bounds(use.node) if use.node.op_type == "Slice" and use.idx == 0 else None
        if found is not None and found[0] == axis and use.node.graph is node.graph:
            parts.append((*found[1:], use.node))
    parts.sort(key=lambda part: part[:2])
    edges = [0, *(end for _, end, _ in parts)]
    assert source.shape is not None
    if len(parts) < 2 or edges[-1] != source.shape[axis] or [start for start, _, _ in parts] != edges[:-1]:
        return False
    sizes = initializer(graph, np.diff(edges), f"{node.name}/split")
    split = ir.node("Split", [source, sizes], {"axis": axis}, num_outputs=len(parts), version=node.version)
    members = {part for _, _, part in parts}
    first = next(part for part in graph if part in members)
    split.name = first.name
    graph.insert_before(first, split)
    for value, (_, _, part) in zip(split.outputs, parts, strict=True):
        old = part.outputs[0]
        value.type, value.shape = old.type, old.shape
        old.replace_all_uses_with(value, replace_graph_outputs=True)
        name = old.name
        graph.remove(part, safe=True)
        old.name, value.name = None, name
    return True


def _edges(value: ir.Value | None, axis: int) -> list[tuple[ir.Value, int, int]] | None:
    """The parts of a Concat over an axis with their bounds; None for any other value and for unknown sizes."""
    concat = producer(value, "Concat")
    if concat is None or value is None or value.shape is None:
        return None
    if concat.attributes.get_int("axis") % len(value.shape) != axis:
        return None
    edges, end = [], 0
    for part in concat.inputs:
        size = part.shape[axis] if part is not None and part.shape is not None else None
        if part is None or not isinstance(size, int):
            return None
        edges.append((part, end, end + size))
        end += size
    return edges


def _of_part(graph: ir.Graph, node: ir.Node) -> bool:
    """Rule 2 for a Slice."""
    bounds = _bounds(node)
    if bounds is None:
        return False
    axis, first, last = bounds
    for part, start, end in _edges(node.inputs[0], axis) or ():
        if not start <= first < last <= end:
            continue
        if (first, last) == (start, end):
            node.outputs[0].replace_all_uses_with(part, replace_graph_outputs=True)
            graph.remove(node, safe=True)
            return True
        node.replace_input_with(0, part)
        for index, bound in ((1, first - start), (2, last - start), (3, axis)):
            replace_constant(graph, node, index, np.asarray([bound], np.int64), f"{node.name}/bound")
        return True
    return False


def _of_parts(graph: ir.Graph, split: ir.Node) -> bool:
    """Rule 2 for a Split."""
    shape, sizes = split.outputs[0].shape, constant(split.inputs[1]) if len(split.inputs) > 1 else None
    if shape is None or sizes is None:
        return False
    axis = split.attributes.get_int("axis", 0) % len(shape)
    edges = _edges(split.inputs[0], axis)
    ends = np.cumsum(sizes).tolist()
    if edges is None or not {end for _, _, end in edges} <= set(ends):
        return False
    starts = [0, *ends[:-1]]
    for number, (part, start, end) in enumerate(edges):
        places = [place for place, first in enumerate(starts) if start <= first < end]
        values: list[ir.Value] = [part]
        if len(places) > 1:
            lengths = initializer(graph, sizes[places], f"{split.name}/split")
            new = ir.node("Split", [part, lengths], {"axis": axis}, num_outputs=len(places), version=split.version)
            new.name = f"{split.name}/{number}"
            graph.insert_before(split, new)
            values = list(new.outputs)
        for place, value in zip(places, values, strict=True):
            old = split.outputs[place]
            if value is not part:
                value.type, value.shape = old.type, old.shape
            old.replace_all_uses_with(value, replace_graph_outputs=True)
            if value is not part:
                old.name, value.name = None, old.name
    graph.remove(split, safe=True)
    return True


def _bounds(node: ir.Node) -> tuple[int, int, int] | None:
    """Axis, start and end of a Slice of one axis of a known size, without steps."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    arrays = [constant(value) for value in node.inputs[1:]]
    if shape is None or len(arrays) < 3 or any(array is None or array.size != 1 for array in arrays):
        return None
    start, end, axis, *step = (int(array.reshape(())) for array in arrays if array is not None)
    size = shape[axis]
    if step not in ([], [1]) or not isinstance(size, int):
        return None
    first, last, _ = slice(start, end).indices(size)
    return axis % len(shape), first, last


def _before_reshape(graph: ir.Graph, split: ir.Node) -> bool:
    reshape = producer(split.inputs[0], "Reshape")
    source = reshape.inputs[0] if reshape is not None else None
    sizes = constant(split.inputs[1]) if len(split.inputs) > 1 else None
    if reshape is None or source is None or source.shape is None or sizes is None:
        return False
    middle = reshape.outputs[0]
    readers = [only_consumer(value) for value in split.outputs]
    if only_consumer(middle) is not split or middle.shape is None:
        return False
    axis = split.attributes.get_int("axis", 0) % len(middle.shape)
    old, count = _split_axis(source.shape, middle.shape, axis), middle.shape[axis]
    if old is None or not isinstance(count, int):
        return False
    size = source.shape[old]
    assert isinstance(size, int)
    shapes = [ir.Shape([*source.shape[:old], int(part) * size // count, *source.shape[old + 1 :]]) for part in sizes]
    targets = []
    for value, reader, shape in zip(split.outputs, readers, shapes, strict=True):
        target = constant(reader.inputs[1]) if reader is not None and reader.op_type == "Reshape" else None
        moved = reshape_target(target, value.shape, shape) if target is not None and value.shape is not None else None
        if moved is None:
            return False
        targets.append(moved)
    split.replace_input_with(0, source)
    split.attributes["axis"] = ir.AttrInt64("axis", old)
    replace_constant(graph, split, 1, sizes * (size // count), f"{split.name}/split")
    for value, reader, shape, target in zip(split.outputs, readers, shapes, targets, strict=True):
        assert reader is not None
        value.shape, value.name = shape, f"{value.name}/flat"  # no longer as the layer shapes it
        replace_constant(graph, reader, 1, target, f"{reader.name}/shape")
    graph.remove(reshape, safe=True)
    return True


def _split_axis(before: ir.Shape, after: ir.Shape, axis: int) -> int | None:
    """The axis of a value that a Reshape takes apart, leaving all others as they are; ``axis`` is its first part."""
    parts = len(after) - len(before) + 1
    group = list(after)[axis : axis + parts]
    rest = list(after)[:axis] + list(after)[axis + parts :]
    others = list(before)[:axis] + list(before)[axis + 1 :]
    if parts < 2 or axis >= len(before) or not all(isinstance(size, int) for size in group):
        return None
    whole = math.prod(size for size in group if isinstance(size, int))
    named = all(isinstance(size, int) or size.value for size in rest)
    return axis if named and before[axis] == whole and rest == others else None
