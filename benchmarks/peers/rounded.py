"""Any tool's FP16 graph as FP32 arithmetic in which every rounding to FP16 is written out.

The numerics of `engines.apply.roundtrip`, for a graph whose types are its own: each node computes in FP32 and what it
gives as FP16 is rounded, to infinity too. ONNX Runtime's CPU would compute such a graph in FP32, without an overflow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

_HALF = ir.DataType.FLOAT16
_FLOAT = ir.DataType.FLOAT


def rounded(source: ir.Model) -> ir.Model:
    """A new model with FP32 inputs and outputs. Raises where its types are not consistent."""
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(source), check_type=True, strict_mode=True)
    model = ir.from_proto(proto)
    _graph(model.graph)
    return model


def _graph(graph: ir.Graph) -> None:
    for value in (*graph.inputs, *graph.initializers.values()):
        _widen(value)
    for node in list(graph):
        for attribute in list(node.attributes.values()):
            if attribute.type == ir.AttributeType.GRAPH:
                _graph(attribute.as_graph())
            elif attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _HALF:
                array = attribute.as_tensor().numpy().astype(np.float32)
                node.attributes[attribute.name] = ir.AttrTensor(attribute.name, ir.tensor(array))
        if node.op_type == "Cast" and node.attributes.get_int("to") == _HALF:
            node.attributes["to"] = ir.AttrInt64("to", _FLOAT)
        for value in node.outputs:
            if value.dtype == _HALF:
                _round(graph, node, value)


def _widen(value: ir.Value) -> None:
    if value.dtype == _HALF:
        value.dtype = _FLOAT
        if value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """What reads the value, or has it as an output, gets it by its name, rounded."""
    name, value.dtype = value.name, _FLOAT
    result = ir.val(None, _FLOAT, value.shape)
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    value.name, result.name = f"{name}/exact", name
    narrow = ir.val(f"{name}/narrow", _HALF, value.shape)
    casts: list[Any] = [
        ir.node("Cast", [value], {"to": _HALF}, outputs=[narrow], name=f"{name}/round"),
        ir.node("Cast", [narrow], {"to": _FLOAT}, outputs=[result], name=f"{name}/back"),
    ]
    graph.insert_after(node, casts)
