"""Multiplications and additions of constants: dropped where they do nothing, and moved into a convolution behind them.

1. Adding or subtracting 0, multiplying or dividing by 1: nothing.
2. A chain of Add, Sub, Mul, Div of constants and BatchNormalization, perhaps a Transpose, then Conv. As x * s + t over
   the convolution's input channels, s goes into its weights. With W the weights, a convolution without padding takes
   t too, as the bias sum(W * t); with padding the zeros around the value must stay zeros, so (x + t / s) is left, one
   Add, when the chain was longer than that and t / s is no larger than `LARGEST_SHIFT`, beyond which digits get lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import (
    Array,
    constant,
    initializer,
    only_consumer,
    per_axis,
    producer,
    replace_constant,
    whole,
)

LARGEST_SHIFT = 1024.0
_NEUTRAL = {"Add": 0.0, "Sub": 0.0, "Mul": 1.0, "Div": 1.0}


def fold_affine(graph: ir.Graph) -> bool:
    """Folds every such node. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type in _NEUTRAL:
            changed |= _drop(graph, node)
        elif node.op_type == "Conv":
            changed |= _fold(graph, node)
    return changed


def _operands(node: ir.Node) -> tuple[ir.Value | None, Array | None, bool]:
    """The computed operand of a binary node, its floating-point constant, and whether the constant comes first."""
    left, right = node.inputs
    for value, other, first in ((left, right, False), (right, left, True)):
        array = constant(other)
        if array is not None and array.dtype.kind == "f" and constant(value) is None:
            return value, array, first
    return None, None, False


def _drop(graph: ir.Graph, node: ir.Node) -> bool:
    value, array, first = _operands(node)
    result = node.outputs[0]
    if value is None or array is None or (first and node.op_type in ("Sub", "Div")):
        return False
    if value.shape is None or value.shape != result.shape or not (array == _NEUTRAL[node.op_type]).all():
        return False
    if sum(not isinstance(size, int) for size in value.shape) > 1 or result.is_graph_output():
        return False
    result.replace_all_uses_with(value)
    graph.remove(node, safe=True)
    return True


@dataclass(frozen=True)
class _Chain:
    """x * scale + shift over ``axis`` of ``source``: what the ``nodes`` compute, last one first."""

    source: ir.Value
    scale: Array
    shift: Array
    nodes: tuple[ir.Node, ...]


def _step(node: ir.Node, axis: int, size: int) -> tuple[ir.Value, Array, Array] | None:
    """A node as x * scale + shift over one axis: x, scale and shift in float64."""
    one, zero = np.ones(size), np.zeros(size)
    if node.op_type == "BatchNormalization" and axis == 1:
        arrays = [constant(value) for value in node.inputs[1:5]]
        if any(array is None for array in arrays) or node.inputs[0] is None:
            return None
        gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
        scale = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        return node.inputs[0], scale, beta - mean * scale
    if node.op_type not in _NEUTRAL:
        return None
    value, array, first = _operands(node)
    if value is None or array is None or value.shape is None or value.shape != node.outputs[0].shape:
        return None
    vector = per_axis(array, len(value.shape), axis, size)
    if vector is None or (first and node.op_type == "Div"):
        return None
    wide = vector.astype(np.float64)
    if node.op_type == "Add":
        return value, one, wide
    if node.op_type == "Sub":
        return (value, -one, wide) if first else (value, one, -wide)
    if node.op_type == "Div":
        return (value, 1.0 / wide, zero) if wide.all() else None
    return value, wide, zero


def _chain(value: ir.Value, reader: ir.Node, axis: int, size: int) -> _Chain:
    """All affine nodes above a value that nothing but the chain reads."""
    scale, shift, nodes = np.ones(size), np.zeros(size), []
    while (node := value.producer()) is not None and only_consumer(value) is reader:
        step = _step(node, axis, size)
        if step is None:
            break
        value, (inner_scale, inner_shift), reader = step[0], step[1:], node
        scale, shift = scale * inner_scale, scale * inner_shift + shift
        nodes.append(node)
    return _Chain(value, scale, shift, tuple(nodes))


def _fold(graph: ir.Graph, convolution: ir.Node) -> bool:
    value, weights = convolution.inputs[0], constant(convolution.inputs[1])
    biased = len(convolution.inputs) > 2 and convolution.inputs[2] is not None
    bias = constant(convolution.inputs[2]) if biased else None
    if value is None or value.shape is None or weights is None or (biased and bias is None):
        return False
    if whole(weights):
        return False
    size, transpose, reader, axis = value.shape[1], producer(value, "Transpose"), convolution, 1
    if not isinstance(size, int):
        return False
    if transpose is not None and only_consumer(value) is convolution and transpose.inputs[0] is not None:
        value, reader, axis = transpose.inputs[0], transpose, transpose.attributes.get_ints("perm")[1]
    chain = _chain(value, reader, axis, size)
    left = _left(chain, convolution)
    if left is None or len(chain.nodes) <= left:
        return False
    groups = convolution.attributes.get_int("group", 1)
    shape = (groups, 1, size // groups, *(1,) * (weights.ndim - 2))
    wide = weights.reshape(groups, -1, *weights.shape[1:]).astype(np.float64)
    scaled = (wide * chain.scale.reshape(shape)).reshape(weights.shape).astype(weights.dtype)
    name = convolution.name or "conv"
    replace_constant(graph, convolution, 1, scaled, f"{name}/kernel")
    if chain.shift.any() and not left:
        total = (wide * chain.shift.reshape(shape)).sum(tuple(range(2, wide.ndim))).reshape(-1)
        total = total if bias is None else total + bias
        replace_constant(graph, convolution, 2, total.astype(weights.dtype), f"{name}/bias")
    _replace(graph, chain, value, reader, axis, shifted=bool(left))
    return True


def _left(chain: _Chain, convolution: ir.Node) -> int | None:
    """How many nodes of the chain stay, or None where the chain can't be folded."""
    padded = any(convolution.attributes.get_ints("pads", []))
    padded |= convolution.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if not padded or not chain.shift.any():
        return 0
    if not chain.scale.all() or np.abs(chain.shift / chain.scale).max() > LARGEST_SHIFT:
        return None
    return 1


def _replace(graph: ir.Graph, chain: _Chain, value: ir.Value, reader: ir.Node, axis: int, *, shifted: bool) -> None:
    """Lets ``reader`` read the chain's source, or the source plus shift / scale."""
    source = chain.source
    if shifted:
        assert value.shape is not None
        assert value.dtype is not None
        shape = [-1 if place == axis else 1 for place in range(len(value.shape))]
        shift = (chain.shift / chain.scale).astype(value.dtype.numpy()).reshape(shape)
        name = f"{chain.nodes[0].name}/Add"
        add = ir.node("Add", [source, initializer(graph, shift, f"{chain.nodes[0].name}/shift")], name=name)
        add.outputs[0].name, add.outputs[0].type, add.outputs[0].shape = name, value.type, value.shape
        graph.insert_before(reader, add)
        source = add.outputs[0]
    reader.replace_input_with(0, source)
    for node in chain.nodes:
        graph.remove(node, safe=True)
