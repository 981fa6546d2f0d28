"""A 1x1 convolution whose positions are added up is one convolution over them.

The end of CBAM's shared MLP, which runs over both pooled vectors as two positions of one map: Conv, then ReduceSum over
that axis. sum_i (W x_i + b) is a convolution with W in each of its n taps and the bias n b. It has n times the weights
of the one it replaces, so n is `MOST` at most.

The node keeps its name, that of the layer with the weights; its value takes the name of the sum.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import absorb, constant, only_consumer, producer, replace_constant

MOST = 4
_UNPADDED = ("NOTSET", "VALID")


def fold_sum(graph: ir.Graph) -> bool:
    """Folds every such ReduceSum. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type == "ReduceSum":
            changed |= _fold(graph, node)
    return changed


def _fold(graph: ir.Graph, total: ir.Node) -> bool:
    convolution = producer(total.inputs[0], "Conv")
    if convolution is None or only_consumer(convolution.outputs[0]) is not total:
        return False
    weights, taps = constant(convolution.inputs[1]), _taps(convolution.outputs[0], total)
    biased = len(convolution.inputs) > 2 and convolution.inputs[2] is not None
    bias = constant(convolution.inputs[2]) if biased else None
    if weights is None or (biased and bias is None) or taps is None or not _is_pointwise(convolution, weights.shape):
        return False
    name = convolution.name or "conv"
    kernel = np.broadcast_to(weights, (*weights.shape[:2], *taps))
    replace_constant(graph, convolution, 1, kernel, f"{name}/kernel")
    if bias is not None:
        repeated = (bias.astype(np.float64) * math.prod(taps)).astype(bias.dtype)
        replace_constant(graph, convolution, 2, repeated, f"{name}/bias")
    convolution.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", taps)
    absorb(graph, convolution, total)
    convolution.name = name
    return True


def _taps(value: ir.Value, total: ir.Node) -> list[int] | None:
    """For each spatial axis of a map, its size where it is summed whole and kept as 1, else 1."""
    axes, shape = constant(total.inputs[1]) if len(total.inputs) > 1 else None, value.shape
    if axes is None or shape is None or total.attributes.get_int("keepdims", 1) == 0:
        return None
    summed = {int(axis) % len(shape) for axis in axes}
    sizes = [shape[axis] for axis in summed if axis >= 2]
    known = [size for size in sizes if isinstance(size, int)]
    if not summed or len(known) < len(summed) or math.prod(known) > MOST:
        return None
    return [size if axis in summed and isinstance(size, int) else 1 for axis, size in enumerate(shape)][2:]


def _is_pointwise(convolution: ir.Node, shape: tuple[int, ...]) -> bool:
    """Whether it gives one output for each position of its input, by what attributes a larger kernel may have too."""
    attributes = convolution.attributes
    padded = any(attributes.get_ints("pads", [])) or attributes.get_string("auto_pad", "NOTSET") not in _UNPADDED
    steps = {*attributes.get_ints("strides", [1]), *attributes.get_ints("dilations", [1])}
    return set(shape[2:]) == {1} and not padded and steps == {1}
