"""What several passes need: reading constants, asking who uses a value, letting one node absorb the next."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

Array = NDArray[Any]

OUTPUT_AXIS = {"Conv": 0, "ConvTranspose": 1, "Gemm": 1}
"""Nodes with weights, and the axis of their weights that is the output's channel."""

ACTIVATIONS = frozenset(
    ("Celu", "Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Tanh")
)
"""Nodes that map each element of their first input; a Clip's other inputs are numbers."""


def constant(value: ir.Value | None) -> Array | None:
    """The array of an initializer, or None for a computed value."""
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return value.const_value.numpy()


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The one node that reads a value once, in its own graph, or None when there are others or it is an output."""
    uses = value.uses()
    if value.is_graph_output() or len(uses) != 1:
        return None
    node, maker = next(iter(uses)).node, value.producer()
    return node if maker is None or maker.graph is node.graph else None


def producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node that made a value, if it is of one of these types."""
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type in op_types else None


def other_input(node: ir.Node, value: ir.Value) -> ir.Value | None:
    """The other operand of a binary node."""
    left, right = node.inputs
    return right if left is value else left


def same_size(one: int | ir.SymbolicDim, two: int | ir.SymbolicDim) -> bool:
    """Whether two sizes are equal; of an unknown one without a name that is not known."""
    if isinstance(one, int) or isinstance(two, int):
        return one == two
    return one.value is not None and one.value == two.value


def reshape_target(target: Array, before: ir.Shape, now: ir.Shape) -> Array | None:
    """A Reshape's target for a value of other sizes than ``before``; None where there is none.

    A 0 copies the size in its place; where another one stands there now, one of them may become what remains.
    """
    target = np.array(target)
    wrong = [i for i, size in enumerate(target) if size == 0 and (i >= len(now) or not same_size(now[i], before[i]))]
    if len(wrong) > 1 or (wrong and -1 in target):
        return None
    target[wrong] = -1
    return target


def initializer(graph: ir.Graph, array: Array, name: str) -> ir.Value:
    """A new initializer with a name that is not taken yet."""
    unique, number = name, 1
    while unique in graph.initializers:
        unique, number = f"{name}_{number}", number + 1
    tensor = ir.Tensor(array, name=unique)
    value = ir.Value(name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def replace_constant(graph: ir.Graph, node: ir.Node, index: int, array: Array, name: str) -> None:
    """Gives a node a new constant in the place of another, which goes at once when nothing else reads it."""
    old = node.inputs[index] if index < len(node.inputs) else None
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    node.replace_input_with(index, initializer(graph, array, name))
    if old is not None and old.is_initializer() and not old.uses() and not old.is_graph_output():
        assert old.name is not None
        del graph.initializers[old.name]


def absorb(graph: ir.Graph, node: ir.Node, consumer: ir.Node) -> None:
    """Lets ``node`` give what ``consumer`` gave: its value takes over name, type, shape, uses, place as an output."""
    kept, gone = node.outputs[0], consumer.outputs[0]
    gone.replace_all_uses_with(kept, replace_graph_outputs=True)
    name, node.name = gone.name, consumer.name
    graph.remove(consumer, safe=True)
    gone.name = None
    kept.name = name
    kept.type, kept.shape = gone.type, gone.shape


def replace_node(
    graph: ir.Graph, node: ir.Node, op_type: str, inputs: list[ir.Value | None], **attributes: Any
) -> ir.Node:
    """Puts a node of another type in a node's place; its value keeps name, type and shape."""
    old = node.outputs[0]
    new = ir.node(op_type, inputs, attributes or None)
    value = new.outputs[0]
    value.type, value.shape = old.type, old.shape
    graph.insert_before(node, new)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    new.name, name = node.name, old.name
    graph.remove(node, safe=True)
    old.name = None
    value.name = name
    return new


def per_channel(array: Array, rank: int, channels: int) -> Array | None:
    """A constant that varies over axis 1 alone, as a vector of ``channels``; None for any other."""
    return per_axis(array, rank, 1, channels)


def per_axis(array: Array, rank: int, axis: int, size: int) -> Array | None:
    """A constant that varies over one axis of a value alone, as a vector of that ``size``; None for any other."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(count != 1 for place, count in enumerate(shape) if place != axis) or shape[axis] not in (1, size):
        return None
    return np.broadcast_to(array.reshape(-1), (size,))


def whole(weights: Array) -> bool:
    """Whether weights are whole numbers, as those of a quantized layer are, whose products stay exact unless scaled."""
    first = weights.ravel("K")[:64]  # in the order of memory, of which no copy is made
    return bool((first == np.rint(first)).all() and (weights == np.rint(weights)).all())


def plain_product(node: ir.Node) -> bool:
    """Whether a node uses its weights as they are: no Gemm that scales or transposes, no grouped ConvTranspose."""
    if node.op_type == "ConvTranspose":
        return node.attributes.get_int("group", 1) == 1
    scaled = any(node.attributes.get_float(name, 1.0) != 1.0 for name in ("alpha", "beta"))
    transposed = any(node.attributes.get_int(name, 0) != 0 for name in ("transA", "transB"))
    return node.op_type != "Gemm" or not (scaled or transposed)
