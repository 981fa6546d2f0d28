"""TensorRT 10 and 11: an engine for the GPU of this machine."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError
from deploy.gpu import gpus
from deploy.manifest import Profile
from engines.apply.io_types import KEPT, IoTypes, retype
from engines.recipe import PRECISIONS, Recipe
from engines.targets.base import Built, installed_version, register

if TYPE_CHECKING:
    import onnx_ir


_FIRST = {"bf16": (8, 0), "fp8": (8, 9)}
"""Compute capability from which on a precision is there (NVIDIA, "TensorRT Support Matrix")."""


class TensorRT:
    """The target ``tensorrt``."""

    name = "tensorrt"
    open_sizes = False

    @property
    def precisions(self) -> tuple[str, ...]:
        """What the oldest GPU here computes in; BF16 begins with Ampere, FP8 with Ada."""
        oldest = min((gpu.compute_capability for gpu in gpus()), default=(0, 0))
        return tuple(name for name in PRECISIONS if oldest >= _FIRST.get(name, (0, 0)))

    def missing(self) -> str:
        if importlib.util.find_spec("tensorrt") is None:
            return (
                "pip install 'kerasrt[tensorrt]', or on a Jetson use JetPack's (python -m venv --system-site-packages)"
            )
        if not gpus():
            return "TensorRT builds on the GPU that will run the engine, and no NVIDIA GPU is here"
        return ""

    def version(self) -> str:
        return installed_version("tensorrt", "tensorrt_cu13", "tensorrt_cu12")

    def build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes = KEPT) -> Built:
        import tensorrt

        from engines.targets.ladder import climb

        if int(tensorrt.__version__.partition(".")[0]) < 10:
            raise BuildError(
                "this TensorRT is too old for strongly typed networks",
                where="target tensorrt",
                expected="10 or 11",
                found=tensorrt.__version__,
                fix="install TensorRT 10.3 or newer",
            )
        return climb(recipe, lambda recipe: self._build(tensorrt, model, recipe, profile, io))

    def _build(self, trt: Any, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes) -> Built:
        import onnx_ir

        from engines.apply import applied
        from engines.lint import lint
        from engines.targets import nvidia
        from engines.targets.ladder import read_failure, read_refusal, realised

        typed = applied(recipe, model, self.name)
        lint(typed, recipe)
        retype(typed, io)
        graph = onnx_ir.to_proto(typed).SerializeToString()
        try:
            built = nvidia.build(trt, graph, profile)
        except nvidia.Unparsed as refusal:
            raise read_refusal(refusal, model) from refusal
        except nvidia.Failure as failure:
            error = BuildError(
                f"TensorRT could not build it: {failure.reason}",
                where=recipe.precision,
                fix="ask for another precision (fp32 is the safest), and report this graph",
            )
            raise read_failure(failure.reason, model, error) from failure
        table = inspect(trt, built.data)
        layers = realised(table, recipe, typed)
        details = {"builder": f"TensorRT {trt.__version__}", "kernels": len(table.rows), "notes": []}
        return Built(recipe, "engine", ".engine", built.data, table, layers, details)


def inspect(trt: Any, engine: bytes) -> Any:
    """The layer table of an engine, by the engine inspector; needs the GPU it was built for. Raises BuildError."""
    from deploy.backends.tensorrt_logger import logger_of
    from engines.layer_table import read_inspector

    loaded = trt.Runtime(logger_of(trt)).deserialize_cuda_engine(engine)
    if loaded is None:
        raise BuildError(
            "the engine that was just built cannot be loaded on this GPU",
            where="target tensorrt",
            found=logger_of(trt).reason(),
            fix="free GPU memory, and check that driver and TensorRT fit each other",
        )
    inspector = loaded.create_engine_inspector()
    return read_inspector(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


register(TensorRT())
