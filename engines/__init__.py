"""From an FP32 graph to an engine: precision recipes, their application per target, and bundles."""

from engines.apply import apply
from engines.recipe import Recipe, read_recipe, recipe, write_recipe
from engines.simulate import simulate

__all__ = ["Recipe", "apply", "read_recipe", "recipe", "simulate", "write_recipe"]
