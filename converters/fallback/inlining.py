"""Copies a foreign ONNX graph (tf2onnx's, of one layer) into the graph being written, with its branches and loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from converters.builder import Builder

Values = dict[ir.Value | None, ir.Value | None]


def inline(g: Builder, graph: ir.Graph, inputs: Sequence[ir.Value]) -> list[ir.Value]:
    """Writes the nodes of ``graph`` for these inputs, under the layer's name; gives what its outputs are."""
    return _copy(g, graph, {None: None, **dict(zip(graph.inputs, inputs, strict=True))})


def _copy(g: Builder, graph: ir.Graph, values: Values) -> list[ir.Value]:
    for value in graph.initializers.values():
        assert value.const_value is not None
        values[value] = g.constant(value.const_value.numpy(), "constant")
    for node in graph:
        made = _copy_node(g, node, values)
        values.update(zip(node.outputs, made, strict=True))
    found = [values[value] for value in graph.outputs]
    return [value for value in found if value is not None]


def _copy_node(g: Builder, node: ir.Node, values: Values) -> Sequence[ir.Value]:
    given = {name: attribute.value for name, attribute in node.attributes.items()}
    bodies = {name: value for name, value in given.items() if isinstance(value, ir.Graph)}
    if not bodies:
        inputs = [values[x] for x in node.inputs]
        if node.op_type == "Transpose" and inputs[0] is not None and inputs[0].shape is not None:
            given.setdefault("perm", list(reversed(range(inputs[0].shape.rank()))))  # which passes read
        made = g.op(node.op_type, *inputs, outputs=len(node.outputs), **_current(given))
        return made if isinstance(made, tuple) else (made,)
    for name, body in bodies.items():
        with g.subgraph(name) as graph:
            inner = dict(values)
            for value in body.inputs:
                inner[value] = ir.Value(name=g.unique(f"{graph.name}/input"), shape=value.shape, type=value.type)
                graph.inputs.append(inner[value])  # type: ignore[arg-type]
            for output in _copy(g, body, inner):
                g.output(output)
        given[name] = graph
    return g.with_subgraphs(node.op_type, [values[x] for x in node.inputs], _typed_outputs(node, graph), **given)


def _typed_outputs(node: ir.Node, body: ir.Graph) -> list[ir.Value]:
    """A node's outputs; for one without a shape, which its body carries from step to step, what the body gives."""
    given = body.outputs[-len(node.outputs) :]
    carried = len(node.inputs) - 2 if node.op_type == "Loop" else len(given)
    pairs = enumerate(zip(node.outputs, given, strict=True))
    return [inner if value.shape is None and place < carried else value for place, (value, inner) in pairs]


def _current(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes without what newer opsets dropped: TensorFlow's nearest neighbour is floor((i + 0.5) * scale)."""
    if attributes.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        return {
            **attributes,
            "coordinate_transformation_mode": "half_pixel",
            "nearest_mode": "round_prefer_ceil",
        }
    return dict(attributes)
