"""Convolutions of one value that are added up are one convolution (Ding et al. 2021, RepVGG).

1. Conv(x) + Conv(x) with the same strides and groups: the smaller kernel is added to the larger one where its taps
   lie, if it lies in it as a whole.
2. Conv(x) + BatchNormalization(x): the second is a kernel of one tap, its factors on the diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import (
    Array,
    absorb,
    constant,
    only_consumer,
    other_input,
    replace_constant,
    same_size,
    whole,
)


@dataclass(frozen=True)
class _Branch:
    """A branch as a convolution: weights, bias, padding before, and the attributes that both must share."""

    node: ir.Node
    weights: Array
    bias: Array
    before: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    groups: int


def fold_branches(graph: ir.Graph) -> bool:
    """Folds every such sum. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "Add":
            changed |= _fold(graph, node)
    return changed


def _fold(graph: ir.Graph, total: ir.Node) -> bool:
    for value in total.inputs:
        convolution = value.producer() if value is not None else None
        if convolution is None or value is None or convolution.op_type != "Conv":
            continue
        other = other_input(total, value)
        second = other.producer() if other is not None else None
        if second is None or second is convolution or second.inputs[0] is not convolution.inputs[0]:
            continue
        results = convolution.outputs[0], second.outputs[0]
        if any(only_consumer(result) is not total for result in results) or not _alike(*results):
            continue
        one = _convolution(convolution)
        two = _convolution(second) if second.op_type == "Conv" else _norm(second, one)
        joined = _joined(one, two) if one is not None and two is not None else None
        if joined is not None:
            weights, bias = joined
            replace_constant(graph, convolution, 1, weights, f"{total.name}/kernel")
            replace_constant(graph, convolution, 2, bias, f"{total.name}/bias")
            later = max(convolution, second, key=list(graph).index)
            if later is second:  # what the sum waited for
                graph.remove(convolution)
                graph.insert_before(total, convolution)
            absorb(graph, convolution, total)
            graph.remove(second, safe=True)
            return True
    return False


def _alike(one: ir.Value, two: ir.Value) -> bool:
    """Whether two values have the same sizes, so that windows that begin together end together."""
    if one.shape is None or two.shape is None or len(one.shape) != len(two.shape):
        return False
    return all(map(same_size, one.shape, two.shape))


def _convolution(node: ir.Node) -> _Branch | None:
    weights, attributes = constant(node.inputs[1]), node.attributes
    biased = len(node.inputs) > 2 and node.inputs[2] is not None
    bias = constant(node.inputs[2]) if biased else None
    if weights is None or (biased and bias is None) or attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    count = weights.ndim - 2
    pads = tuple(attributes.get_ints("pads", (0,) * 2 * count))
    strides, dilations = (tuple(attributes.get_ints(name, (1,) * count)) for name in ("strides", "dilations"))
    bias = np.zeros(len(weights), weights.dtype) if bias is None else bias
    groups = attributes.get_int("group", 1)
    return _Branch(node, weights, bias, pads[:count], strides, dilations, groups)


def _norm(node: ir.Node, beside: _Branch | None) -> _Branch | None:
    """A BatchNormalization as a convolution in the groups of the other one."""
    arrays = [constant(value) for value in node.inputs[1:5]] if node.op_type == "BatchNormalization" else [None]
    if beside is None or any(array is None for array in arrays) or len(arrays) < 4:
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    channels, inside = beside.weights.shape[:2]
    if len(gamma) != channels or inside * beside.groups != channels:
        return None
    factor = gamma / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
    weights = np.zeros((channels, inside))
    weights[np.arange(channels), np.arange(channels) % inside] = factor
    count = beside.weights.ndim - 2
    ones, none = (1,) * count, (0,) * count
    shape = (channels, inside, *ones)
    return _Branch(node, weights.reshape(shape), beta - mean * factor, none, ones, ones, beside.groups)


def _joined(one: _Branch, two: _Branch) -> tuple[Array, Array] | None:
    """Weights and bias of the sum, in the first one's size."""
    large, small = one.weights.shape, two.weights.shape
    if large[:2] != small[:2] or one.strides != two.strides or one.groups != two.groups or whole(one.weights):
        return None
    place = [slice(None), slice(None)]
    for axis, (size, taps) in enumerate(zip(large[2:], small[2:], strict=True)):
        step = one.dilations[axis]
        start = (one.before[axis] - two.before[axis]) // step
        aligned = start * step == one.before[axis] - two.before[axis] and (taps == 1 or step == two.dilations[axis])
        if not (aligned and 0 <= start <= size - taps):
            return None
        place.append(slice(start, start + taps))
    weights = one.weights.astype(np.float64)
    weights[tuple(place)] += two.weights
    bias = one.bias.astype(np.float64) + two.bias
    return weights.astype(one.weights.dtype), bias.astype(one.weights.dtype)
