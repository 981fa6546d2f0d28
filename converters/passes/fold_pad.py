"""A Pad with zeros in front of a convolution or a pooling becomes its padding, when all its readers can take it.

1. Conv: always, when only spatial axes are padded.
2. AveragePool without padding: it then counts the zeros, as it did.
3. MaxPool: when the padded value is never negative (a ReLU, a sigmoid or a clip at zero made it). MaxPool pads with
   minus infinity, Pad with zero: the maxima are the same as long as every window holds one real element, that is, as
   long as the padding is smaller than the window.
4. Pad, then Transpose: the Transpose comes first, with the widths permuted, so that the others can apply.
5. Pad behind, then a Slice that cuts off in front: the Slice comes first, for the same reason.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import Array, constant, initializer, only_consumer, producer


def fold_pad(graph: ir.Graph) -> bool:
    """Folds every such Pad. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None or node.op_type != "Pad" or node.attributes.get_string("mode", "constant") != "constant":
            continue
        consumer = only_consumer(node.outputs[0])
        if consumer is not None and consumer.op_type == "Transpose":
            changed |= _swap(graph, node, consumer)
        elif consumer is not None and consumer.op_type == "Slice":
            changed |= _swap_slice(graph, node, consumer)
        else:
            changed |= _fold(graph, node)
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


def _widths(pad: ir.Node) -> Array | None:
    """The widths of a Pad with zeros on all axes, none of them negative."""
    widths = constant(pad.inputs[1])
    fill = pad.inputs[2] if len(pad.inputs) > 2 else None
    if widths is None or fill is not None or len(pad.inputs) > 3 or (widths < 0).any():
        return None
    return widths


def _swap_slice(graph: ir.Graph, pad: ir.Node, cut: ir.Node) -> bool:
    """Pad → Slice to Slice → Pad, where the Slice cuts off as much in front as was put behind; names as in `_swap`."""
    widths, source, padded, result = _widths(pad), pad.inputs[0], pad.outputs[0], cut.outputs[0]
    arrays = [constant(value) for value in cut.inputs[1:]]
    if widths is None or source is None or source.shape is None or any(array is None for array in arrays):
        return False
    if not 3 <= len(arrays) <= 4 or set(np.asarray(arrays[3:]).reshape(-1).tolist()) - {1}:  # steps
        return False
    starts, ends, axes = (np.asarray(array).tolist() for array in arrays[:3])
    sizes = list(source.shape)
    rank = len(sizes)
    if widths[:rank].any() or result.is_graph_output():
        return False
    for start, end, axis in zip(starts, ends, axes, strict=True):
        size, behind = sizes[axis], int(widths[rank + axis])
        if not isinstance(size, int) or axis < 0 or not 0 <= start < size or (0 <= end < size + behind) or end < 0:
            return False
        sizes[axis] = size - start
    result.replace_all_uses_with(padded)
    cut.replace_input_with(0, source)
    pad.replace_input_with(0, result)
    padded.shape, result.shape = result.shape, ir.Shape(sizes)
    padded.name, result.name = result.name, f"{result.name}/Slice"
    pad.name, cut.name = cut.name, f"{cut.name}/Slice"
    graph.remove(cut)
    graph.insert_before(pad, cut)
    return True


def _fold(graph: ir.Graph, pad: ir.Node) -> bool:
    widths, value = _widths(pad), pad.outputs[0]
    if widths is None or value.is_graph_output() or not value.uses():
        return False
    rank = len(widths) // 2
    if widths[:2].any() or widths[rank : rank + 2].any():
        return False
    added = [int(width) for width in (*widths[2:rank], *widths[rank + 2 :])]
    if not all(use.idx == 0 and _takes(use.node, pad.inputs[0], added) for use in value.uses()):
        return False
    for use in list(value.uses()):
        pads = use.node.attributes.get_ints("pads", [0] * len(added))
        use.node.attributes["pads"] = ir.AttrInt64s("pads", [a + b for a, b in zip(pads, added, strict=True)])
        if use.node.op_type == "AveragePool":
            use.node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        use.node.replace_input_with(0, pad.inputs[0])
    graph.remove(pad, safe=True)
    return True


def _takes(node: ir.Node, source: ir.Value | None, added: list[int]) -> bool:
    """Whether a node gives the same for the padding ``added`` (in front, then behind) as for padded input."""
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return False
    if node.op_type == "Conv":
        return True
    if node.op_type not in ("MaxPool", "AveragePool") or any(node.attributes.get_ints("pads", [])):
        return False
    window = node.attributes.get_ints("kernel_shape", [])
    if node.attributes.get_int("ceil_mode", 0) != 0 or len(node.outputs) > 1:
        return False
    if any(width >= size for width, size in zip(added, [*window, *window], strict=True)):
        return False
    return node.op_type == "AveragePool" or _never_negative(source)
