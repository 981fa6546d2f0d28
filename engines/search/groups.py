"""Fusion groups: the layers that are quantized together or not at all, the unit of a search.

1. A group is all INT8 (or FP8) layers of a recipe that read one value: they share its quantize/dequantize pair, and so
   does an Add that reads it (`engines.apply.placement`, rules 3 and 4).
2. What TensorRT fuses into such a layer (bias, activation, Add) computes with it and is no choice of its own.
3. What the rules keep high (`engines.recipe.rules`: gates, what FP16 cannot hold) is in no group: it stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from engines.graphs import compute_nodes, elements, load, name_of, products, weights_of
from engines.recipe import QUANTIZED, LayerPrecision, Recipe
from engines.recipe.trained import separate


@dataclass(frozen=True)
class Group:
    """``value``: what its layers read, and the group's name; ``layers``: the nodes, in the graph's order.

    Per sample: ``products``, multiplications; ``read``: elements of the input, once for each layer; and once a batch
    ``weights``: elements of their weights.
    """

    value: str
    layers: tuple[str, ...]
    products: float
    read: int
    weights: int

    @property
    def title(self) -> str:
        """What to call it: its first layer, and how many more there are."""
        more = len(self.layers) - 1
        return self.layers[0] + (f" (+{more})" if more else "")


def groups_of(model: ir.Model, recipe: Recipe) -> tuple[Group, ...]:
    """The groups of a recipe, in the order of the graph; quantizers of training are looked through."""
    floating = load(model)
    separate(floating)
    together: dict[str, list[ir.Node]] = {}
    for node in compute_nodes(floating):
        if recipe.precision_of(node.name or "") in QUANTIZED and node.inputs[0] is not None:
            together.setdefault(name_of(node.inputs[0]), []).append(node)
    return tuple(_group(value, nodes) for value, nodes in together.items())


def chosen(recipe: Recipe, groups: Iterable[Group], low: Collection[str], why: str) -> Recipe:
    """The recipe with the groups of these values in 8 bits and all others in its base, for the reason ``why``."""
    high = {name for group in groups if group.value not in low for name in group.layers}
    layers = tuple(
        LayerPrecision(layer.name, recipe.base, why) if layer.name in high else layer for layer in recipe.layers
    )
    return dataclasses.replace(recipe, layers=layers)


def _group(value: str, nodes: Iterable[ir.Node]) -> Group:
    nodes = list(nodes)
    weights = (weights_of(node) for node in nodes)
    return Group(
        value,
        tuple(node.name or "" for node in nodes),
        sum(products(node) for node in nodes),
        sum(elements(node.inputs[0]) for node in nodes),
        sum(found.array.size for found in weights if found is not None),
    )
