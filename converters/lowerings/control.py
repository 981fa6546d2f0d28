"""Branches and loops: If, Loop and Scan, with the functions they run as subgraphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import tree

from converters import layout
from converters.builder import Builder, Tensor
from converters.lowerings.broadcasting import Operand, as_tensor, cast
from converters.registry import lowers
from converters.tracing.control_flow import If, Loop, Scan


@lowers(If)
def if_(g: Builder, op: If, pred: Tensor) -> list[Tensor]:
    """The condition has one element; both branches give the same outputs, as Keras has them."""
    graphs, given = [], []
    for label, body in zip(("then", "else"), g.bodies, strict=True):
        with g.subgraph(label) as graph:
            outputs = _as_keras(g, body(()), _specs(g))
            for x in outputs:
                g.output(x.value)
        graphs.append(graph)
        given.append(graph.outputs)
    likes = [_like(*values) for values in zip(*given, strict=True)]
    condition = _scalar(g, cast(g, pred, "bool"))
    values = g.with_subgraphs("If", [condition], likes, then_branch=graphs[0], else_branch=graphs[1])
    return _tensors(values)


@lowers(Loop)
def loop(g: Builder, op: Loop, count: Operand | None, *values: Operand) -> list[Tensor]:
    """The values are carried, as Keras has them; the second body, where there is one, is the condition."""
    start: Operand | None = None
    if not op.from_zero:
        start, values = values[0], values[1:]
    specs = _specs(g)
    first = _as_keras(g, [as_tensor(g, x, spec.dtype) for x, spec in zip(values, specs, strict=True)], specs)
    test = g.bodies[1] if len(g.bodies) > 1 else None
    goes_on = _scalar(g, cast(g, test(first)[0], "bool")) if test is not None else None
    with g.subgraph("body") as graph:
        step = g.input("step", Tensor(g.constant(np.asarray(0, np.int64)), ()))
        g.input("condition", Tensor(g.constant(np.asarray(True)), ()))
        carried = [g.input("value", _open(x, spec)) for x, spec in zip(first, specs, strict=True)]
        number = cast(g, step, "int32")
        if start is not None:
            number = Tensor(g.op("Add", number.value, cast(g, as_tensor(g, start), "int32").value), ())
        after = _as_keras(g, g.bodies[0]([number, *carried]), specs)
        still = _scalar(g, cast(g, test(after)[0], "bool")) if test is not None else g.constant(np.asarray(True))
        g.output(still)
        for x in after:
            g.output(x.value)
    trips = None if count is None else _scalar(g, cast(g, as_tensor(g, count), "int64"))
    likes = [_open(x, spec).value for x, spec in zip(first, specs, strict=True)]
    return _tensors(g.with_subgraphs("Loop", [trips, goes_on, *(x.value for x in first)], likes, body=graph))


@lowers(Scan)
def scan(g: Builder, op: Scan, state: Sequence[Operand], xs: Sequence[Operand]) -> list[Tensor]:
    """Each tensor is stepped over along whichever axis its first one lies in; state and slices have the body's order.

    Where it lies second (a sequence with the batch in front), so do the outputs, and nothing is transposed. Where there
    is no state a number is carried, since TensorRT takes no Scan without one.
    """
    specs = _specs(g)
    count = len(state)
    unused = [] if count else [Tensor(g.constant(np.asarray(0, np.float32)), ())]
    first = _as_keras(g, [as_tensor(g, x, spec.dtype) for x, spec in zip(state, specs, strict=False)], specs[:count])
    first, tensors = _in_order_of_body(g, first, [as_tensor(g, x) for x in xs])
    axes = [x.axis(0) for x in tensors]
    with g.subgraph("body") as graph:
        carried = [g.input("state", _open(x, spec)) for x, spec in zip(first, specs, strict=False)]
        kept = [g.input("state", x) for x in unused]
        slices = [g.input("slice", _slice(x)) for x in tensors]
        outputs = g.bodies[0]([*carried, *slices])
        after = [
            g.arrange(cast(g, x, spec.dtype), like.order)
            for x, spec, like in zip(outputs[:count], specs, first, strict=False)
        ]
        each = [cast(g, x, spec.dtype) for x, spec in zip(outputs[count:], specs[count:], strict=True)]
        for x in (*after, *kept, *each):
            g.output(x.value)
    places = [1 if axes[0] == 1 and x.rank else 0 for x in each]
    orders = [tuple(_inserted(x.order, place)) for x, place in zip(each, places, strict=True)]
    length = tensors[0].dims[axes[0]]
    likes = [_open(x, spec).value for x, spec in zip(first, specs, strict=False)] + [x.value for x in unused]
    likes += [_stacked(x, place, length) for x, place in zip(each, places, strict=True)]
    backwards = 1 if op.backwards else 0
    values = g.with_subgraphs(
        "Scan",
        [x.value for x in (*first, *unused, *tensors)],
        likes,
        body=graph,
        num_scan_inputs=len(tensors),
        scan_input_axes=axes if any(axes) else None,
        scan_input_directions=[backwards] * len(axes) if backwards else None,
        scan_output_axes=places if any(places) else None,
        scan_output_directions=[backwards] * len(places) if backwards and op.in_place and places else None,
    )
    stacked = zip(values[count + len(unused) :], orders, strict=True)
    last = [Tensor(value, x.order) for value, x in zip(values, first, strict=False)]
    return [*last, *(Tensor(value, order) for value, order in stacked)]


def _in_order_of_body(
    g: Builder, state: Sequence[Tensor], tensors: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The state and tensors of a Scan in the order in which its body wants them, so that no step transposes them.

    The body is written once to see: an input that is only read through one Transpose is wanted as that gives it; a
    state only if the body leaves it so.
    """
    with g.rehearsal():
        inputs = [g.input("input", x) for x in (*state, *(_slice(x) for x in tensors))]
        outputs = g.bodies[0](inputs)
        wanted = [_wanted(x) for x in inputs]
    count = len(state)
    orders = [
        order if order == after.order else x.order
        for x, order, after in zip(state, wanted[:count], outputs[:count], strict=True)
    ]
    first = [g.arrange(x, order) for x, order in zip(state, orders, strict=True)]
    moved = []
    for x, order in zip(tensors, wanted[count:], strict=True):
        place = x.axis(0)
        moved.append(g.arrange(x, tuple(_inserted(order, place))))
    return first, moved


def _wanted(x: Tensor) -> layout.Order:
    """The order in which the nodes of a body read one of its inputs."""
    readers = [use.node for use in x.value.uses()]
    perms = {tuple(node.attributes.get_ints("perm", ())) for node in readers if node.op_type == "Transpose"}
    if len(perms) != 1 or any(node.op_type != "Transpose" for node in readers):
        return x.order
    return tuple(x.order[axis] for axis in perms.pop())


def _specs(g: Builder) -> list[Any]:
    return [x for x in tree.flatten(g.outputs) if x is not None]


def _as_keras(g: Builder, tensors: Sequence[Tensor], specs: Sequence[Any]) -> list[Tensor]:
    return [g.identity(cast(g, x, spec.dtype)) for x, spec in zip(tensors, specs, strict=True)]


def _tensors(values: Sequence[ir.Value]) -> list[Tensor]:
    return [Tensor(value, layout.identity(len(value.shape or ()))) for value in values]


def _scalar(g: Builder, x: Tensor) -> ir.Value:
    """A tensor of one element as a scalar."""
    return x.value if x.rank == 0 else g.op("Reshape", x.value, np.zeros(0, np.int64))


def _like(first: ir.Value, second: ir.Value) -> ir.Value:
    """A value of the type of both, whose size is unknown where theirs differ."""
    assert first.shape is not None
    assert second.shape is not None
    dims = [a if a == b else None for a, b in zip(first.shape, second.shape, strict=True)]
    return ir.Value(shape=ir.Shape(dims), type=first.type)


def _open(x: Tensor, spec: Any) -> Tensor:
    """The tensor, its size unknown where Keras says that a loop may change it."""
    sizes = layout.physical(spec.shape, x.order)
    dims = [None if size is None and isinstance(d, int) else d for d, size in zip(x.dims, sizes, strict=True)]
    return Tensor(ir.Value(shape=ir.Shape(dims), type=x.value.type), x.order)


def _slice(x: Tensor) -> Tensor:
    """What one step over the first logical axis sees of a tensor."""
    axis = x.axis(0)
    dims = [d for place, d in enumerate(x.dims) if place != axis]
    order = tuple(a - 1 for a in x.order if a != 0)
    return Tensor(ir.Value(shape=ir.Shape(dims), type=x.value.type), order)


def _inserted(order: layout.Order, place: int) -> list[int]:
    """The order of outputs that are stacked along a physical axis, which is the first logical one."""
    rest = [axis + 1 for axis in order]
    return [*rest[:place], 0, *rest[place:]]


def _stacked(x: Tensor, place: int, length: Any) -> ir.Value:
    dims = list(x.dims)
    return ir.Value(shape=ir.Shape([*dims[:place], length, *dims[place:]]), type=x.value.type)
