"""Concatenations of concatenations, and a BatchNormalization behind one.

1. A Concat that only Concats over the same axis read: its parts go straight into those.
2. Concat over channels, then BatchNormalization, where every part is a convolution that nothing else reads: each part
   gets its share of the BatchNormalization, which then becomes part of the convolution's weights.
3. Concat of Reshapes with size 1 in its axis, then a Transpose that moves this axis alone: the Reshapes put it where it
   goes, and the Transpose is gone.
"""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import absorb, constant, initializer, only_consumer, plain_product, producer


def fold_concat(graph: ir.Graph) -> bool:
    """Folds every such Concat. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Concat":
            changed |= _flatten(graph, node) or _split_norm(graph, node) or _move_axis(graph, node)
    return changed


def _axis(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    axis = node.attributes.get_int("axis")
    return axis % len(shape) if shape is not None else axis


def _flatten(graph: ir.Graph, inner: ir.Node) -> bool:
    value = inner.outputs[0]
    readers = list(dict.fromkeys(use.node for use in value.uses()))
    if not readers or value.is_graph_output():
        return False
    if any(x.op_type != "Concat" or x.graph is not graph or _axis(inner) != _axis(x) for x in readers):
        return False
    for outer in readers:
        parts = [part for x in outer.inputs for part in (inner.inputs if x is value else [x])]
        outer.resize_inputs(len(parts))
        for index, part in enumerate(parts):
            outer.replace_input_with(index, part)
    graph.remove(inner, safe=True)
    return True


def _split_norm(graph: ir.Graph, concat: ir.Node) -> bool:
    norm = only_consumer(concat.outputs[0])
    if norm is None or norm.op_type != "BatchNormalization" or _axis(concat) != 1:
        return False
    arrays = [constant(value) for value in norm.inputs[1:]]
    sizes = []
    for value in concat.inputs:
        convolution = producer(value, "Conv", "ConvTranspose")
        if convolution is None or value is None or value.shape is None or only_consumer(value) is not concat:
            return False
        biased = len(convolution.inputs) > 2 and convolution.inputs[2] is not None
        if constant(convolution.inputs[1]) is None or (biased and constant(convolution.inputs[2]) is None):
            return False
        if not plain_product(convolution) or not isinstance(value.shape[1], int):
            return False
        sizes.append(value.shape[1])
    if any(array is None for array in arrays):
        return False
    ends = list(itertools.accumulate(sizes))
    for place, (value, end) in enumerate(zip(concat.inputs, ends, strict=True)):
        assert value is not None
        shares = [initializer(graph, np.asarray(a)[end - sizes[place] : end], f"{norm.name}/share") for a in arrays]
        epsilon = norm.attributes.get_float("epsilon", 1e-5)
        share = ir.node("BatchNormalization", [value, *shares], {"epsilon": epsilon}, name=f"{norm.name}/{place}")
        share.outputs[0].name = f"{norm.name}/{place}"
        share.outputs[0].type, share.outputs[0].shape = value.type, value.shape
        graph.insert_before(concat, share)
        concat.replace_input_with(place, share.outputs[0])
    absorb(graph, concat, norm)
    return True


def _move_axis(graph: ir.Graph, concat: ir.Node) -> bool:
    transpose, axis = only_consumer(concat.outputs[0]), _axis(concat)
    if transpose is None or transpose.op_type != "Transpose":
        return False
    perm = list(transpose.attributes.get_ints("perm"))
    if perm[0] != 0 or [place for place in perm if place != axis] != sorted(place for place in perm if place != axis):
        return False
    reshapes = []
    for value in concat.inputs:
        reshape = producer(value, "Reshape")
        if reshape is None or value is None or value.shape is None or only_consumer(value) is not concat:
            return False
        if value.shape[axis] != 1 or reshape in reshapes:
            return False
        reshapes.append(reshape)
    for reshape in reshapes:
        value = reshape.outputs[0]
        target = constant(reshape.inputs[1])
        if target is None or value.shape is None or (np.asarray(target) == 0)[1:].any():
            return False  # a 0 copies the size in its place
    for reshape in reshapes:
        value = reshape.outputs[0]
        assert value.shape is not None
        moved = np.asarray(constant(reshape.inputs[1]))[perm]
        reshape.replace_input_with(1, initializer(graph, moved, f"{reshape.name}/shape"))
        value.shape = ir.Shape([value.shape[place] for place in perm])
        value.name = f"{value.name}/moved"  # no longer in the layer's order
    concat.attributes["axis"] = ir.AttrInt64("axis", perm.index(axis))
    absorb(graph, concat, transpose)
    return True
