"""The TensorRT backend against a stand-in for the driver, and, where there is a GPU, against a real engine.

The stand-in computes y = 2 x in "device" memory that only copies can reach, and is as strict as TensorRT about shapes
and addresses. A test holds its names against the real module, so that it cannot offer what TensorRT has not.
"""

from __future__ import annotations

import ctypes
import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy.backends import buffers, tensorrt_logger
from deploy.backends.tensorrt import TensorRTBackend
from deploy.errors import BackendError, InputError
from deploy.gpu import gpus
from deploy.manifest import TensorSpec

PROFILE = ((1, 3), (2, 3), (4, 3))


class FakeCuda:
    """``cuda.bindings.runtime`` over host memory: every call returns (error, value...)."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.memory: dict[int, Any] = {}
        self.streams = 0
        self.limit = 1 << 20

    def _allocate(self, size: int) -> tuple[Any, ...]:
        if size > self.limit:
            return (2, None)
        block = ctypes.create_string_buffer(size)
        self.memory[ctypes.addressof(block)] = block
        return (0, ctypes.addressof(block))

    cudaMalloc = cudaMallocHost = _allocate

    def _free(self, pointer: int) -> tuple[int]:
        del self.memory[int(pointer)]
        return (0,)

    cudaFree = cudaFreeHost = _free

    def cudaMemcpyAsync(self, target: int, source: int, count: int, kind: int, stream: int) -> tuple[int]:
        assert kind in (1, 2)
        assert stream == 77
        ctypes.memmove(int(target), int(source), count)
        return (0,)

    cudaStreamNonBlocking = 1

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:
        assert flags == 1
        self.streams += 1
        return (0, 77)

    def cudaStreamDestroy(self, stream: int) -> tuple[int]:
        self.streams -= 1
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        return (0,)

    def cudaGetErrorString(self, code: int) -> tuple[int, bytes]:
        return (0, b"out of memory")


class Context:
    def __init__(self, engine: Engine) -> None:
        self.shape: tuple[int, ...] | None = None
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert name == "x"
        if not all(low <= size <= high for low, size, high in zip(PROFILE[0], shape, PROFILE[2], strict=True)):
            return False
        self.shape = shape
        return True

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if self.shape is not None else (-1, 3)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == 77
        assert self.shape is not None
        kind = ctypes.c_float * math.prod(self.shape)
        x, y = (np.ctypeslib.as_array(kind.from_address(self.addresses[name])) for name in ("x", "y"))
        y[:] = 2 * x
        return True


class Engine:
    num_io_tensors = 2

    def get_tensor_name(self, index: int) -> str:
        return ("x", "y")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "input" if name == "x" else "output"

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return (-1, 3)

    def get_tensor_dtype(self, name: str) -> str:
        return "float"

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> tuple[tuple[int, ...], ...]:
        assert (name, profile_index) == ("x", 0)
        return PROFILE

    def create_runtime_config(self) -> Any:
        return SimpleNamespace(cuda_graph_strategy=None)

    def create_execution_context(self, runtime_config: Any = None) -> Context:
        assert runtime_config is None or runtime_config.cuda_graph_strategy == "whole"
        return Context(self)


class ILogger:
    """As in TensorRT, `__init__` of a derived class must call this one."""

    def __init__(self) -> None:
        self.made = True

    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2)


class FakeRuntime:
    def __init__(self, logger: Any) -> None:
        assert logger.made
        self.logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> Engine | None:
        if data != b"engine":
            self.logger.log(ILogger.Severity.WARNING, "a warning")
            self.logger.log(ILogger.Severity.ERROR, "Serialization assertion failed\n")
            return None
        return Engine()


@pytest.fixture(params=["tensorrt-rtx", "tensorrt"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A stand-in for the module of each target; only TensorRT-RTX has CUDA graph strategies."""
    module: Any = ModuleType(request.param.replace("-", "_"))
    module.__version__ = "10.3"
    module.Runtime = FakeRuntime
    module.ILogger = ILogger
    module.TensorIOMode = SimpleNamespace(INPUT="input", OUTPUT="output")
    module.nptype = lambda kind: {"float": np.float32}[kind]
    if request.param == "tensorrt-rtx":
        module.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(tensorrt_logger, "_LOGGERS", {})
    return str(request.param)


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(buffers, "cuda_runtime", lambda: fake)
    return fake


def test_runs_every_batch_of_the_profile(target: str, cuda: FakeCuda) -> None:
    backend = TensorRTBackend(b"engine", target, "file")
    assert backend.batch == (1, 4)
    assert backend.inputs == (TensorSpec("x", ("batch", 3), "float32"),)
    assert backend.outputs == (TensorSpec("y", ("batch", 3), "float32"),)
    results = []
    for batch in (4, 1, 3, 2):
        x = np.random.default_rng(batch).random((batch, 3), dtype=np.float32)
        results.append((x, backend.run({"x": x})["y"]))
    for x, y in results:  # a later run leaves earlier results alone
        np.testing.assert_array_equal(y, 2 * x)
    backend.close()
    backend.close()
    assert not cuda.memory
    assert cuda.streams == 0
    with pytest.raises(BackendError, match="closed"):
        backend.run({"x": x})


def test_an_engine_of_another_version_says_why(target: str, cuda: FakeCuda) -> None:
    with pytest.raises(BackendError, match="cannot load the engine") as caught:
        TensorRTBackend(b"another engine", target, "model.engine")
    assert caught.value.found == "Serialization assertion failed"
    assert caught.value.where == "model.engine"


def test_a_driver_that_is_missing(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT's binding raises TypeError where it gets no object."""

    def runtime(logger: Any) -> None:
        logger.log(ILogger.Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("factory function returned nullptr")

    monkeypatch.setattr(sys.modules[target.replace("-", "_")], "Runtime", runtime)
    with pytest.raises(BackendError, match="cannot start") as caught:
        TensorRTBackend(b"engine", target, "model.engine")
    assert caught.value.found == "CUDA initialization failure with error: 35"
    assert "nvidia-smi" in caught.value.fix


def test_a_shape_the_engine_does_not_take(target: str, cuda: FakeCuda) -> None:
    backend = TensorRTBackend(b"engine", target, "file")
    with pytest.raises(BackendError, match="refuses shape"):
        backend.run({"x": np.ones((5, 3), np.float32)})
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(backend.run({"x": x})["y"], 2 * x)
    backend.close()


def test_an_engine_of_fixed_shapes(target: str, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shape is asked for, never a profile, which it need not have."""
    monkeypatch.setattr(Engine, "get_tensor_shape", lambda *_: (2, 3))
    monkeypatch.setattr(Engine, "get_tensor_profile_shape", lambda *_: pytest.fail("there is no profile"))
    monkeypatch.setattr(Context, "get_tensor_shape", lambda *_: (2, 3))
    backend = TensorRTBackend(b"engine", target, "file")
    assert backend.batch is None
    assert backend.inputs == (TensorSpec("x", (2, 3), "float32"),)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(backend.run({"x": x})["y"], 2 * x)
    backend.close()


def test_too_little_memory_leaves_nothing_behind(target: str, cuda: FakeCuda) -> None:
    cuda.limit = 8
    with pytest.raises(BackendError, match="CUDA error 2"):
        TensorRTBackend(b"engine", target, "file")
    assert not cuda.memory
    assert cuda.streams == 0


def test_a_missing_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match="tensorrt cannot be imported") as caught:
        TensorRTBackend(b"engine", "tensorrt", "file")
    assert caught.value.fix == "pip install 'kerasrt[tensorrt]'"


def test_a_batch_beyond_the_profile_of_a_bundle(
    target: str, cuda: FakeCuda, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy import Runtime, selection
    from deploy.bundle import artifact, write_manifest
    from deploy.golden import Golden, write_golden
    from deploy.gpu import Gpu
    from deploy.manifest import Manifest

    monkeypatch.setattr(selection, "gpus", lambda: (Gpu("a GPU", (8, 6)),))
    found = importlib.util.find_spec
    module = target.replace("-", "_")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == module else found(name))
    (tmp_path / "model.engine").write_bytes(b"engine")
    x = np.random.default_rng(0).random((6, 3), dtype=np.float32)
    write_golden(tmp_path, Golden({"x": x}, {"y": 2 * x}))
    specs = [(TensorSpec(name, ("batch", 3), "float32"),) for name in ("x", "y")]
    artifacts = (
        artifact(tmp_path, "model.engine", "engine", "fp16", target),
        artifact(tmp_path, "golden.npz", "golden"),
    )
    write_manifest(tmp_path, Manifest("double", specs[0], specs[1], artifacts))
    with Runtime.load(tmp_path) as runtime:
        assert (runtime.backend, runtime.precision, runtime.waiting) == (target, "fp16", ())
        parity = runtime.selftest()  # 6 samples through a profile of 4
        assert parity is not None
        assert parity.passed
        np.testing.assert_array_equal(runtime(x[:4]), 2 * x[:4])
        with pytest.raises(InputError, match="optimization profile") as caught:
            runtime(x)
        assert (caught.value.expected, caught.value.found) == ("1 to 4 samples", "6")


def test_the_stand_in_offers_only_what_tensorrt_has() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    runtime = pytest.importorskip("cuda.bindings.runtime")
    pairs = (
        (Engine, trt.ICudaEngine),
        (Context, trt.IExecutionContext),
        (FakeRuntime, trt.Runtime),
        (FakeCuda, runtime),
    )
    for fake, real in pairs:
        names = [name for name in vars(fake) if not name.startswith("_")]
        assert [name for name in names if not hasattr(real, name)] == []
        assert names
    assert hasattr(trt.IRuntimeConfig, "cuda_graph_strategy")
    assert hasattr(trt.CudaGraphStrategy, "WHOLE_GRAPH_CAPTURE")
    assert {"INTERNAL_ERROR", "ERROR", "WARNING"} <= set(trt.ILogger.Severity.__members__)
    assert trt.nptype(trt.DataType.FLOAT) is np.float32
    assert hasattr(runtime.cudaMemcpyKind, "cudaMemcpyDeviceToHost")


def test_the_real_module_without_a_gpu_gives_one_clear_error() -> None:
    pytest.importorskip("tensorrt_rtx")
    if gpus():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendError) as caught:
        TensorRTBackend(b"no engine", "tensorrt-rtx", "model.engine")
    assert "model.engine" in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not gpus(), reason="needs an NVIDIA GPU")
def test_a_real_engine_on_a_gpu(digits: Path, image: Any) -> None:
    """Builds the FP32 graph with TensorRT-RTX for this GPU and runs it beside ONNX Runtime."""
    trt = pytest.importorskip("tensorrt_rtx")
    pytest.importorskip("cuda.bindings.runtime")
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    assert parser.parse((digits / "model.fp32.onnx").read_bytes())
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    profile.set_shape("image", (1, 8, 8, 1), (3, 8, 8, 1), (8, 8, 8, 1))
    config.add_optimization_profile(profile)
    engine = bytes(builder.build_serialized_network(network, config))
    backend = TensorRTBackend(engine, "tensorrt-rtx", "model.engine")
    from deploy import Runtime

    with Runtime.load(digits, backend="onnxruntime-cpu") as runtime:
        for batch in (1, 3, 8):
            x = np.resize(image, (batch, 8, 8, 1))
            np.testing.assert_allclose(backend.run({"image": x})["logits"], runtime(x), rtol=1e-4, atol=1e-4)
    assert backend.batch == (1, 8)
    backend.close()
