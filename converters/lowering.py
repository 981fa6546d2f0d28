"""Lowers a trace to an ONNX graph: the function of each operation writes its nodes; then layers give their names."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import KerasTensor, ops, tree
from keras.layers import Layer

from converters import layout
from converters.builder import Builder, Tensor
from converters.layout import Order
from converters.registry import lowering_of
from converters.tracing.trace import Body, Call, Trace, Weight
from converters.variables import read
from deploy.errors import ConversionError
from deploy.manifest import BATCH


@dataclass(frozen=True)
class LoweredLayer:
    """A Keras layer's output in the graph as lowered: the name its value has, its order and dtype.

    A layer with several outputs has ``path:0``, ``path:1``, …
    """

    path: str
    name: str
    order: Order
    dtype: str


@dataclass(frozen=True)
class Lowered:
    """A graph of all operations of a trace, not cleaned yet, and where each Keras layer's output is in it."""

    graph: ir.Graph
    layers: tuple[LoweredLayer, ...]


def lower(trace: Trace, opset: int, *, channels_first_inputs: bool = False) -> Lowered:
    """Lowers every call of a trace, names nodes and values after the layers, and sets the graph's inputs and outputs.

    With ``channels_first_inputs`` the graph takes inputs of rank 3 to 5 as (batch, channel, spatial…).

    Raises ConversionError naming the layer for an operation that has no lowering or is used in a way that has none.
    """
    builder = Builder(opset)
    tensors: dict[int, Tensor] = {}
    for name, tensor in trace.inputs:
        tensors[id(tensor)] = _graph_input(builder, builder.unique(name), tensor, channels_first_inputs)
    for call in trace.calls:
        _lower_call(builder, call, tensors)
    layers = _name_layers(builder, trace, tensors)
    for name, tensor in trace.outputs:
        _graph_output(builder, name, tensors[id(tensor)])
    return Lowered(
        builder.graph,
        tuple(LoweredLayer(path, t.value.name or "", t.order, str(t.dtype)) for path, t in layers),
    )


def _graph_input(builder: Builder, name: str, tensor: KerasTensor, channels_first: bool) -> Tensor:
    rank = len(tensor.shape)
    order = layout.channels_first(rank, rank - 1) if channels_first and 3 <= rank <= 5 else layout.identity(rank)
    dims: list[int | str] = [
        size if size is not None else BATCH if axis == 0 else f"{name}_{axis}" for axis, size in enumerate(tensor.shape)
    ]
    dtype = ir.DataType.from_numpy(np.dtype(tensor.dtype))
    value = ir.Value(name=name, shape=ir.Shape([dims[axis] for axis in order]), type=ir.TensorType(dtype))
    builder.graph.inputs.append(value)
    return Tensor(value, order)


def _lower_call(builder: Builder, call: Call, tensors: dict[int, Tensor]) -> None:
    function = None if call.why else lowering_of(call.operation)
    if function is None:
        from converters.fallback import fallback

        function = fallback(call)

    def resolve(value: Any) -> Any:
        if isinstance(value, KerasTensor):
            if id(value) not in tensors:
                raise ConversionError(
                    "a symbolic value of another model is used",
                    where=call.where,
                    fix="make it an input of this model",
                )
            return tensors[id(value)]
        return _numpy(value)

    builder.path, builder.where, builder.outputs = call.path, call.where, call.outputs
    builder.bodies = tuple(functools.partial(_run_body, builder, body, tensors) for body in call.bodies)
    operation = call.operation
    symbolic = {key: value for key, value in vars(operation).items() if isinstance(value, KerasTensor)}
    if symbolic and not isinstance(operation, Layer):  # arguments that Keras keeps as attributes, such as clip's bounds
        operation = object.__new__(type(call.operation))
        vars(operation).update(vars(call.operation), **{key: resolve(value) for key, value in symbolic.items()})
    args, kwargs = tree.map_structure(resolve, (call.args, call.kwargs))
    results = tree.flatten(function(builder, operation, *args, **kwargs))
    for expected, result in zip((x for x in tree.flatten(call.outputs) if x is not None), results, strict=True):
        _check(call, expected, result)
        tensors[id(expected)] = result


def _run_body(builder: Builder, body: Body, tensors: Mapping[int, Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Lowers the calls of a body on these inputs, in the graph at hand; what it computes is not seen outside."""
    inner = {**tensors, **{id(x): tensor for x, tensor in zip(body.inputs, inputs, strict=True)}}
    around = builder.path, builder.where, builder.outputs, builder.bodies
    for call in body.calls:
        _lower_call(builder, call, inner)
    builder.path, builder.where, builder.outputs, builder.bodies = around
    return [_output(builder, x, inner) for x in body.outputs]


def _output(builder: Builder, value: Any, tensors: Mapping[int, Tensor]) -> Tensor:
    if isinstance(value, KerasTensor):
        return tensors[id(value)]
    array = np.asarray(_numpy(value if isinstance(value, Weight) else ops.convert_to_tensor(value)))
    return Tensor(builder.constant(array), layout.identity(array.ndim))


_PLAIN = (int, float, str, type(None), np.ndarray)


def _numpy(value: Any) -> Any:
    """Weights and backend tensors as numpy arrays; everything else as it is."""
    if isinstance(value, Weight):
        return read(value.variable).astype(value.dtype, copy=False)
    if not isinstance(value, _PLAIN) and ops.is_tensor(value):
        return np.asarray(ops.convert_to_numpy(value))
    return value


def _check(call: Call, expected: KerasTensor, result: Tensor) -> None:
    """The lowered tensor must have the rank, sizes and dtype that Keras says: a wrong one shall not go on silently."""
    refuse_dtype(expected.dtype, call.where)
    same = len(expected.shape) == result.rank == len(result.dims) and all(
        a is None or b is None or a == b for a, b in zip(expected.shape, result.shape, strict=True)
    )
    if not same or result.dtype != np.dtype(expected.dtype):
        raise ConversionError(
            f"the lowering of {type(call.operation).__name__} gives another tensor than Keras",
            where=call.where,
            expected=f"{tuple(expected.shape)} {expected.dtype}",
            found=f"{tuple(map(str, result.dims))} {result.dtype}, order {result.order}",
            fix="report this with the layer's configuration; --exporter tf2onnx may convert the model meanwhile",
        )


def refuse_dtype(dtype: str, where: str) -> None:
    """Raises ConversionError for a dtype that graphs cannot compute with: text, and complex numbers."""
    if dtype == "string" or dtype.startswith("complex"):
        raise ConversionError(
            f"a value of dtype {dtype} cannot be converted",
            where=where,
            fix="give the model numbers: text as tokens, complex values as real and imaginary parts",
        )


def _name_layers(builder: Builder, trace: Trace, tensors: dict[int, Tensor]) -> list[tuple[str, Tensor]]:
    """Gives each layer's output value and its node the layer's path; the innermost layer's name stays."""
    found: list[tuple[str, Tensor]] = []
    named: set[ir.Value] = set()
    for call in trace.layers:
        for index, output in enumerate(call.outputs):
            tensor = tensors.get(id(output))
            if tensor is None:
                continue
            path = call.path if len(call.outputs) == 1 else f"{call.path}:{index}"
            found.append((path, tensor))
            node = tensor.value.producer()
            if node is None or tensor.value in named or not (node.name or "").startswith(call.path + "/"):
                continue
            named.add(tensor.value)
            name = builder.unique(path)
            tensor.value.name = name
            if index == 0:
                node.name = name
    return found


def _graph_output(builder: Builder, name: str, tensor: Tensor) -> None:
    builder.path = name
    value = builder.identity(tensor).value
    if value.is_graph_input() or value.is_graph_output() or value.is_initializer():
        value = builder.op("Identity", value)
    clash = [x for x in _all_values(builder.graph) if x.name == name and x is not value]
    for other in clash:
        if other.is_graph_input():
            name = builder.unique(name)
        else:
            other.name = builder.unique(f"{name}/value")
    value.name = name
    builder.graph.outputs.append(value)


def _all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
    for inner in graph.subgraphs():
        yield from inner.inputs
        for node in inner:
            yield from node.outputs
