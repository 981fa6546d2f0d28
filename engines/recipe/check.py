"""Whether a recipe can be followed for each target: what the build would refuse, said before it begins."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from deploy.errors import BuildError
from engines.apply import applied
from engines.lint import problems
from engines.recipe import Recipe
from engines.recipe.validation import faults, for_target
from engines.targets.base import Target, available, find


def of_targets(recipe: Recipe, model: ir.Model, name: str | None = None) -> list[BuildError]:
    """All faults for the target of that name, or for each that this machine can build for; each fault once.

    A target on which the precision as such does not exist is left out, unless it was asked for. Raises BuildError where
    the target is unknown or this machine cannot build for it.
    """
    able = [target for target in available() if recipe.precision in target.precisions]
    chosen = able if name is None else [find(name)]
    found: dict[str, BuildError] = {}
    for target in chosen:
        for fault in _of_target(recipe, model, target):
            found.setdefault(str(fault), fault)
    return list(found.values())


def _of_target(recipe: Recipe, model: ir.Model, target: Target) -> Iterator[BuildError]:
    """Rules of the recipe, of the target and, where these hold, of the typed graph."""
    wrong = [*faults(recipe, model, target.name), *for_target(recipe, model, target)]
    yield from wrong
    if wrong or target.name == "onnxruntime":
        return
    for node, problem in problems(applied(recipe, model, target.name), recipe):
        yield BuildError(
            f"TensorRT would drop or refuse its quantization: {problem}",
            where=f"layer {node.name}",
            fix="give the layer fp16 in the recipe",
        )
