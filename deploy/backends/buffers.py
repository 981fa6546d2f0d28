"""CUDA memory for the tensors of an engine: allocated once, pinned on the host, copied on one stream."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from deploy.errors import BackendError
from deploy.interrupts import import_module
from deploy.npz import Array


def cuda_runtime() -> Any:
    """The module ``cuda.bindings.runtime``. Raises BackendError where cuda-python is not installed."""
    try:
        return import_module("cuda.bindings.runtime")
    except ImportError as error:
        fix = "pip install cuda-python, in the version of your CUDA"
        raise BackendError(f"cuda-python is not installed ({error})", fix=fix) from error


def checked(cuda: Any, result: tuple[Any, ...]) -> Any:
    """The value of a CUDA runtime call, which returns (error, value...). Raises BackendError with the error's name."""
    code, *values = result
    if int(code) != 0:
        _, text = cuda.cudaGetErrorString(code)
        message = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        raise BackendError(f"CUDA error {int(code)} ({message})", fix="check the GPU with nvidia-smi")
    return values[0] if values else None


class Stream:
    """A CUDA stream that does not wait for the default one.

    On the default stream TensorRT synchronizes the device more often than it need, and one that waits for it would let
    other code's work there break the capture of a CUDA graph.
    """

    def __init__(self) -> None:
        self._cuda = cuda_runtime()
        self._stream: Any = checked(self._cuda, self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))

    @property
    def handle(self) -> int:
        return int(self._stream)

    def synchronize(self) -> None:
        """Waits until everything on the stream is done."""
        checked(self._cuda, self._cuda.cudaStreamSynchronize(self._stream))

    def close(self) -> None:
        if self._stream is not None:
            checked(self._cuda, self._cuda.cudaStreamDestroy(self._stream))
        self._stream = None


class TensorBuffer:
    """Memory for up to ``count`` elements of one tensor, on the device and, pinned, on the host."""

    def __init__(self, count: int, dtype: np.dtype[Any]) -> None:
        self._cuda = cuda_runtime()
        self._dtype = dtype
        self._bytes = max(1, count * dtype.itemsize)  # CUDA gives no address for 0 bytes
        self._device: Any = checked(self._cuda, self._cuda.cudaMalloc(self._bytes))
        try:
            self._host: Any = checked(self._cuda, self._cuda.cudaMallocHost(self._bytes))
        except BackendError:
            self._cuda.cudaFree(self._device)
            raise
        block = (ctypes.c_byte * self._bytes).from_address(int(self._host))
        self._view: Array | None = np.ctypeslib.as_array(block)

    @property
    def device(self) -> int:
        """Address on the GPU."""
        return int(self._device)

    def array(self, shape: tuple[int, ...]) -> Array:
        """The host memory as an array; it is overwritten by the next copy."""
        if self._view is None:
            raise BackendError("the buffer is closed", fix="load the engine again")
        return self._view[: math.prod(shape) * self._dtype.itemsize].view(self._dtype).reshape(shape)

    def upload(self, array: Array, stream: Stream) -> None:
        """Copies an array of the tensor's dtype to the device. The host memory may be reused after a synchronize."""
        np.copyto(self.array(array.shape), array, casting="no")
        self._copy(self._device, self._host, array.nbytes, "cudaMemcpyHostToDevice", stream)

    def download(self, shape: tuple[int, ...], stream: Stream) -> None:
        """Copies the first elements back to the host; they are there after a synchronize."""
        count = math.prod(shape) * self._dtype.itemsize
        self._copy(self._host, self._device, count, "cudaMemcpyDeviceToHost", stream)

    def close(self) -> None:
        if self._view is not None:
            self._view = None
            self._cuda.cudaFreeHost(self._host)
            self._cuda.cudaFree(self._device)

    def _copy(self, target: Any, source: Any, count: int, kind: str, stream: Stream) -> None:
        direction = getattr(self._cuda.cudaMemcpyKind, kind)
        checked(self._cuda, self._cuda.cudaMemcpyAsync(target, source, count, direction, stream.handle))
