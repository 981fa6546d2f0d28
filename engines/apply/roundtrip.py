"""The simulated graph: FP32 arithmetic in which every FP16 or BF16 result is rounded by a Cast there and back.

It stands in for NVIDIA's numerics off a GPU: products accumulate in FP32 and each operator's output is rounded to its
type, overflowing to infinity where FP16 does. TensorRT fuses operators and rounds less often; the simulation errs on
the strict side, but for an LSTM, GRU or RNN node: its outputs are rounded, not the state that it carries from step to
step (a GRU in BF16 is a Scan, `engines.apply.recurrences`, and rounded at each). INT8 layers multiply dequantized
integers, exact in FP32 up to its 24 bits, as the integer kernels do.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from engines.apply.bodies import bodies
from engines.apply.casting import narrowed, node_type, typed_inputs
from engines.apply.placement import initializer, insert_behind
from engines.graphs import constant, is_float, name_of
from engines.recipe import Recipe

# fmt: off
_EXACT = frozenset((
    "Abs", "Clip", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity", "If", "Loop",
    "Max", "MaxPool", "Min", "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Scan", "Slice", "SpaceToDepth",
    "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
))
# fmt: on
"""Operators whose results are among their inputs (up to sign): of rounded inputs they need no rounding."""


def round_trip(model: ir.Model, recipe: Recipe) -> None:
    """Adds the rounding to an FP32 graph (Q/DQ already placed), in place; every value keeps its name and FP32 type."""
    rounding = _Rounding(model)
    for node in list(model.graph):
        kind = node_type(node, recipe)
        if kind != ir.DataType.FLOAT:
            rounding.add(node, kind)


class _Rounding:
    """What has been rounded so far: ``rounded`` values beside their originals, ``exact`` ones need no rounding."""

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._rounded: dict[tuple[str, ir.DataType], ir.Value] = {}
        self._exact: set[tuple[str, ir.DataType]] = set()

    def add(self, node: ir.Node, kind: ir.DataType) -> None:
        """Rounds what a node of that type reads and gives, and everything in its bodies."""
        for index, value in typed_inputs(node):
            if value.dtype == ir.DataType.FLOAT and (name_of(value), kind) not in self._exact:
                node.replace_input_with(index, self._input(value, kind))
        if node.op_type == "DequantizeLinear":
            self._exact |= {(name_of(value), kind) for value in node.outputs}
            return
        for body in bodies(node):
            self._exact |= {(name_of(value), kind) for value in body.inputs}
            for inner in list(body):
                self.add(inner, kind)
        for value in node.outputs:
            if is_float(value):
                exact = value if node.op_type in _EXACT else _round_output(self._model, value, kind)
                self._exact.add((name_of(exact), kind))

    def _input(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        """A constant, graph input or result of another type as a node of that type sees it."""
        array = constant(value)
        if array is not None and value.graph is not self._model.graph:  # a body's own, which is of one type
            value.const_value = ir.tensor(narrowed(array, kind).astype(np.float32), name=value.name)
            return value
        key, name = (name_of(value), kind), f"{value.name}/rounded_to_{kind.short_name()}"
        if key not in self._rounded:
            if array is not None:
                narrow = narrowed(array, kind).astype(np.float32)
                self._rounded[key] = initializer(self._model, name, narrow)
            else:
                self._rounded[key] = ir.val(name, ir.DataType.FLOAT, value.shape)
                insert_behind(self._model, value, _casts(value, self._rounded[key], kind))
        return self._rounded[key]


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
