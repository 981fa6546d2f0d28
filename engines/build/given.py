"""A recipe that a build is given, made before and perhaps edited by hand: it is followed, nothing is decided anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError
from engines.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir

    from engines.calibration.ranges import Ranges
    from engines.targets.base import Target


@dataclass(frozen=True)
class Given:
    """The recipe as it was given, and what to call where it comes from."""

    recipe: Recipe
    origin: str

    @property
    def precision(self) -> str:
        """What its engine is called after."""
        return self.recipe.precision

    def needs_ranges(self, model: onnx_ir.Model) -> bool:
        """Whether a value that is quantized has no scale yet."""
        from engines.recipe.completion import missing_scales

        return bool(missing_scales(self.recipe, model))

    def check(self, model: onnx_ir.Model, target: Target) -> None:
        """Raises BuildError, with all faults, where it is of another model or not for that target."""
        from engines.recipe.faults import refuse
        from engines.recipe.validation import for_target, of_model

        refuse(of_model(self.recipe, model), self.origin)
        refuse(for_target(self.recipe, model, target), self.origin)

    def completed(self, model: onnx_ir.Model, ranges: Ranges | None, target: Target) -> Recipe:
        """With the scales that can be computed. Raises BuildError, with all faults, where it cannot be followed."""
        from engines.recipe.completion import complete
        from engines.recipe.faults import refuse
        from engines.recipe.validation import faults

        recipe = complete(self.recipe, model, ranges)
        refuse(faults(recipe, model, target.name), self.origin)
        return recipe


def read(recipe: Recipe | Path | str | None) -> Given | None:
    """A recipe in memory or in a file; None where there is none. Raises BuildError for a file that is wrong."""
    from engines.recipe.file import read_recipe

    if recipe is None or isinstance(recipe, Recipe):
        return None if recipe is None else Given(recipe, "the recipe")
    return Given(read_recipe(recipe), Path(recipe).name)


def precisions(asked: str | Sequence[str] | None, given: Given | None) -> str | Sequence[str] | None:
    """What to build: that of the recipe alone, where nothing else was asked for.

    Raises BuildError where it is not among what was asked for.
    """
    if given is None or asked is None:
        return asked if given is None else (given.precision,)
    names = [name.strip().lower() for name in (asked.split(",") if isinstance(asked, str) else asked)]
    if given.precision not in names:
        raise BuildError(
            "the recipe is for another precision",
            where=given.origin,
            expected=", ".join(names),
            found=given.precision,
            fix=f"leave --precision out, or give {','.join([*names, given.precision])}",
        )
    return names


def details(recipe: Recipe, given: Given | None) -> dict[str, Any]:
    """What the manifest says of a recipe's file: where it came from, and what was made by hand."""
    found: dict[str, Any] = {}
    if given is not None and given.precision == recipe.precision:
        found["from"] = given.origin
    if edits := recipe.edits():
        found["by_hand"] = list(edits)
    return found
