"""Runs a graph node by node: what follows a node can still be changed by what came out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from engines.graphs import constant, name_of
from engines.sessions import session

Arrays = dict[str, npt.NDArray[Any]]


class Walk:
    """A walk through a graph, in its order, for some batches at once; what nothing reads any more is let go."""

    def __init__(self, model: ir.Model, batches: Sequence[Mapping[str, npt.NDArray[Any]]]) -> None:
        self._model = model
        self._batches: list[Arrays] = [dict(batch) for batch in batches]
        self._nodes = list(model.graph)
        self._left = Counter(name_of(value) for node in self._nodes for value in reads(node))

    def until(self, name: str) -> ir.Node:
        """Runs everything before the node of that name, and returns the node."""
        while self._nodes[0].name != name:
            self.step({})
        return self._nodes[0]

    def of(self, value: ir.Value | None) -> list[npt.NDArray[Any]]:
        """A value that was computed and is still read, or was made by the last node: one array a batch."""
        return [batch[name_of(value)] for batch in self._batches] if value is not None else []

    def step(self, changed: Mapping[str, npt.NDArray[Any]]) -> None:
        """Runs the next node, with other numbers for the values that ``changed`` names."""
        node = self._nodes.pop(0)
        for value in [] if not self._batches else list(self._batches[0]):
            if not self._left[value]:
                for batch in self._batches:
                    del batch[value]
        run = _session(node, self._model, changed)
        outputs = [name_of(value) for value in node.outputs if value.name]
        fed = [name_of(value) for value in reads(node) if constant(value) is None and name_of(value) not in changed]
        for batch in self._batches:
            found = run.run(outputs, {name: batch[name] for name in fed})
            batch.update(zip(outputs, found, strict=True))
        self._left.subtract(name_of(value) for value in reads(node))


def reads(node: ir.Node) -> list[ir.Value]:
    """The values that a node reads, those read in its branches and bodies among them, each once."""
    found = {name_of(value): value for value in node.inputs if value is not None and value.name}
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graph = attribute.as_graph()
            made = {name_of(value) for inner in graph.all_nodes() for value in inner.outputs}
            made |= {name_of(value) for value in (*graph.inputs, *graph.initializers.values())}
            inner_values = [*graph.outputs, *(value for inner in graph.all_nodes() for value in inner.inputs)]
            found |= {name_of(v): v for v in inner_values if v is not None and v.name and name_of(v) not in made}
    return list(found.values())


def _session(node: ir.Node, model: ir.Model, changed: Mapping[str, npt.NDArray[Any]]) -> Any:
    """A session of one node; its constants, and what is changed, are constants of it."""
    inputs, constants = [], []
    for value in reads(node):
        array = changed.get(name_of(value), constant(value))
        if array is not None:
            constants.append(onnx.numpy_helper.from_array(np.asarray(array), name_of(value)))
        else:
            shape = None if value.shape is None else [None] * len(value.shape)
            inputs.append(onnx.helper.make_tensor_value_info(name_of(value), _type(value), shape))
    outputs = [onnx.helper.make_tensor_value_info(name_of(v), _type(v), None) for v in node.outputs if v.name]
    graph = onnx.helper.make_graph([ir.to_proto(node)], "node", inputs, outputs, constants)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    return session(proto.SerializeToString(), optimize=False)


def _type(value: ir.Value) -> int:
    return int(value.dtype) if value.dtype is not None else int(onnx.TensorProto.FLOAT)
