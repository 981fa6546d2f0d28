"""Runtime: loads the best artifact of a bundle that this machine can run, and runs it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from deploy.backends.base import Backend
from deploy.benchmark import Benchmark, latencies, summarize
from deploy.bundle import Bundle, artifact, open_bundle
from deploy.errors import REBUILD, BackendError, BundleError, InputError
from deploy.golden import origin, read_golden
from deploy.inputs import check_inputs
from deploy.manifest import Manifest, TensorSpec
from deploy.npz import Array
from deploy.parity.compare import Parity, compare_outputs, run_in_slices
from deploy.selection import Candidate, Waiting, candidates, waiting

AS_STORED = "as stored"
"""The precision of a plain `.onnx` file: whatever its own types say."""


class Runtime:
    """A loaded model. Make one with `Runtime.load`; use it as a context manager or call `close`.

    ``runtime(array)`` runs a model with one input, ``runtime({name: array})`` any model. Calls may come from several
    threads at once. ``backend`` and ``precision`` say what really runs, ``waiting`` which engines of the bundle do not
    run on this machine and why.
    """

    def __init__(self, bundle: Bundle, candidate: Candidate, backend: Backend, waiting: tuple[Waiting, ...]) -> None:
        self.bundle = bundle
        self.waiting = waiting
        self.precision: str = candidate.artifact.precision or AS_STORED
        self.artifact = candidate.artifact
        self._backend: Backend | None = backend
        self._name = backend.name
        manifest = bundle.manifest
        self._batch = backend.batch or manifest.batch
        self.inputs: tuple[TensorSpec, ...] = manifest.inputs or backend.inputs
        self.outputs: tuple[TensorSpec, ...] = manifest.outputs or backend.outputs
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        _check_tensors(bundle, candidate, self.inputs, backend.inputs)
        _check_tensors(bundle, candidate, self.outputs, backend.outputs)

    @classmethod
    def load(
        cls,
        bundle: Bundle | Path | str | None = None,
        backend: str = "auto",
        precision: str | None = None,
        threads: int = 1,
    ) -> Runtime:
        """Opens a bundle (its folder, an `.onnx` file, or None for ``build/current``) and loads one of its artifacts.

        ``backend``: ``auto``, ``onnxruntime-cpu``, ``onnxruntime-cuda``, ``onnxruntime-tensorrt``, ``tensorrt`` or
        ``tensorrt-rtx``. ``auto`` takes an engine where a GPU can run it (FP16 first), else the FP32 graph, on a GPU if
        ONNX Runtime has one, else on the CPU. An INT8 graph runs on the CPU only if it is asked for, even one that was
        timed to be faster: its numbers are others. With ``precision`` nothing of another precision is taken.
        ``threads`` is ONNX Runtime's number of threads on the CPU.

        Raises BundleError for a missing, broken or edited bundle, BackendError where nothing can run what was asked
        for.
        """
        opened = bundle if isinstance(bundle, Bundle) else _open(bundle)
        failed: list[Waiting] = []
        for candidate in candidates(opened.manifest, backend, precision):
            if candidate.obstacle:
                failed.append(Waiting(candidate.artifact, f"{candidate.backend}: {candidate.obstacle}"))
                continue
            data = opened.read(candidate.artifact)
            try:
                loaded = _load(candidate, data, str(opened.path(candidate.artifact)), threads)
            except BackendError as error:
                if backend != "auto":
                    raise
                failed.append(Waiting(candidate.artifact, f"{candidate.backend}: {error.what}"))
                continue
            idle = waiting(opened.manifest)
            idle += tuple(
                w for w in failed if w.artifact.kind == "engine" and w.artifact not in [x.artifact for x in idle]
            )
            return cls(opened, candidate, loaded, idle)
        reasons = "; ".join(dict.fromkeys(f"{w.artifact.precision or AS_STORED} {w.reason}" for w in failed))
        raise BackendError(
            "nothing on this machine can run what was asked for",
            where=opened.manifest.name,
            expected=f"{precision or 'any precision'} on {backend}",
            found=reasons,
            fix="leave out the precision and the backend to run the FP32 graph, or run this on a machine with that GPU",
        )

    @property
    def backend(self) -> str:
        """What really runs: ``onnxruntime-cpu``, ``tensorrt-rtx``, …"""
        return self._name

    @property
    def batch(self) -> tuple[int, int] | None:
        """Smallest and largest batch: the optimization profile of the engine, or of the bundle whose graph runs.

        None for a plain `.onnx` file, which takes any, and where the model's own shapes fix the batch.
        """
        return self._batch

    def __call__(self, inputs: Mapping[str, Any] | Any) -> Any:
        """Runs one batch and returns new arrays.

        An array, for a model with one input, gives an array where the model has one output, else a mapping; a mapping
        gives a mapping. Shapes and dtypes are those of ``inputs`` and ``outputs``. Raises InputError for what does not
        fit them or whose batch is beyond the optimization profile. Values are not checked, as that
        would cost a pass over every input: what NaN or infinity becomes is the backend's affair (on ONNX Runtime NaN,
        on a GPU not always). Where data may hold them, ask ``numpy.isfinite(x).all()`` first, as `deploy.infer` does.
        """
        if isinstance(inputs, Mapping):
            return self._run(inputs)
        if len(self.inputs) != 1:
            names = ", ".join(spec.name for spec in self.inputs)
            raise InputError(
                "one array for a model with several inputs",
                expected=f"a mapping with {names}",
                found=type(inputs).__name__,
                fix="call runtime({name: array, ...})",
            )
        outputs = self._run({self.inputs[0].name: inputs})
        return outputs[self.outputs[0].name] if len(self.outputs) == 1 else outputs

    def run_async(self, inputs: Mapping[str, Any] | Any) -> Future[Any]:
        """Starts a run on a worker thread; its result is what calling the runtime returns.

        The arrays must stay as they are until then. Runs are done one after the other, in order.
        """
        with self._lock:
            self._opened()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, thread_name_prefix="kerasrt")
            return self._pool.submit(self, inputs)

    def benchmark(self, batch: int = 1, runs: int = 200, seconds: float = 5.0, warmup: int = 10) -> Benchmark:
        """Latency of up to ``runs`` calls (fewer after ``seconds``) on the golden inputs, or random ones."""
        arrays = self.sample(batch)
        measured = latencies(lambda: self._run(arrays), runs, seconds, warmup)
        return summarize(measured, self.backend, self.precision, batch)

    def selftest(self) -> Parity | None:
        """Replays the golden pairs and compares; None where the bundle has none. Raises BundleError where damaged."""
        golden = read_golden(self.bundle)
        if golden is None:
            return None
        actual = run_in_slices(self._run, golden.inputs, self.batch)
        compared = compare_outputs(self.bundle.manifest, self.precision, golden.outputs, actual)
        return Parity(compared, origin(self.bundle.manifest), golden.batch, self.backend, self.precision)

    def sample(self, batch: int = 1) -> dict[str, Array]:
        """Inputs of a batch: the golden ones, repeated or cut, or standard normal ones where the bundle has none.

        Raises InputError for a batch beyond the profile.
        """
        golden = read_golden(self.bundle)
        if golden is not None:
            index = np.arange(batch) % golden.batch
            given = {spec.name: golden.inputs[spec.name][index] for spec in self.inputs}
            return check_inputs(given, self.inputs, f"batch {batch}", self._batch)
        generator = np.random.default_rng(0)
        shapes = {s.name: tuple(batch if i == 0 else d for i, d in enumerate(s.shape)) for s in self.inputs}
        unknown = [name for name, shape in shapes.items() if not all(isinstance(size, int) for size in shape)]
        if unknown:
            raise InputError("has sizes that are known at run time alone", where=unknown[0], fix="build a bundle of it")
        return {
            spec.name: generator.standard_normal(shapes[spec.name]).astype(spec.dtype)  # type: ignore[arg-type]
            for spec in self.inputs
        }

    def close(self) -> None:
        """Waits for started runs and gives memory back. A closed runtime raises BackendError when called."""
        with self._lock:
            pool, backend = self._pool, self._backend
            self._pool = None
        if pool is not None:
            pool.shutdown(wait=True)
        self._backend = None
        if backend is not None:
            backend.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        backend = self._opened()
        arrays = check_inputs(inputs, self.inputs, batch=self._batch)
        results = backend.run(arrays)
        return {spec.name: results[spec.name] for spec in self.outputs}

    def _opened(self) -> Backend:
        if self._backend is None:
            raise BackendError("the runtime is closed", fix="load it again with Runtime.load")
        return self._backend


def _open(path: Path | str | None) -> Bundle:
    if path is not None and Path(path).suffix == ".onnx":
        file = Path(path)
        if not file.is_file():
            raise BundleError("there is no such file", where=str(file), fix="give an .onnx file or a bundle's folder")
        graph = artifact(file.parent, file.name, "graph")
        return Bundle(file.parent, Manifest(file.stem, (), (), (graph,)))
    return open_bundle(path)


def _load(candidate: Candidate, data: bytes, where: str, threads: int) -> Backend:
    if candidate.artifact.kind == "engine":
        from deploy.backends.tensorrt import TensorRTBackend

        return TensorRTBackend(data, candidate.backend, where)
    from deploy.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(
        data, candidate.backend, where, threads, fp32=candidate.artifact.precision in (None, "fp32")
    )


def _check_tensors(
    bundle: Bundle, candidate: Candidate, wanted: tuple[TensorSpec, ...], found: tuple[TensorSpec, ...]
) -> None:
    listed, real = ({(spec.name, spec.dtype) for spec in specs} for specs in (wanted, found))
    if listed != real:
        raise BundleError(
            "the manifest and the artifact have different inputs or outputs",
            where=str(bundle.path(candidate.artifact)),
            expected=", ".join(f"{spec.name} {spec.dtype}" for spec in wanted),
            found=", ".join(f"{spec.name} {spec.dtype}" for spec in found),
            fix=REBUILD,
        )
