"""Where the outputs of a graph are compared: at the logits, before a closing Softmax or Sigmoid.

Behind it a small probability tells nothing of the error that gave it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from engines.graphs import attribute, name_of


@dataclass(frozen=True)
class Logits:
    """What stands for one output: ``value``, a name in the graph; ``output``, the output's own name; ``squashing``:
    Softmax, Sigmoid, or empty where the output is compared itself; ``axis``: of the classes.
    """

    value: str
    output: str
    squashing: str
    axis: int


def logits(value: ir.Value) -> Logits:
    """What stands for an output of the graph; an Identity before it is looked through."""
    name, producer = name_of(value), value.producer()
    while producer is not None and producer.op_type == "Identity" and producer.inputs[0] is not None:
        producer = producer.inputs[0].producer()
    if producer is None or producer.op_type not in ("Softmax", "Sigmoid") or producer.inputs[0] is None:
        return Logits(name, name, "", -1)
    axis = attribute(producer, "axis", -1) if producer.op_type == "Softmax" else -1
    return Logits(name_of(producer.inputs[0]), name, producer.op_type, axis)


def return_values(model: ir.Model, names: Iterable[str]) -> None:
    """Makes the values of these names the graph's outputs, in place."""
    values = {name_of(value): value for node in model.graph for value in node.outputs}
    values |= {name_of(value): value for value in model.graph.inputs}
    model.graph.outputs[:] = [values[name] for name in names]
