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
    """What stands for an output of the graph, by one name before and after `engines.recipe.trained.separate`.

    That takes out the pairs of quantizers around a Softmax, and leaves an Identity where one was at the output.
    """
    name, producer = name_of(value), _source(value).producer()
    if producer is None or producer.op_type not in ("Softmax", "Sigmoid") or producer.inputs[0] is None:
        return Logits(name, name, "", -1)
    axis = attribute(producer, "axis", -1) if producer.op_type == "Softmax" else -1
    return Logits(name_of(_source(producer.inputs[0])), name, producer.op_type, axis)


def _source(value: ir.Value) -> ir.Value:
    """What it copies, or rounds to a grid."""
    while (maker := value.producer()) is not None and maker.inputs:
        source = maker.inputs[0]
        if source is None or maker.op_type not in ("Identity", "QuantizeLinear", "DequantizeLinear"):
            break
        value = source
    return value


def return_values(model: ir.Model, names: Iterable[str]) -> None:
    """Makes the values of these names the graph's outputs, in place."""
    values = {name_of(value): value for node in model.graph for value in node.outputs}
    values |= {name_of(value): value for value in model.graph.inputs}
    model.graph.outputs[:] = [values[name] for name in names]
