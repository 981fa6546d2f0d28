"""Poolings that are something simpler.

1. A window of one element only skips elements: the 1x1 convolution behind it takes over the strides.
2. A window over everything, without padding: a ReduceMean or ReduceMax over the spatial axes.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import initializer, only_consumer, replace_node

_REDUCTIONS = {"AveragePool": "ReduceMean", "MaxPool": "ReduceMax"}


def fold_pool(graph: ir.Graph) -> bool:
    """Folds every such pooling. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type in _REDUCTIONS and len(node.outputs) == 1:
            changed |= _fold(graph, node) or _reduce(graph, node)
    return changed


def _padded(node: ir.Node) -> bool:
    return any(node.attributes.get_ints("pads", [])) or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"


def _fold(graph: ir.Graph, pool: ir.Node) -> bool:
    convolution = only_consumer(pool.outputs[0])
    if convolution is None or convolution.op_type != "Conv" or convolution.inputs[0] is not pool.outputs[0]:
        return False
    rank = len(pool.attributes.get_ints("kernel_shape", []))
    for node in (pool, convolution):
        padded = (
            any(node.attributes.get_ints("pads", [])) or node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
        )
        if padded or set(node.attributes.get_ints("kernel_shape", [])) != {1}:
            return False
    if (
        set(convolution.attributes.get_ints("strides", [1] * rank)) != {1}
        or pool.attributes.get_int("ceil_mode", 0) != 0
    ):
        return False
    convolution.attributes["strides"] = ir.AttrInt64s("strides", pool.attributes.get_ints("strides", [1] * rank))
    convolution.replace_input_with(0, pool.inputs[0])
    graph.remove(pool, safe=True)
    return True


def _reduce(graph: ir.Graph, pool: ir.Node) -> bool:
    source = pool.inputs[0]
    window = list(pool.attributes.get_ints("kernel_shape", []))
    if source is None or source.shape is None or list(source.shape[2:]) != window or _padded(pool):
        return False
    if set(pool.attributes.get_ints("dilations", [1])) != {1}:
        return False
    axes = initializer(graph, np.arange(2, len(source.shape)), f"{pool.name}/axes")
    replace_node(graph, pool, _REDUCTIONS[pool.op_type], [source, axes], keepdims=1)
    return True
