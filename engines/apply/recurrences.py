"""Spells a GRU in BF16 as the Scan that it is, since the parser of TensorRT-RTX 1.7.1 refuses the node.

It subtracts the update gate from a one in FP32 ("ElementWiseOperation SUB must have same input types"). Kept in FP32 it
would not build either: a Cast before the sequence of a recurrent node, LSTM and RNN too, fails in the compiler
("Mismatched number of elements in reshape op"). A Scan of the same arithmetic is built in BF16, and the simulation
rounds every step of it (`engines.apply.bodies`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx import parser, shape_inference

from engines.apply.bodies import bodies
from engines.apply.casting import BF16_OPSET
from engines.apply.placement import initializer
from engines.graphs import attribute, constant
from engines.recipe import Recipe

_GRU = """
<ir_version: 10, opset_import: ["": {opset}]>
gru (float[time, batch, {features}] sequence, {inputs}
     float[{features}, {twice}] wzr, float[{units}, {twice}] rzr, float[{twice}] bzr,
     float[{features}, {units}] wn, float[{units}, {units}] rn, float[{units}] bwn, float[{units}] brn,
     int64[2] sizes, int64[1] units, int64[1] zero, int64[1] one, float[1] none)
  => (float[time, 1, batch, {units}] all, float[1, batch, {units}] last)
{{
  {state}
  end, steps = Scan <num_scan_inputs = 1, scan_input_directions = [{backwards}], scan_output_directions = [{backwards}],
    body = step (float[batch, {units}] h, float[batch, {features}] x)
             => (float[batch, {units}] next, float[batch, {units}] each) {{
      xw = MatMul(x, wzr) xb = Add(xw, bzr) hr = MatMul(h, rzr) both = Add(xb, hr) gates = Sigmoid(both)
      update, reset = Split <axis = -1> (gates, sizes)
      {past}
      xn = MatMul(x, wn) xnb = Add(xn, bwn) sum = Add(xnb, past) new = Tanh(sum)
      change = Sub(h, new) rest = Mul(update, change) next = Add(new, rest)
      each = Identity(next)
    }}> (state, sequence)
  all = Unsqueeze(steps, one)
  last = Unsqueeze(end, zero)
}}"""
"""GRU of one direction by ONNX's specification, but n + z∘(h - n) for (1 - z)∘n + z∘h."""
_PAST = (
    "kept = Mul(reset, h) hn = MatMul(kept, rn) past = Add(hn, brn)",
    "hn = MatMul(h, rn) hb = Add(hn, brn) past = Mul(reset, hb)",
)
"""What the new state has of the one before, by ``linear_before_reset``."""
_ZEROS = (
    "size = Shape <start = 1, end = 2> (sequence) shape = Concat <axis = 0> (size, units) state = Expand(none, shape)"
)
_GIVEN = "state = Squeeze(first, zero)"
_KNOWN = frozenset({"direction", "hidden_size", "linear_before_reset"})


def spell(model: ir.Model, recipe: Recipe) -> None:
    """Rewrites each one of an FP32 graph that the recipe asks for in BF16, in place; the Scan keeps its name.

    One of two directions, with other activations, with lengths or with computed weights stays as it is.
    """
    for node in list(model.graph):
        if node.op_type == "GRU" and recipe.precision_of(node.name or "") == "bf16" and _is_plain(node):
            _replace(model, node)


def _inputs(node: ir.Node) -> tuple[ir.Value | None, ...]:
    """Sequence (time, batch, features), W and R (1, 3 units, …), B (1, 6 units), lengths, state (1, batch, units)."""
    return (*node.inputs, *[None] * 6)[:6]


def _is_plain(node: ir.Node) -> bool:
    _, kernel, recurrent, bias, lengths, _ = _inputs(node)
    given = [constant(value) for value in (kernel, recurrent, bias) if value is not None]
    one = all(array is not None and len(array) == 1 for array in given)
    return one and lengths is None and _KNOWN.issuperset(node.attributes)


def _replace(model: ir.Model, node: ir.Node) -> None:
    sequence, kernel, recurrent, bias, _, first = _inputs(node)
    w, r = (np.asarray(constant(value))[0].T for value in (kernel, recurrent))
    units = len(r)
    b = np.zeros((2, 3 * units), np.float32) if bias is None else np.asarray(constant(bias)).reshape(2, -1)
    direction = node.attributes.get("direction")
    text = _GRU.format(
        opset=BF16_OPSET,
        features=len(w),
        units=units,
        twice=2 * units,
        inputs="" if first is None else f"float[1, batch, {units}] first,",
        state=_ZEROS if first is None else _GIVEN,
        backwards=int(direction is not None and direction.as_string() == "reverse"),
        past=_PAST[attribute(node, "linear_before_reset", 0)],
    )
    both, new = slice(0, 2 * units), slice(2 * units, None)
    weights = {"wzr": w[:, both], "rzr": r[:, both], "bzr": (b[0] + b[1])[both]}
    weights |= {"wn": w[:, new], "rn": r[:, new], "bwn": b[0][new], "brn": b[1][new], "none": np.zeros(1, np.float32)}
    weights |= {"sizes": np.asarray([units, units]), "units": np.asarray([units])}
    weights |= {"zero": np.asarray([0]), "one": np.asarray([1])}
    _splice(model, node, text, {"sequence": sequence, "first": first}, weights)


def _splice(
    model: ir.Model,
    node: ir.Node,
    text: str,
    values: Mapping[str, ir.Value | None],
    constants: Mapping[str, npt.NDArray[np.generic]],
) -> None:
    """Puts the graph of that text in a node's place: its inputs are values or constants, its Scan takes the name."""
    graph = ir.from_proto(shape_inference.infer_shapes(parser.parse_model(text))).graph
    pairs = [(old, value) for old, value in zip(node.outputs, graph.outputs, strict=False) if old.name]
    graph.outputs.clear()
    for value in graph.inputs:
        own = value.name or ""
        given = values.get(own) or initializer(model, f"{node.name}/{own}", constants[own])
        value.replace_all_uses_with(given)
    inner = list(graph.all_nodes())
    for value in [v for one in inner for v in (*one.outputs, *(v for body in bodies(one) for v in body.inputs))]:
        value.name = f"{node.name}/{value.name}"
    for one in inner:
        one.name = node.name if one.op_type == "Scan" else one.outputs[0].name
    nodes = list(graph)
    graph.remove(nodes)
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], nodes, *zip(*pairs, strict=True))
