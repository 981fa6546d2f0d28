"""Our INT8 recipe of a graph: as it is by default, and with the same INT8 layers as another tool's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import engines
from benchmarks.peers.judge import logits_of
from engines.apply import applied
from engines.calibration.choice import Choice, choose
from engines.calibration.collect import collect
from engines.graphs import compute_nodes, load, weights_of
from engines.recipe import INT8_MAXIMUM, LayerPrecision, Recipe
from engines.recipe.rules import decide
from engines.recipe.scales import weight_scales
from engines.recipe.trained import separate
from engines.simulate import simulate

Array = NDArray[Any]


def with_layers(model: ir.Model, recipe: Recipe, names: frozenset[str]) -> Recipe:
    """The recipe with exactly these layers in INT8; FP32 between and elsewhere, as the other tools' graphs have it."""
    nodes = {node.name or "": node for node in compute_nodes(load(model))}
    layers = []
    for layer in recipe.layers:
        if layer.name in names and layer.precision == "int8":
            layers.append(layer)
        elif layer.name in names and layer.name in nodes:
            weights = weights_of(nodes[layer.name])
            assert weights is not None, f"{layer.name} has no constant weight"
            scales = tuple(float(scale) for scale in weight_scales(weights.array, weights.axis))
            layers.append(LayerPrecision(layer.name, "int8", "as the other tool has it", scales))
        else:
            layers.append(LayerPrecision(layer.name, "fp32", "as the other tool has it"))
    return dataclasses.replace(recipe, base="fp32", layers=tuple(layers))


def same_layers(model: ir.Model, calibration: Mapping[str, Array], names: frozenset[str]) -> Recipe:
    """Our recipe for an INT8 layer set that is given: the ranges are chosen for it as they are by default."""
    graph = load(model)
    ranges = collect(graph, calibration)
    start = with_layers(graph, decide(graph, "int8", ranges, "minmax"), names)
    return with_ranges(start, choose(graph, start, ranges))


def with_ranges(recipe: Recipe, choice: Choice) -> Recipe:
    """The recipe with the ranges that were chosen."""
    activations = tuple(
        dataclasses.replace(a, scale=choice.amax[a.value] / INT8_MAXIMUM or 1.0) if a.value in choice.amax else a
        for a in recipe.activations
    )
    return dataclasses.replace(recipe, activations=activations)


def placed(graph: ir.Model, inputs: Mapping[str, Array]) -> Array:
    """The logits with another tool's scales and INT8 layers, and our placement of Q and DQ between them."""
    model = load(graph)
    separate(model)
    return simulated(model, engines.recipe(ir.to_proto(graph), "int8"), inputs, logits_of(model))


def default(model: ir.Model, calibration: Mapping[str, Array]) -> Recipe:
    """What ``kerasrt build --precision int8`` makes."""
    return engines.recipe(ir.to_proto(model), "int8", calibration=calibration)


def simulated(model: ir.Model, recipe: Recipe, inputs: Mapping[str, Array], value: str) -> Array:
    """One value of the simulated recipe for all inputs (its FP16 rounding included)."""
    from engines.logits import return_values

    graph = load(model)
    return_values(graph, [value])
    (found,) = simulate(recipe, graph, inputs).values()
    return np.asarray(found, np.float64)


def typed(model: ir.Model, recipe: Recipe) -> ir.Model:
    """The strongly typed graph that TensorRT-RTX gets."""
    return applied(recipe, model, "tensorrt-rtx")
