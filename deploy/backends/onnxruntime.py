"""Graphs on ONNX Runtime: on the CPU with one thread that never spins, or by its CUDA and TensorRT providers.

One thread and no spinning is what an embedded process wants: a spinning pool takes the 99th percentile of a small model
from 0.1 ms to 4 ms beside one busy neighbour. TF32 is off, so that FP32 means FP32, and so are INT8 kernels that
saturate (`deploy.backends.saturation`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.backends.saturation import keep_exact
from deploy.errors import BackendError
from deploy.interrupts import import_module
from deploy.manifest import TensorSpec
from deploy.npz import Array

PROVIDERS: dict[str, list[Any]] = {
    "onnxruntime-cpu": ["CPUExecutionProvider"],
    "onnxruntime-cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
    "onnxruntime-tensorrt": [
        "TensorrtExecutionProvider",
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        "CPUExecutionProvider",
    ],
}
"""ONNX Runtime's execution providers of each backend, the one that names it first."""

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float16": "float16",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int64": "int64",
    "uint8": "uint8",
    "uint16": "uint16",
    "uint32": "uint32",
    "uint64": "uint64",
    "bool": "bool",
}


def provider(name: str) -> str:
    """The execution provider that backend ``name`` is named after."""
    first = PROVIDERS[name][0]
    return str(first if isinstance(first, str) else first[0])


def available() -> frozenset[str]:
    """The backends of this module that the installed ONNX Runtime was built with; empty where none is installed."""
    try:
        providers = import_module("onnxruntime").get_available_providers()
    except ImportError:
        return frozenset()
    return frozenset(name for name in PROVIDERS if provider(name) in providers)


class OnnxRuntimeBackend:
    """A graph loaded from bytes (so that no external file is followed).

    ``threads`` is the number of intra-op threads. ``fp32``: the graph is an FP32 one, and quantizers in it (of
    training) are arithmetic; no integer kernel, whose int32 bias can overflow, takes their place. Raises BackendError
    where ONNX Runtime is not installed, cannot load the graph, or would run it by another provider than asked for.
    """

    def __init__(self, graph: bytes, name: str, where: str, threads: int = 1, *, fp32: bool = False) -> None:
        try:
            ort = import_module("onnxruntime")
        except ImportError as error:
            fix = "pip install 'kerasrt[cpu]'"
            raise BackendError("ONNX Runtime is not installed", where=where, fix=fix) from error
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        keep_exact(options)
        if fp32:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        try:
            self._session = ort.InferenceSession(graph, options, providers=PROVIDERS[name])
        except Exception as error:  # its errors have no common class but Exception
            fix = "build the bundle again, or update ONNX Runtime"
            raise BackendError(
                f"ONNX Runtime cannot load the graph ({_reason(error)})", where=where, fix=fix
            ) from error
        if provider(name) not in self._session.get_providers():
            raise BackendError(
                "ONNX Runtime would run the graph elsewhere",
                where=where,
                expected=provider(name),
                found=", ".join(self._session.get_providers()),
                fix="check the GPU's driver and CUDA libraries, or ask for onnxruntime-cpu",
            )
        self.name = name
        self.inputs = tuple(_spec(value, where) for value in self._session.get_inputs())
        self.outputs = tuple(_spec(value, where) for value in self._session.get_outputs())
        self._output_names = [spec.name for spec in self.outputs]
        self._where = where

    @property
    def batch(self) -> tuple[int, int] | None:
        """None: sizes that a graph fixes are part of its inputs' shapes."""
        return None

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Raises BackendError where the run fails (out of memory, say)."""
        try:
            results = self._session.run(self._output_names, dict(inputs))
        except Exception as error:
            fix = "try a smaller batch; if that fails too, build the bundle again or update ONNX Runtime"
            raise BackendError(f"the run failed ({_reason(error)})", where=self._where, fix=fix) from error
        return dict(zip(self._output_names, results, strict=True))

    def close(self) -> None:
        self._session = None


def _spec(value: Any, where: str) -> TensorSpec:
    kind = value.type.removeprefix("tensor(").removesuffix(")")
    if kind not in _DTYPES:
        fix = "cast it to float32 at the model's border, and build again"
        raise BackendError(f"{value.name} has type {value.type}, which numpy lacks", where=where, fix=fix)
    shape = tuple(size if isinstance(size, int) else str(size or "unknown") for size in value.shape)
    return TensorSpec(value.name, shape, _DTYPES[kind])


def _reason(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
