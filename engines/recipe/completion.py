"""Fills in what a recipe edited by hand leaves to be computed: an INT8 layer needs scales, and nobody types them.

1. An INT8 or FP8 layer without weight scales gets those that the rules give (`engines.recipe.scales.layer_scales`).
2. A value that such a layer reads and that has no scale gets one from calibration, by min-max: all that was seen.
3. A layer of another precision has no use for weight scales, an input or repairs: they are dropped.
What was edited stays marked so; what is computed here is not. In an equalized graph
calibration saw other ranges (rule 2), so that a scale has to be made with the recipe.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from deploy.errors import BuildError
from engines.calibration.ranges import Ranges
from engines.graphs import compute_nodes, load, name_of, weights_of
from engines.ptq.channels import Channels
from engines.ptq.equalize import equalize, variables
from engines.recipe import QUANTIZED, ActivationScale, LayerPrecision, Recipe
from engines.recipe.scales import activation_scale, layer_scales


def missing_scales(recipe: Recipe, model: ir.Model) -> tuple[str, ...]:
    """Names of the values that INT8 and FP8 layers read and that have no scale: calibration is needed for them."""
    known = {activation.value for activation in recipe.activations}
    read = (
        name_of(node.inputs[0])
        for node in compute_nodes(model)
        if node.inputs[0] is not None and recipe.precision_of(node.name or "") in QUANTIZED
    )
    return tuple(dict.fromkeys(name for name in read if name not in known))


def complete(recipe: Recipe, model: ir.Model, ranges: Ranges | None = None) -> Recipe:
    """The recipe with all scales that can be computed; what cannot be is for `engines.recipe.validation` to refuse."""
    nodes = {node.name: node for node in compute_nodes(equalize(load(model), recipe.equalized))}
    layers = tuple(_completed(layer, nodes.get(layer.name)) for layer in recipe.layers)
    missing = missing_scales(recipe, model)
    if ranges is None or not missing:
        return dataclasses.replace(recipe, layers=layers)
    _refuse_scaled(recipe, model, missing)
    found = [name for name in missing if name in ranges.minimum]
    added = (
        ActivationScale(
            name, activation_scale(recipe.precision, ranges.amax(name)), ranges.minimum[name], ranges.maximum[name]
        )
        for name in found
    )
    calibration = recipe.calibration or {**ranges.provenance(), "method": "minmax"}
    return dataclasses.replace(
        recipe, layers=layers, activations=(*recipe.activations, *added), calibration=calibration
    )


def _refuse_scaled(recipe: Recipe, model: ir.Model, missing: tuple[str, ...]) -> None:
    """Raises BuildError for a missing scale of a value that the recipe's equalization changes."""
    channels = Channels(model)
    factor = variables(channels, {row.name: np.asarray(row.factors) for row in recipe.equalized})
    for name in missing:
        if name in channels.values and (factor[channels.root[channels.values[name][1]]] != 1).any():
            raise BuildError(
                "its scale is missing, and the recipe equalizes its channels, which the samples do not show",
                where=f"value {name}",
                expected="the scale that the recipe was made with",
                found="none",
                fix="put the entry back, or make the recipe again with --repairs",
            )


def _completed(layer: LayerPrecision, node: ir.Node | None) -> LayerPrecision:
    """Steps 1 and 3 for one layer."""
    if layer.precision not in QUANTIZED:
        return dataclasses.replace(layer, weight_scales=(), input="", bias=(), rounding="")
    weights = weights_of(node) if node is not None else None
    if node is None or weights is None or node.inputs[0] is None:
        return layer
    scales = layer.weight_scales or layer_scales(layer.precision, weights)
    return dataclasses.replace(layer, weight_scales=scales, input=layer.input or name_of(node.inputs[0]))
