"""The fallback ladder: a layer for which the builder has no kernel is raised in the recipe, and the engine built again.

Strong typing took away TensorRT's own fallback. What it cannot build it says in one of two ways: "Could not find any
implementation for node X" (NVIDIA/TensorRT issues 3987, 3385), or an engine in which no kernel computes the layer.
Either layer goes from INT8 to the recipe's base, and from there to FP32; the recipe says so, and so does the build.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

import onnx_ir

from deploy.errors import BuildError
from engines.graphs import compute_nodes
from engines.layer_table import LayerTable, Lowered, check, lowered
from engines.recipe import LayerPrecision, Recipe
from engines.targets.base import Built

_NODE = re.compile(r"[Cc]ould not find any implementation for node (.+?)\.?(?:\)|;|$)")
_RANGE = re.compile(r"ForeignNode\[(.+?)\.\.\.(.+?)\]")


class NoImplementation(Exception):
    """The builder has no kernel for ``layers``, nodes of the graph; ``error`` is for where they cannot be raised."""

    def __init__(self, layers: Sequence[str], error: BuildError) -> None:
        super().__init__(str(error))
        self.layers, self.error = tuple(layers), error


def climb(recipe: Recipe, attempt: Callable[[Recipe], Built]) -> Built:
    """What ``attempt`` builds of the recipe, or of the first one up the ladder that can be built.

    Each refusal (`NoImplementation`) raises at least one layer, so there is an end. Raises BuildError where a layer is
    refused in FP32 too.
    """
    notes: list[str] = []
    while True:
        try:
            built = attempt(recipe)
        except NoImplementation as refused:
            recipe, raised = _raise(recipe, refused)
            notes += raised
            continue
        return dataclasses.replace(built, details={**built.details, "notes": [*notes, *built.details["notes"]]})


def read_failure(reason: str, model: onnx_ir.Model, error: BuildError) -> Exception:
    """What a builder's failure means: `NoImplementation` where it names nodes that multiply, else ``error``."""
    found = _NODE.search(reason)
    names = [node.name or "" for node in model.graph]
    compute = {node.name or "" for node in compute_nodes(model)}
    text = found.group(1) if found else ""
    layers = [name for name in compute if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)]
    ends = _RANGE.search(text)
    if ends and ends.group(1) in names and ends.group(2) in names:
        between = names[names.index(ends.group(1)) : names.index(ends.group(2)) + 1]
        layers = [name for name in between if name in compute]
    return NoImplementation(sorted(layers), error) if layers else error


def realised(table: LayerTable, recipe: Recipe, model: onnx_ir.Model) -> tuple[Lowered, ...]:
    """What became of each layer that multiplies.

    Raises `NoImplementation` where no kernel computes one, and BuildError where one is computed in another precision.
    """
    layers = lowered(table, recipe, {node.name or "": node.op_type for node in compute_nodes(model)})
    try:
        check(layers)
    except BuildError as error:
        if missing := [layer.name for layer in layers if not layer.found]:
            raise NoImplementation(missing, error) from error
        raise
    return layers


def _raise(recipe: Recipe, refused: NoImplementation) -> tuple[Recipe, list[str]]:
    """The recipe with the refused layers one step up, and what to tell the user. Raises BuildError at the top."""
    raised: dict[str, LayerPrecision] = {}
    for layer in recipe.layers:
        if layer.name in refused.layers and layer.precision != "fp32":
            higher = "fp32" if layer.precision == recipe.base else recipe.base
            why = f"raised from {layer.precision}, for which the builder has no kernel"
            raised[layer.name] = LayerPrecision(layer.name, higher, why)
    if not raised:
        raise refused.error
    layers = tuple(raised.get(layer.name, layer) for layer in recipe.layers)
    notes = [f"{one.name} computes in {one.precision}: {one.why}" for one in raised.values()]
    return dataclasses.replace(recipe, layers=layers), notes
