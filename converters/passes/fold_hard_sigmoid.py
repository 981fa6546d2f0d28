"""Hard sigmoids and hard swishes that a model spells out become ONNX's nodes.

1. Clip from 0 to h, then Mul by 1 / h (or Div by h): HardSigmoid of alpha 1 / h. An Add of a number in front is its
   beta: relu6(x + 3) / 6.
2. x * HardSigmoid(x) of alpha 1/6 and beta 1/2: HardSwish (Howard et al. 2019).
3. x * relu6(x + 3), then Mul by 1/6 or Div by 6: the same.
"""

from __future__ import annotations

import onnx_ir as ir

from converters.passes.rewriting import absorb, constant, only_consumer, other_input, producer, replace_node

_CLOSE = 1e-6


def fold_hard_sigmoid(graph: ir.Graph) -> bool:
    """Folds every such group. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        if node.graph is None:
            continue
        if node.op_type == "Clip":
            changed |= _fold_clip(graph, node) or _fold_swish_of_clip(graph, node)
        elif node.op_type == "HardSigmoid":
            changed |= _fold_swish(graph, node)
    return changed


def _number(value: ir.Value | None) -> float | None:
    array = constant(value)
    return float(array.reshape(())) if array is not None and array.size == 1 else None


def _divisor(node: ir.Node | None, value: ir.Value) -> float | None:
    """The number that a node divides a value by."""
    if node is None or node.op_type not in ("Mul", "Div"):
        return None
    number = _number(other_input(node, value))
    if not number or (node.op_type == "Div" and node.inputs[0] is not value):
        return None
    return number if node.op_type == "Div" else 1.0 / number


def _ceiling(clip: ir.Node) -> float | None:
    """The upper bound of a Clip from 0."""
    low, high = (_number(value) for value in clip.inputs[1:3]) if len(clip.inputs) == 3 else (None, None)
    return high if low == 0.0 and high is not None and high > 0 else None


def _shift(clip: ir.Node) -> tuple[ir.Value | None, float]:
    """What is clipped, without a number added to it that nothing else reads, and that number."""
    source = clip.inputs[0]
    add = producer(source, "Add")
    if add is None or source is None or only_consumer(source) is not clip:
        return source, 0.0
    for value, other in (add.inputs, reversed(add.inputs)):
        number = _number(other)
        if number is not None and value is not None and value.shape == source.shape:
            return value, number
    return source, 0.0


def _fold_clip(graph: ir.Graph, clip: ir.Node) -> bool:
    high, scale = _ceiling(clip), only_consumer(clip.outputs[0])
    divisor = _divisor(scale, clip.outputs[0])
    if high is None or scale is None or divisor is None or abs(divisor / high - 1.0) > _CLOSE:
        return False
    if scale.outputs[0].shape != clip.outputs[0].shape:
        return False
    source, shift = _shift(clip)
    node = replace_node(graph, clip, "HardSigmoid", [source], alpha=1.0 / high, beta=shift / high)
    absorb(graph, node, scale)
    return True


def _fold_swish(graph: ir.Graph, gate: ir.Node) -> bool:
    alpha, beta = gate.attributes.get_float("alpha", 0.2), gate.attributes.get_float("beta", 0.5)
    product = only_consumer(gate.outputs[0])
    if abs(alpha * 6.0 - 1.0) > _CLOSE or abs(beta - 0.5) > _CLOSE or product is None or product.op_type != "Mul":
        return False
    if other_input(product, gate.outputs[0]) is not gate.inputs[0]:
        return False
    absorb(graph, replace_node(graph, gate, "HardSwish", [gate.inputs[0]]), product)
    return True


def _fold_swish_of_clip(graph: ir.Graph, clip: ir.Node) -> bool:
    product = only_consumer(clip.outputs[0])
    if _ceiling(clip) != 6.0 or product is None or product.op_type != "Mul":
        return False
    source, shift = _shift(clip)
    scale = only_consumer(product.outputs[0])
    divisor = _divisor(scale, product.outputs[0])
    if shift != 3.0 or other_input(product, clip.outputs[0]) is not source or scale is None or divisor is None:
        return False
    if abs(divisor / 6.0 - 1.0) > _CLOSE or scale.outputs[0].shape != clip.outputs[0].shape:
        return False
    node = replace_node(graph, clip, "HardSwish", [source])
    absorb(graph, node, product)
    absorb(graph, node, scale)
    return True
