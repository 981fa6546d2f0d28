"""From an FP32 graph to an engine: precision recipes, their application per target, and bundles.

import engines
bundle = engines.build("model.keras", "build/name", precision="fp16,int8", calibration="calibration.npz")
"""

from engines.apply import apply
from engines.build import build
from engines.recipe import Recipe, recipe
from engines.recipe.file import read_recipe, write_recipe
from engines.simulate import simulate

__all__ = ["Recipe", "apply", "build", "read_recipe", "recipe", "simulate", "write_recipe"]
