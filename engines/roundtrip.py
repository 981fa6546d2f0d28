"""The simulated graph: FP32 arithmetic in which every FP16 result is rounded by an explicit Cast there and back.

It stands in for NVIDIA's numerics off a GPU: products accumulate in FP32 and each operator's output is rounded to FP16,
overflowing to infinity where FP16 does. TensorRT fuses operators and rounds less often; the simulation errs on the
strict side. INT8 layers multiply dequantized integers, exact in FP32 up to its 24 bits, as the integer kernels do.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from engines.casting import node_type, typed_inputs
from engines.graphs import constant, is_float, name_of
from engines.placement import initializer, insert_behind
from engines.recipe import Recipe

# fmt: off
_EXACT = frozenset((
    "Abs", "Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "Max",
    "MaxPool", "Min", "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""Operators whose results are among their inputs (up to sign): of rounded inputs they need no rounding."""


def round_trip(model: ir.Model, recipe: Recipe) -> None:
    """Adds the rounding to an FP32 graph (Q/DQ already placed), in place; every value keeps its name and FP32 type."""
    rounded: dict[str, ir.Value] = {}
    exact: set[str] = set()
    for node in list(model.graph):
        if node_type(node, recipe) != ir.DataType.FLOAT16:
            continue
        for index, value in typed_inputs(node):
            if value.dtype == ir.DataType.FLOAT and name_of(value) not in exact:
                node.replace_input_with(index, _rounded_input(model, value, rounded))
        if node.op_type == "DequantizeLinear":
            exact |= {name_of(value) for value in node.outputs}
            continue
        for value in node.outputs:
            if is_float(value):
                exact.add(name_of(value if node.op_type in _EXACT else _round_output(model, value)))


def _rounded_input(model: ir.Model, value: ir.Value, rounded: dict[str, ir.Value]) -> ir.Value:
    """A constant, graph input or FP32 result as an FP16 node sees it."""
    name = name_of(value)
    if name not in rounded:
        array = constant(value)
        if array is not None:
            with np.errstate(over="ignore"):
                halves = array.astype(np.float16).astype(np.float32)
            rounded[name] = initializer(model, f"{name}/rounded", halves)
        else:
            rounded[name] = ir.val(f"{name}/rounded", ir.DataType.FLOAT, value.shape)
            insert_behind(model, value, _casts(value, rounded[name]))
    return rounded[name]


def _round_output(model: ir.Model, value: ir.Value) -> ir.Value:
    """Rounds a node's output: its readers get the rounded value, which takes over its name (an output's place too)."""
    name = name_of(value)
    result = ir.val(None, ir.DataType.FLOAT, value.shape)
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    value.name = f"{name}/exact"
    result.name = name
    insert_behind(model, value, _casts(value, result))
    return result


def _casts(source: ir.Value, result: ir.Value) -> list[ir.Node]:
    name = f"{source.name}/half"
    half = ir.val(name, ir.DataType.FLOAT16, source.shape)
    return [
        ir.node("Cast", [source], {"to": ir.DataType.FLOAT16}, outputs=[half], name=name),
        ir.node("Cast", [half], {"to": ir.DataType.FLOAT}, outputs=[result], name=f"{name}/back"),
    ]
