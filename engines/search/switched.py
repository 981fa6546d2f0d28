"""The simulated graph with a switch for each fusion group: every recipe between all low and all high in one session.

Where a quantized layer reads a dequantized value or weight, it reads ``Where(switch, dequantized, high)``: high is what
the layer reads in the recipe's base (FP16). The bits are those of `engines.simulate` with the recipe in question.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.npz import Array
from engines.apply import applied
from engines.apply.casting import TYPES
from engines.apply.placement import initializer
from engines.graphs import compute_nodes, constant, load, weights_of
from engines.logits import Logits, logits, return_values
from engines.ptq.equalize import equalize
from engines.recipe import Recipe
from engines.recipe.trained import separate
from engines.search.groups import Group
from engines.sessions import input_specs, session

BATCH = 32

Outputs = list[npt.NDArray[np.float64]]
"""Per output its logits, samples along the first axis."""


class Switched:
    """A model's logits on given samples, in FP32 and under any recipe between. ``runs`` counts the latter.

    FP32 has the quantizers of training in it, where there are some: with them the model was trained. It runs as
    written too, since an optimizer moves what they give.
    """

    def __init__(self, model: ir.Model, recipe: Recipe, groups: Sequence[Group]) -> None:
        exact, simulated = load(model), applied(recipe, model, "simulate")
        self.logits: tuple[Logits, ...] = tuple(logits(value) for value in exact.graph.outputs)
        floating = load(model)
        separate(floating)
        equalize(floating, recipe.equalized)
        self._switches = _open(simulated, floating, recipe, groups)
        for graph in (exact, simulated):
            return_values(graph, [one.value for one in self.logits])
        self._size = next((s.shape[0] for s in input_specs(model) if isinstance(s.shape[0], int)), BATCH)
        self._exact, self._simulated = session(exact, optimize=False), session(simulated, optimize=False)
        self.runs = 0

    def exact(self, samples: Mapping[str, Array]) -> Outputs:
        """The logits in FP32."""
        return self._run(self._exact, samples, {})

    def run(self, samples: Mapping[str, Array], low: Collection[str]) -> Outputs:
        """The logits with the groups of these values quantized and the others in the recipe's base."""
        self.runs += 1
        return self._run(self._simulated, samples, {s: np.array(v in low) for v, s in self._switches.items()})

    def _run(self, inference: Any, samples: Mapping[str, Array], switches: Mapping[str, Array]) -> Outputs:
        count = len(next(iter(samples.values())))
        found = []
        for start in range(0, count, self._size):
            batch = {name: array[start : start + self._size] for name, array in samples.items()}
            missing = self._size - len(next(iter(batch.values())))
            if missing and start:  # a fixed batch has to be filled; an open one is as fast at any size
                batch = {n: np.concatenate([a, np.repeat(a[-1:], missing, axis=0)]) for n, a in batch.items()}
            found.append(inference.run(None, {**batch, **switches}))
        return [np.concatenate(arrays)[:count].astype(np.float64) for arrays in zip(*found, strict=True)]


def _open(simulated: ir.Model, floating: ir.Model, recipe: Recipe, groups: Iterable[Group]) -> dict[str, str]:
    """Adds the switches to a simulated graph, in place; returns their input names by the group's value."""
    nodes = {node.name: node for node in simulated.graph}
    layers = {layer.name: layer for layer in recipe.layers}
    kind = TYPES[recipe.base].numpy()
    originals = {node.name: node for node in compute_nodes(floating)}
    found: dict[str, str] = {}
    for group in groups:
        switch = ir.val(f"{group.value}/low", ir.DataType.BOOL, ir.Shape([]))
        simulated.graph.inputs.append(switch)
        found[group.value] = f"{group.value}/low"
        _select(simulated, nodes[f"{group.value}/dequantize"], switch, nodes[f"{group.value}/quantize"].inputs[0])
        for layer in group.layers:
            weights = weights_of(originals[layer])
            if weights is not None:
                high = initializer(simulated, f"{layer}/weight/high", weights.array.astype(kind).astype(np.float32))
                _select(simulated, nodes[f"{layer}/weight/dequantize"], switch, high)
            if layers[layer].bias:
                _select_bias(simulated, nodes[layer], switch, originals[layer], kind)
    return found


def _select_bias(model: ir.Model, node: ir.Node, switch: ir.Value, original: ir.Node, kind: npt.DTypeLike) -> None:
    """A bias that was repaired is read only where the switch is on."""
    low, array = node.inputs[2], constant(original.inputs[2])
    if low is None or array is None:
        return
    high = initializer(model, f"{node.name}/bias/high", array.astype(kind).astype(np.float32))
    result = ir.val(f"{node.name}/bias/or_high", ir.DataType.FLOAT, low.shape)
    chosen = ir.node("Where", [switch, low, high], outputs=[result], name=f"{node.name}/bias/switch")
    model.graph.insert_before(node, chosen)
    node.replace_input_with(2, result)


def _select(model: ir.Model, dequantize: ir.Node, switch: ir.Value, high: ir.Value | None) -> None:
    """All that reads what a DequantizeLinear gives reads it only where the switch is on, and else ``high``."""
    low = dequantize.outputs[0]
    result = ir.val(f"{low.name}/or_high", ir.DataType.FLOAT, low.shape)
    low.replace_all_uses_with(result)
    chosen = ir.node("Where", [switch, low, high], outputs=[result], name=f"{dequantize.name}/switch")
    model.graph.insert_after(dequantize, chosen)
