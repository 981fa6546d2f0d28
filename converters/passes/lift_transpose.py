"""One Transpose of a whole value in the place of one for each of its parts.

1. A Split whose parts are all read by Transposes of one permutation alone splits the transposed value.
2. So do two Slices or more of one value, with bounds that are known, if they take as much as there is of it.

Streams of one input and units that split their channels become this, where the parts go into convolutions.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, only_consumer, replace_constant

Permutation = tuple[int, ...]


def lift_transpose(graph: ir.Graph) -> bool:
    """Applies both rules. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type == "Split":
            changed |= _lift(graph, [node])
        elif node.op_type == "Slice":
            changed |= _slices(graph, node)
    return changed


def _slices(graph: ir.Graph, node: ir.Node) -> bool:
    source, perm = node.inputs[0], _read_by(node)
    if source is None or source.shape is None or perm is None:
        return False
    readers = [use.node for use in source.uses() if use.node.op_type == "Slice" and use.idx == 0]
    parts = [reader for reader in readers if reader.graph is node.graph and _read_by(reader) == perm]
    known = all(constant(part.inputs[i]) is not None for part in parts for i in range(1, len(part.inputs)))
    if len(parts) < 2 or not known or any(len(part.inputs) < 4 for part in parts):
        return False
    if sum(_size(part.outputs[0]) for part in parts) < _size(source):
        return False
    return _lift(graph, [part for part in graph if part in parts])


def _lift(graph: ir.Graph, parts: list[ir.Node]) -> bool:
    perm, source = _read_by(parts[0]), parts[0].inputs[0]
    if perm is None or source is None or source.shape is None:
        return False
    transpose = ir.node("Transpose", [source], {"perm": list(perm)})
    transpose.name = f"{parts[0].name}/transposed"
    whole = transpose.outputs[0]
    whole.name, whole.type = transpose.name, source.type
    whole.shape = ir.Shape([source.shape[axis] for axis in perm])
    graph.insert_before(parts[0], transpose)
    for part in parts:
        part.replace_input_with(0, whole)
        if part.op_type == "Split":
            axis = part.attributes.get_int("axis", 0) % len(perm)
            part.attributes["axis"] = ir.AttrInt64("axis", perm.index(axis))
        else:
            axes = constant(part.inputs[3])
            assert axes is not None
            moved = np.asarray([perm.index(int(axis) % len(perm)) for axis in axes], np.int64)
            replace_constant(graph, part, 3, moved, "axes")
        for value in part.outputs:
            _take_over(graph, value)
    return True


def _take_over(graph: ir.Graph, value: ir.Value) -> None:
    """Lets a part be what its Transpose gave, under its name."""
    reader = only_consumer(value)
    assert reader is not None
    gone = reader.outputs[0]
    gone.replace_all_uses_with(value, replace_graph_outputs=True)
    name, shape, type_ = gone.name, gone.shape, gone.type
    graph.remove(reader, safe=True)
    gone.name = None
    value.name, value.shape, value.type = name, shape, type_


def _read_by(node: ir.Node) -> Permutation | None:
    """The permutation of the Transposes that alone read each output of a node, or None."""
    perms = set()
    for value in node.outputs:
        reader = only_consumer(value)
        if reader is None or reader.op_type != "Transpose":
            return None
        perms.add(tuple(reader.attributes.get_ints("perm")))
    return perms.pop() if len(perms) == 1 else None


def _size(value: ir.Value) -> int:
    """Elements of a value, each unknown size counted as one."""
    assert value.shape is not None
    return math.prod(size if isinstance(size, int) else 1 for size in value.shape)
