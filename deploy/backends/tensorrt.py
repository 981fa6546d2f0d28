"""Engines on a GPU, by TensorRT or TensorRT-RTX: one Python API, two modules.

Only what TensorRT 10.3 (JetPack 6) has is used without asking; TensorRT-RTX's own runtime configuration (CUDA graphs)
is used where it exists. Memory is allocated once, for the largest batch of the profile.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from deploy.backends.buffers import Stream, TensorBuffer
from deploy.backends.tensorrt_logger import logger_of
from deploy.errors import BackendError
from deploy.interrupts import import_module
from deploy.manifest import BATCH, TensorSpec
from deploy.npz import Array
from deploy.selection import ENGINES


class TensorRTBackend:
    """An engine, deserialized from bytes whose hash was checked: it is native code.

    ``name`` is its target, ``tensorrt`` or ``tensorrt-rtx``. Runs are done one at a time, under a lock, on a stream of
    their own. Raises BackendError where the module is missing, the engine was built by another version or for another
    GPU, or it has tensors this runtime does not do (sizes that depend on data, types that numpy lacks).
    """

    def __init__(self, engine: bytes, name: str, where: str) -> None:
        self.name = name
        self._where = where
        self._lock = threading.Lock()
        self._buffers: dict[str, TensorBuffer] = {}
        self._stream: Stream | None = None
        try:
            trt = import_module(ENGINES[name])
        except (ImportError, OSError) as error:  # OSError: a library of it is missing
            extra = "rtx" if name == "tensorrt-rtx" else "tensorrt"
            fix = f"pip install 'kerasrt[{extra}]'"
            raise BackendError(f"{ENGINES[name]} cannot be imported ({error})", where=where, fix=fix) from error
        self._logger = logger_of(trt)
        try:
            self._runtime = trt.Runtime(self._logger)
        except Exception as error:  # the binding's own: it got no object from TensorRT
            raise self._failure(f"{name} {trt.__version__} cannot start", "check the GPU with nvidia-smi") from error
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise self._failure(f"{name} {trt.__version__} cannot load the engine")
        self._context = _create_context(trt, self._engine)
        if self._context is None:
            raise self._failure("the engine's execution context cannot be made")
        try:
            self._stream = Stream()
            self._read_tensors(trt)
        except BaseException:
            self.close()
            raise

    @property
    def batch(self) -> tuple[int, int] | None:
        """Smallest and largest batch of the engine's first optimization profile; None where its shapes are fixed."""
        return self._batch

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Copies the inputs to the GPU, runs, and copies the outputs back; returns when they are here."""
        with self._lock:
            if self._stream is None:
                raise BackendError("the engine is closed", where=self._where, fix="load it again")
            for spec in self.inputs:
                array = inputs[spec.name]
                if not self._context.set_input_shape(spec.name, tuple(array.shape)):
                    raise self._failure(f"the engine refuses shape {array.shape} for {spec.name}")
                self._buffers[spec.name].upload(array, self._stream)
            if not self._context.execute_async_v3(self._stream.handle):
                raise self._failure("the engine's run failed")
            shapes = {spec.name: tuple(self._context.get_tensor_shape(spec.name)) for spec in self.outputs}
            for name, shape in shapes.items():
                self._buffers[name].download(shape, self._stream)
            self._stream.synchronize()
            return {name: self._buffers[name].array(shape).copy() for name, shape in shapes.items()}

    def close(self) -> None:
        """Frees the context before the engine, and both before their memory."""
        with self._lock:
            self._context = self._engine = self._runtime = None
            for buffer in self._buffers.values():
                buffer.close()
            self._buffers = {}
            if self._stream is not None:
                self._stream.close()
            self._stream = None

    def _read_tensors(self, trt: Any) -> None:
        """Reads names, types and shapes, and allocates every tensor for the profile's largest shapes."""
        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        outputs = [name for name in names if name not in inputs]
        smallest, largest = 1, None
        for name in inputs:
            fixed = tuple(engine.get_tensor_shape(name))
            if -1 not in fixed:
                continue
            low, _, high = (tuple(shape) for shape in engine.get_tensor_profile_shape(name, 0))
            if not context.set_input_shape(name, high):
                raise self._failure(f"the engine refuses its own largest shape for {name}")
            smallest = max(smallest, low[0])
            largest = high[0] if largest is None else min(largest, high[0])
        self._batch = None if largest is None else (smallest, largest)
        for name in names:
            shape = tuple(context.get_tensor_shape(name))
            if any(size < 0 for size in shape):
                fix = "run the FP32 graph: --backend onnxruntime-cpu or onnxruntime-cuda"
                raise BackendError(f"output {name} has a size that depends on the data", where=self._where, fix=fix)
            dtype = self._dtype(trt, name)
            self._buffers[name] = TensorBuffer(math.prod(shape), dtype)
            if not context.set_tensor_address(name, self._buffers[name].device):
                raise self._failure(f"the engine refuses memory for {name}")
        self.inputs = tuple(self._spec(trt, name) for name in inputs)
        self.outputs = tuple(self._spec(trt, name) for name in outputs)

    def _spec(self, trt: Any, name: str) -> TensorSpec:
        shape = self._engine.get_tensor_shape(name)
        sizes = tuple(
            BATCH if i == 0 and size < 0 else f"axis{i}" if size < 0 else size for i, size in enumerate(shape)
        )
        return TensorSpec(name, sizes, self._dtype(trt, name).name)

    def _dtype(self, trt: Any, name: str) -> np.dtype[Any]:
        kind = self._engine.get_tensor_dtype(name)
        try:
            dtype: np.dtype[Any] = np.dtype(trt.nptype(kind))
            return dtype
        except TypeError as error:
            fix = "cast it to float32 at the model's border, and build again"
            raise BackendError(f"{name} has type {kind}, which numpy lacks", where=self._where, fix=fix) from error

    def _failure(
        self, what: str, fix: str = "build the engine on this machine, with this version: kerasrt build"
    ) -> BackendError:
        return BackendError(what, where=self._where, found=self._logger.reason(), fix=fix)


def _create_context(trt: Any, engine: Any) -> Any:
    """An execution context; with CUDA graphs where the module has a configuration for them (TensorRT-RTX)."""
    strategy = getattr(trt, "CudaGraphStrategy", None)
    if strategy is None or not hasattr(engine, "create_runtime_config"):
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE
    return engine.create_execution_context(config)
