"""ONNX Runtime on the CPU: the graph with the recipe in it is what runs; there is nothing to compile ahead."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from deploy.manifest import Profile
from engines.recipe import Recipe
from engines.targets.base import Built, installed_version, register

if TYPE_CHECKING:
    import onnx_ir


class OnnxRuntime:
    """The target ``onnxruntime``. Its CPU has no FP16 arithmetic: it would cast to FP32 and run slower."""

    name = "onnxruntime"
    precisions: tuple[str, ...] = ("fp32", "int8")
    open_sizes = True

    def missing(self) -> str:
        return "" if importlib.util.find_spec("onnxruntime") else "pip install 'kerasrt[cpu]'"

    def version(self) -> str:
        return installed_version("onnxruntime", "onnxruntime-gpu")

    def build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile) -> Built:
        import onnx_ir

        from engines.apply import applied
        from engines.sessions import session

        graph = applied(recipe, model, self.name)
        session(graph, optimize=True)
        details: dict[str, Any] = {"builder": f"ONNX Runtime {self.version()}", "notes": []}
        return Built(recipe, "graph", ".onnx", onnx_ir.to_proto(graph).SerializeToString(), details=details)


register(OnnxRuntime())
