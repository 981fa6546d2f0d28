"""TensorRT-RTX: engines for GeForce and RTX cards, built with or without a GPU."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.apply.io_types import KEPT, IoTypes, retype
from engines.recipe import PRECISIONS, Recipe
from engines.targets.base import Built, installed_version, register

if TYPE_CHECKING:
    import onnx_ir

    from engines.targets.nvidia import Serialized

CAPABILITIES = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
"""What TensorRT-RTX 1.7 can build for: Turing, Ampere, Ada and Blackwell."""

UNSUITED = {
    "int8": {"SM75": "INT8 would be lowered as FP16"},
    "bf16": {"SM75": "Turing has no BF16"},
    "fp8": dict.fromkeys(("SM75", "SM80", "SM86"), "FP8 begins with Ada"),
}
"""By precision, the capabilities that cannot have it, and why. Measured: with Turing among them, INT8 convolutions are
lowered as FP16 for all."""


class Rtx:
    """The target ``tensorrt-rtx``."""

    name = "tensorrt-rtx"
    precisions: tuple[str, ...] = PRECISIONS
    open_sizes = False

    def missing(self) -> str:
        if importlib.util.find_spec("tensorrt_rtx") is None:
            return "pip install 'kerasrt[rtx]' (Linux or Windows, x86-64)"
        return ""

    def version(self) -> str:
        return installed_version("tensorrt_rtx_cu13", "tensorrt_rtx_cu12", "tensorrt_rtx")

    def build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes = KEPT) -> Built:
        from engines.targets.ladder import climb

        return climb(recipe, lambda recipe: self._build(model, recipe, profile, io))

    def _build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes) -> Built:
        import onnx_ir

        from engines.apply import applied
        from engines.layer_table import read_builder
        from engines.lint import lint
        from engines.targets.deconvolutions import widen
        from engines.targets.ladder import realised

        typed = applied(recipe, model, self.name)
        lint(typed, recipe)
        widen(typed)
        retype(typed, io)
        graph = onnx_ir.to_proto(typed).SerializeToString()
        built, capabilities, notes = _build_for_most(graph, model, recipe, profile)
        if not built.layers:
            raise BuildError(
                "TensorRT-RTX printed no table of layers, so what it built cannot be checked",
                where=recipe.precision,
                fix="install the version of tensorrt-rtx that constraints.txt names",
            )
        table = read_builder(built.layers)
        details: dict[str, Any] = {
            "builder": f"TensorRT-RTX {self.version()}",
            "compute_capabilities": capabilities,
            "kernels": len(table.rows),
            "notes": notes,
        }
        return Built(recipe, "engine", ".rtx.engine", built.data, table, realised(table, recipe, typed), details)


def _build_for_most(
    graph: bytes, model: onnx_ir.Model, recipe: Recipe, profile: Profile
) -> tuple[Serialized, list[str], list[str]]:
    """The engine for every compute capability that can have it, these, and why others cannot."""
    import tensorrt_rtx

    from engines.targets import nvidia
    from engines.targets.ladder import read_failure, read_refusal

    used = {recipe.base, *(layer.precision for layer in recipe.layers)}
    unsuited = {name: why for precision in sorted(used) for name, why in UNSUITED.get(precision, {}).items()}
    capabilities = [name for name in CAPABILITIES if name not in unsuited]
    notes = [
        f"not for {', '.join(name for name in unsuited if unsuited[name] == why)}: {why}"
        for why in dict.fromkeys(unsuited.values())
    ]
    while True:
        try:
            return nvidia.build(tensorrt_rtx, graph, profile, capabilities), capabilities, notes
        except nvidia.Unparsed as refusal:
            raise read_refusal(refusal, model) from refusal
        except nvidia.Failure as failure:
            refused = _refused_capability(failure.reason, capabilities)
            if refused is None:
                error = BuildError(
                    f"TensorRT-RTX could not build it: {failure.reason}",
                    where=recipe.precision,
                    fix="ask for another precision (fp32 is the safest), and report this graph",
                )
                raise read_failure(failure.reason, model, error) from failure
            capabilities.remove(refused)
            notes.append(f"not for {refused}: {_sentence(failure.reason)}")


def _refused_capability(reason: str, capabilities: list[str]) -> str | None:
    """The compute capability that the builder says it cannot compile for (``(SM75)``), where others are left."""
    for name in re.findall(r"\((SM\d+)\)", reason):
        if name in capabilities and len(capabilities) > 1:
            return str(name)
    return None


def _sentence(reason: str) -> str:
    """The part of an error code's message that says what is not supported."""
    found = re.search(r"Cannot compile.*?(?=\. In |\)$|$)", reason)
    return found.group(0) if found else reason


register(Rtx())
