"""How a model was converted, layer by layer: data that is printed later."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

import onnx_ir as ir

from converters.tracing.trace import Trace


@dataclass(frozen=True)
class LayerReport:
    """One layer, with all of its calls.

    ``way`` is opened (its own operations), lowered (as one) or tf2onnx; ``nodes`` the ONNX operations it became.
    """

    path: str
    layer: str
    way: str
    nodes: tuple[str, ...]
    why: str = ""


@dataclass(frozen=True)
class Report:
    """A conversion: its layers, the graph's operations with their counts, and the time it took in seconds."""

    layers: tuple[LayerReport, ...]
    operations: dict[str, int]
    seconds: float

    @property
    def nodes(self) -> int:
        return sum(self.operations.values())


def report(trace: Trace, model: ir.Model, seconds: float) -> Report:
    """Joins what was traced with what is in the graph."""
    reasons = {call.path: call.why for call in trace.calls if call.why}
    paths = {call.path for call in trace.layers}
    nodes: dict[str, list[str]] = {}
    for node in model.graph:
        nodes.setdefault(_owner(node, paths), []).append(node.op_type)
    rows = [
        LayerReport(
            call.path,
            type(call.layer).__name__,
            "opened" if call.opened else "tf2onnx" if call.path in reasons else "lowered",
            tuple(nodes.get(call.path, ())),
            reasons.get(call.path, ""),
        )
        for call in {call.path: call for call in trace.layers}.values()
    ]
    return Report(tuple(rows), dict(Counter(node.op_type for node in model.graph)), seconds)


def _owner(node: ir.Node, paths: set[str]) -> str:
    """The path of the innermost layer that a node's name lies in; a later call of a shared layer has a number."""
    name = node.name or ""
    while name and name not in paths:
        first = re.sub(r"_\d+$", "", name)
        if first in paths:
            return first
        name = name.rpartition("/")[0]
    return name
