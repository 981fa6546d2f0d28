"""A Pad with zeros in front of a convolution or a pooling becomes its padding.

1. Conv: always, when only spatial axes are padded.
2. MaxPool: when the padded value is never negative (a ReLU, a sigmoid or a clip at zero made it). MaxPool pads with
   minus infinity, Pad with zero: the maxima are the same as long as every window holds one real element, that is, as
   long as the padding is smaller than the window.
3. Pad, then Transpose: the Transpose comes first, with the widths permuted, so that 1 and 2 can apply.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import constant, initializer, only_consumer, producer


def fold_pad(graph: ir.Graph) -> bool:
    """Folds every such Pad. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None or node.op_type != "Pad" or node.attributes.get_string("mode", "constant") != "constant":
            continue
        consumer = only_consumer(node.outputs[0])
        if consumer is None or consumer.inputs[0] is not node.outputs[0]:
            continue
        if consumer.op_type == "Transpose":
            changed |= _swap(graph, node, consumer)
        elif consumer.op_type == "Conv" or (consumer.op_type == "MaxPool" and _never_negative(node.inputs[0])):
            changed |= _fold(graph, node, consumer)
    return changed


def _swap(graph: ir.Graph, pad: ir.Node, transpose: ir.Node) -> bool:
    """Pad → Transpose to Transpose → Pad; the nodes change places, each keeps its layer's part of the name."""
    widths, after = constant(pad.inputs[1]), only_consumer(transpose.outputs[0])
    source, padded = pad.inputs[0], pad.outputs[0]
    if widths is None or len(pad.inputs) > 3 or source is None or source.shape is None:
        return False
    if after is None or after.op_type not in ("Conv", "MaxPool"):
        return False
    perm = list(transpose.attributes.get_ints("perm"))
    permuted = np.concatenate([half[perm] for half in np.split(widths, 2)])
    moved = transpose.outputs[0]
    moved.replace_all_uses_with(padded)
    transpose.replace_input_with(0, source)
    pad.replace_input_with(0, moved)
    pad.replace_input_with(1, initializer(graph, permuted, f"{pad.name}/pads"))
    padded.shape = moved.shape
    moved.shape = ir.Shape([source.shape[axis] for axis in perm])
    padded.name = f"{padded.name}/channels_first"  # no longer the layer's output as Keras orders it
    graph.remove(transpose)
    graph.insert_before(pad, transpose)
    return True


def _never_negative(value: ir.Value | None) -> bool:
    node = producer(value, "Relu", "Sigmoid", "Clip")
    if node is None or node.op_type != "Clip":
        return node is not None
    low = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return low is not None and float(low) >= 0.0


def _fold(graph: ir.Graph, pad: ir.Node, consumer: ir.Node) -> bool:
    widths = constant(pad.inputs[1])
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    if widths is None or fill is not None or len(pad.inputs) > 3 or (widths < 0).any():
        return False
    rank = len(widths) // 2
    begin, end = [int(w) for w in widths[:rank]], [int(w) for w in widths[rank:]]
    if begin[:2] != [0, 0] or end[:2] != [0, 0] or consumer.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return False
    spatial = rank - 2
    pads = list(consumer.attributes.get_ints("pads", [0] * 2 * spatial))
    added = [a + b for a, b in zip(pads, begin[2:] + end[2:], strict=True)]
    window = consumer.attributes.get_ints("kernel_shape")
    if consumer.op_type == "MaxPool" and (
        any(pads) or any(added[i] >= window[i % spatial] for i in range(2 * spatial))
    ):
        return False
    consumer.attributes["pads"] = ir.AttrInt64s("pads", added)
    consumer.replace_input_with(0, pad.inputs[0])
    graph.remove(pad, safe=True)
    return True
