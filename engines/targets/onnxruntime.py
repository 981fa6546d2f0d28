"""ONNX Runtime on the CPU: the graph with the recipe in it is what runs; there is nothing to compile ahead.

INT8 is timed against FP32 on this machine, and not built unless it is asked for by name where it is less than `WORTH`
times faster: a small network's conversions between kernels cost more than its products save (speech runs at half the
speed), and without VNNI even large ones gain nothing. However fast, it runs only where it is asked for
(`deploy.selection`): it has other numbers, and it was timed on the machine that built it.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from deploy.manifest import Profile
from engines.apply.io_types import KEPT, IoTypes, retype
from engines.recipe import Recipe
from engines.targets.base import Built, installed_version, register

if TYPE_CHECKING:
    import onnx_ir

    from engines.targets.timing import Latencies

WORTH = 1.25
"""INT8 that is less than so many times as fast as FP32 is left out where nobody asked for it by name."""


class OnnxRuntime:
    """The target ``onnxruntime``. Its CPU has no FP16 arithmetic: it would cast to FP32 and run slower."""

    name = "onnxruntime"
    precisions: tuple[str, ...] = ("fp32", "int8")
    open_sizes = True

    def missing(self) -> str:
        return "" if importlib.util.find_spec("onnxruntime") else "pip install 'kerasrt[cpu]'"

    def version(self) -> str:
        return installed_version("onnxruntime", "onnxruntime-gpu")

    def build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes = KEPT) -> Built:
        import onnx_ir

        from engines.apply import applied
        from engines.sessions import session

        graph = applied(recipe, model, self.name)
        data = onnx_ir.to_proto(graph).SerializeToString()
        session(data, optimize=True)
        details: dict[str, Any] = {"builder": f"ONNX Runtime {self.version()}", "notes": []}
        slow = ""
        if any(layer.precision == "int8" for layer in recipe.layers):
            measured = _against_fp32(model, data, profile.optimum)
            if measured is None:
                details["notes"].append("INT8 was not timed against FP32: a size of the model's inputs is open")
            else:
                details["milliseconds"] = {"fp32": round(measured.first, 4), "int8": round(measured.second, 4)}
                text = _compared(measured, profile.optimum)
                if measured.gain < WORTH:
                    slow = text
                else:
                    details["notes"].append(f"{text}; it runs where --precision int8 asks for it")
        if io.changed:
            retype(graph, io)
            data = onnx_ir.to_proto(graph).SerializeToString()
        return Built(recipe, "graph", ".onnx", data, details=details, slow=slow)


def _against_fp32(model: onnx_ir.Model, int8: bytes, batch: int) -> Latencies | None:
    """FP32 and INT8 timed on random inputs; None where a size beside the batch is unknown."""
    import onnx_ir

    from engines.sessions import input_specs
    from engines.targets.timing import latencies, random_inputs

    specs = input_specs(model)
    if any(isinstance(size, str) for spec in specs for size in spec.shape[1:]):
        return None
    return latencies(onnx_ir.to_proto(model).SerializeToString(), int8, random_inputs(specs, batch))


def _compared(measured: Latencies, batch: int) -> str:
    times = f"{measured.second:.3g} ms against {measured.first:.3g} ms of FP32"
    only = "only " if measured.gain < WORTH else ""
    compared = "slower" if measured.gain < 1 else f"{only}{measured.gain:.2f} times as fast"
    return f"INT8 is {compared} on this CPU: {times}, batch {batch}, one thread"


register(OnnxRuntime())
