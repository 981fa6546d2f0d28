"""The opset of a graph: the lowest in which all of it can be said.

Rules, each with its source; what an operator takes in which opset is from ONNX's operator specifications.

1. Lowerings write opset 18, in which the axes of every reduction are an input, and 19 where a value is FP8: Cast and
   QuantizeLinear know the type from 19 on.
2. A graph that opset 17 can say is written in 17, where a reduction's axes are an attribute: for ONNX Runtime's
   `quant_pre_process` (1.32) infers no shape of a ReduceMax, ReduceMin or ReduceProd whose axes are an input, and
   refuses the graph. 17 is the floor because LayerNormalization begins there.
3. 17 to 19 is what every consumer reads: TensorRT 10.0 to 10.3 takes 9 to 20 (onnx-tensorrt, docs/operators.md),
   TensorRT 11 takes 9 to 25 (its ONNX opset guide), ONNX Runtime all up to that of the ONNX it was built with.
4. With a newer one asked for, single nodes take the place of what spells them out below it: Gelu from 20, Attention
   and RMSNormalization from 23, Swish from 24. ONNX Runtime 1.32 runs each of them. TensorRT-RTX 1.7.1 builds each, but
   of Attention only what it has a kernel for (over 64 positions and 64 sizes a head in FP16, not over 5 and 8), and
   none with a mask and ``is_causal`` (tried without a GPU); TensorRT knows RMSNormalization from 10.15 on
   (onnx-tensorrt, docs/Changelog.md). So no engine is built from more than it needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import onnx
import onnx_ir as ir
from keras import tree

from deploy.errors import ConversionError

if TYPE_CHECKING:
    from converters.tracing.recording import Call

LOWEST, HIGHEST = 17, 24
LOWERED = 18
"""What lowerings and passes write, or newer."""
FLOAT8 = 19

_AXES_BECAME_AN_INPUT = frozenset(
    ("ReduceL1", "ReduceL2", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd")
)
_NEW_ATTRIBUTES = {"Resize": ("antialias", "axes", "keep_aspect_ratio_policy"), "Split": ("num_outputs",)}
_OLD_INPUTS = {"Pad": 3}
_OLD_REDUCTIONS = ("none", "add", "mul")


def needed(calls: Iterable[Call]) -> int:
    """The opset that these calls are lowered in where none is asked for."""
    return FLOAT8 if any(_is_float8(x) for x in _results(calls)) else LOWERED


def _results(calls: Iterable[Call]) -> Iterator[object]:
    for call in calls:
        yield from tree.flatten(call.outputs)
        for body in call.bodies:
            yield from _results(body.calls)


def _is_float8(tensor: object) -> bool:
    return str(getattr(tensor, "dtype", "")).startswith("float8")


def lower_opset(model: ir.Model, *, required: bool = False) -> None:
    """Rewrites a graph of opset 18 in 17 where that can say all of it; a newer one stays.

    Raises ConversionError where it cannot and ``required``, naming the first node that is newer.
    """
    if model.opset_imports.get("", 0) != LOWERED:
        return
    nodes = list(model.graph.all_nodes())
    newer = next((node for node in nodes if not _is_in_lowest(node)), None)
    if newer is not None and required:
        raise ConversionError(
            f"{newer.op_type} cannot be said in opset {LOWEST}",
            where=f"layer '{newer.name}'",
            expected=f"opset {LOWERED} or newer",
            found=f"opset {LOWEST}",
            fix="leave --opset away: the lowest opset that the graph needs is chosen",
        )
    if newer is not None:
        return
    for node in nodes:
        if node.op_type in _AXES_BECAME_AN_INPUT:
            _axes_as_attribute(node)
        if node.version is not None and not node.domain:
            node.version = LOWEST
    for graph in model.graphs():
        graph.opset_imports[""] = LOWEST
    unread = [name for name, value in model.graph.initializers.items() if not value.uses()]
    for name in unread:
        if not model.graph.initializers[name].is_graph_output():
            del model.graph.initializers[name]


def _is_in_lowest(node: ir.Node) -> bool:
    """Whether opset 17 has a node with this meaning."""
    if node.domain:
        return True
    kind = node.op_type
    if kind in _AXES_BECAME_AN_INPUT:
        axes = _axes(node)
        return axes is not None and (bool(axes) or not node.attributes.get_int("noop_with_empty_axes", 0))
    if kind in ("ScatterND", "ScatterElements"):
        return node.attributes.get_string("reduction", "none") in _OLD_REDUCTIONS
    if kind in _NEW_ATTRIBUTES or kind in _OLD_INPUTS:
        new = any(name in node.attributes for name in _NEW_ATTRIBUTES.get(kind, ()))
        return not new and len(node.inputs) <= _OLD_INPUTS.get(kind, len(node.inputs))
    try:
        newest, lowest = (onnx.defs.get_schema(kind, version) for version in (LOWERED, LOWEST))
    except onnx.defs.SchemaError:
        return False
    return bool(newest.since_version == lowest.since_version)


def _axes(node: ir.Node) -> list[int] | None:
    """A reduction's axes, none of which are all of them; None where they are computed."""
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None:
        return []
    if not value.is_initializer() or value.const_value is None:
        return None
    return [int(axis) for axis in value.const_value.numpy()]


def _axes_as_attribute(node: ir.Node) -> None:
    axes = _axes(node)
    if axes:
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)
    node.attributes.pop("noop_with_empty_axes", None)
    node.resize_inputs(1)
