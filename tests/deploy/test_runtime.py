"""Runtime on ONNX Runtime: results, contracts, threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from deploy import BackendError, BundleError, InputError, Runtime, TensorSpec


def reference(folder: Path, inputs: dict[str, Any]) -> list[Any]:
    return list(ReferenceEvaluator(onnx.load(folder / "model.fp32.onnx")).run(None, inputs))


def test_array_in_array_out(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as runtime:
        result = runtime(image)
        assert runtime.inputs == (TensorSpec("image", ("batch", 8, 8, 1), "float32"),)
        assert runtime.outputs == (TensorSpec("logits", ("batch", 10), "float32"),)
        assert (runtime.backend, runtime.precision, runtime.batch) == ("onnxruntime-cpu", "fp32", (1, 8))
    np.testing.assert_allclose(result, reference(digits, {"image": image})[0], rtol=1e-5, atol=1e-5)


def test_mapping_in_mapping_out(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as runtime:
        result = runtime({"image": image})
        assert list(result) == ["logits"]
        np.testing.assert_array_equal(result["logits"], runtime(image))


def test_several_inputs_and_outputs(spot: Path) -> None:
    u, v = np.random.default_rng(0).random((2, 5, 6), dtype=np.float32)
    with Runtime.load(spot) as runtime:
        result = runtime({"v": v, "u": u})
        assert list(result) == ["spot", "strength"]
        np.testing.assert_allclose(result["strength"], u + v)
        with pytest.raises(InputError, match="several inputs"):
            runtime(u)


def test_inputs_are_checked(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as runtime:
        with pytest.raises(InputError, match="rank 3"):
            runtime(image[0])
        with pytest.raises(InputError, match="dtype"):
            runtime(image.astype(np.float64))
        with pytest.raises(InputError, match="names"):
            runtime({"images": image})


def test_a_batch_beyond_the_profile_is_refused_on_the_cpu_too(digits: Path, image: Any) -> None:
    """A program that runs on the graph would fail on the engine: it is told at once."""
    with Runtime.load(digits) as runtime:
        with pytest.raises(InputError, match="beyond the bundle's optimization profile") as caught:
            runtime(np.resize(image, (9, 8, 8, 1)))
        assert "--max-batch 9" in caught.value.fix
        with pytest.raises(InputError, match="optimization profile"):
            runtime.benchmark(batch=9, runs=3)


def test_inputs_in_any_memory_order(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as runtime:
        expected = runtime(image)
        np.testing.assert_array_equal(runtime(np.asfortranarray(image)), expected)
        np.testing.assert_array_equal(runtime(image.astype(">f4")), expected)
        np.testing.assert_array_equal(runtime(np.repeat(image, 2, axis=0)[::2]), expected)


def test_int8_only_on_request(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as whole, Runtime.load(digits, precision="int8") as rounded:
        assert (rounded.backend, rounded.precision) == ("onnxruntime-cpu", "int8")
        error = np.abs(whole(image) - rounded(image)).max()
        assert 0 < error < 0.2


def test_another_precision_is_never_substituted(digits: Path) -> None:
    with pytest.raises(BackendError, match="nothing on this machine can run") as caught:
        Runtime.load(digits, precision="fp16")
    assert "needs an NVIDIA GPU" in caught.value.found
    with pytest.raises(BackendError, match="the bundle has nothing for") as caught:
        Runtime.load(digits, precision="bf16")
    assert "fp16 on tensorrt-rtx" in caught.value.expected
    with pytest.raises(BackendError, match="no such backend"):
        Runtime.load(digits, backend="onnx")


def test_waiting_engines_are_named(digits: Path) -> None:
    with Runtime.load(digits) as runtime:
        (waiting,) = runtime.waiting
        assert (waiting.artifact.precision, waiting.artifact.target) == ("fp16", "tensorrt-rtx")
        assert waiting.reason == "needs an NVIDIA GPU"


def test_an_onnx_file(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as bundle, Runtime.load(digits / "model.fp32.onnx") as plain:
        assert plain.inputs == bundle.inputs
        assert plain.precision == "as stored"
        assert plain.selftest() is None
        assert plain.batch is None
        assert len(plain(np.resize(image, (9, 8, 8, 1)))) == 9
        assert plain.benchmark(2, runs=3).batch == 2
        np.testing.assert_array_equal(plain(image), bundle(image))


def test_an_onnx_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        Runtime.load(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(BackendError, match="as stored") as caught:
        Runtime.load(tmp_path / "bad.onnx")
    assert "ONNX Runtime cannot load the graph" in caught.value.found


def test_many_threads_get_their_own_results(digits: Path) -> None:
    batches = np.random.default_rng(5).random((64, 1, 8, 8, 1), dtype=np.float32)
    with Runtime.load(digits) as runtime:
        expected = [runtime(batch) for batch in batches]
        start = threading.Barrier(8)

        def work(worker: int) -> list[tuple[int, Any]]:
            start.wait()
            return [(i, runtime(batches[i])) for _ in range(20) for i in range(worker, 64, 8)]

        with ThreadPoolExecutor(8) as pool:
            for results in pool.map(work, range(8)):
                for index, result in results:
                    np.testing.assert_array_equal(result, expected[index])


def test_run_async(digits: Path, image: Any) -> None:
    with Runtime.load(digits) as runtime:
        futures = [runtime.run_async(image[i : i + 1]) for i in range(3)]
        joined = np.concatenate([future.result(timeout=10) for future in futures])
        np.testing.assert_allclose(joined, runtime(image), rtol=1e-6, atol=1e-6)
        with pytest.raises(InputError):
            runtime.run_async(image[0]).result(timeout=10)


def test_closed(digits: Path, image: Any) -> None:
    runtime = Runtime.load(digits)
    future = runtime.run_async(image)
    runtime.close()
    runtime.close()
    assert future.done()
    for call in (runtime, runtime.run_async):
        with pytest.raises(BackendError, match="is closed"):
            call(image)


def test_selftest(digits: Path) -> None:
    with Runtime.load(digits) as runtime:
        parity = runtime.selftest()
        assert parity is not None
        assert parity.passed
        assert parity.samples == 4
        assert 0 < parity.metrics["logits"].relative < 1e-5


def test_benchmark(digits: Path) -> None:
    with Runtime.load(digits) as runtime:
        result = runtime.benchmark(batch=6, runs=20, seconds=1)
        assert (result.batch, result.runs, result.backend, result.precision) == (6, 20, "onnxruntime-cpu", "fp32")
        assert 0 < result.minimum <= result.median <= result.p90 <= result.p99 <= result.maximum
        assert result.throughput == pytest.approx(6000 / result.mean)


def test_sample_repeats_the_golden_inputs(digits: Path) -> None:
    with Runtime.load(digits) as runtime:
        sample = runtime.sample(7)["image"]
        np.testing.assert_array_equal(sample[:3], sample[4:])
        with pytest.raises(InputError, match="optimization profile"):
            runtime.sample(9)
