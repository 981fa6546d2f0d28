"""The simulated graph: FP32 arithmetic in which every FP16 or BF16 result is rounded by a Cast there and back.

It stands in for NVIDIA's numerics off a GPU: products accumulate in FP32 and each operator's output is rounded to its
type, overflowing to infinity where FP16 does. TensorRT fuses operators and rounds less often; the simulation errs on
the strict side. INT8 layers multiply dequantized integers, exact in FP32 up to its 24 bits, as the integer kernels do.
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
    rounded: dict[tuple[str, ir.DataType], ir.Value] = {}
    exact: set[tuple[str, ir.DataType]] = set()
    for node in list(model.graph):
        kind = node_type(node, recipe)
        if kind == ir.DataType.FLOAT:
            continue
        for index, value in typed_inputs(node):
            if value.dtype == ir.DataType.FLOAT and (name_of(value), kind) not in exact:
                node.replace_input_with(index, _rounded_input(model, value, kind, rounded))
        if node.op_type == "DequantizeLinear":
            exact |= {(name_of(value), kind) for value in node.outputs}
            continue
        for value in node.outputs:
            if is_float(value):
                exact.add((name_of(value if node.op_type in _EXACT else _round_output(model, value, kind)), kind))


def _rounded_input(
    model: ir.Model, value: ir.Value, kind: ir.DataType, rounded: dict[tuple[str, ir.DataType], ir.Value]
) -> ir.Value:
    """A constant, graph input or result of another type as a node of that type sees it."""
    key, name = (name_of(value), kind), f"{value.name}/rounded_to_{kind.short_name()}"
    if key not in rounded:
        array = constant(value)
        if array is not None:
            with np.errstate(over="ignore"):
                narrow = array.astype(kind.numpy()).astype(np.float32)
            rounded[key] = initializer(model, name, narrow)
        else:
            rounded[key] = ir.val(name, ir.DataType.FLOAT, value.shape)
            insert_behind(model, value, _casts(value, rounded[key], kind))
    return rounded[key]


def _round_output(model: ir.Model, value: ir.Value, kind: ir.DataType) -> ir.Value:
    """Rounds a node's output: its readers get the rounded value, which takes over its name (an output's place too)."""
    name = name_of(value)
    result = ir.val(None, ir.DataType.FLOAT, value.shape)
    value.replace_all_uses_with(result, replace_graph_outputs=True)
    value.name = f"{name}/exact"
    result.name = name
    insert_behind(model, value, _casts(value, result, kind))
    return result


def _casts(source: ir.Value, result: ir.Value, kind: ir.DataType) -> list[ir.Node]:
    name = f"{source.name}/{kind.short_name()}"
    narrow = ir.val(name, kind, source.shape)
    return [
        ir.node("Cast", [source], {"to": kind}, outputs=[narrow], name=name),
        ir.node("Cast", [narrow], {"to": ir.DataType.FLOAT}, outputs=[result], name=f"{name}/back"),
    ]
