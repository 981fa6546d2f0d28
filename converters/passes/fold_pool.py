"""A pooling with a window of one element only skips elements: the 1x1 convolution behind it takes over its strides."""

from __future__ import annotations

import onnx_ir as ir

from converters.passes.rewriting import only_consumer


def fold_pool(graph: ir.Graph) -> bool:
    """Folds every such pooling. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is not None and node.op_type in ("AveragePool", "MaxPool"):
            changed |= _fold(graph, node)
    return changed


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
