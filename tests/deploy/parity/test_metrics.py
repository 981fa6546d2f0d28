"""Metrics against their definitions, and thresholds against their table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploy.manifest import Manifest, TensorSpec
from deploy.parity import report
from deploy.parity.compare import Parity, compare_outputs, run_in_slices
from deploy.parity.metrics import measure
from deploy.parity.thresholds import threshold

FINITE = st.floats(-1e6, 1e6, width=32)


def test_by_hand() -> None:
    metrics = measure(np.array([[3.0, -4.0]]), np.array([[3.0, -3.0]]))
    assert (metrics.max_abs, metrics.scale, metrics.relative) == (1.0, 4.0, 0.25)
    assert metrics.rmse == pytest.approx(math.sqrt(0.5))
    assert metrics.cosine == pytest.approx((9 + 12) / (5 * math.sqrt(18)))
    assert metrics.sqnr_db == pytest.approx(10 * math.log10(25))
    assert metrics.top1 == 1.0


def test_top1() -> None:
    wanted = np.eye(4, dtype=np.float32)
    found = wanted[[0, 1, 3, 2]]
    assert measure(wanted, found).top1 == 0.5
    assert measure(wanted[:, :1], wanted[:, :1]).top1 is None


@given(hnp.arrays(np.float32, hnp.array_shapes(max_dims=3), elements=FINITE))
def test_equal_arrays(array: Any) -> None:
    metrics = measure(array, array.copy())
    assert (metrics.max_abs, metrics.rmse, metrics.sqnr_db) == (0.0, 0.0, math.inf)
    assert metrics.cosine == pytest.approx(1.0)


@given(hnp.arrays(np.float32, (3, 4), elements=FINITE), st.integers(0, 11), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_value_that_is_not_finite_never_passes(array: Any, index: int, value: float) -> None:
    broken = array.copy()
    broken.flat[index] = value
    for metrics in (measure(array, broken), measure(broken, array)):
        assert metrics.max_abs == math.inf
        for precision in ("fp32", "fp16", "bf16", "int8"):
            assert not threshold(precision).holds(metrics)


@given(hnp.arrays(np.float64, (2, 5), elements=st.floats(0.5, 2)), st.floats(1e-6, 1e-1))
def test_sqnr_of_a_relative_error(array: Any, error: float) -> None:
    metrics = measure(array, array * (1 + error))
    assert metrics.sqnr_db == pytest.approx(-20 * math.log10(error), abs=0.1)
    assert metrics.relative == pytest.approx(error, rel=1e-3)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        measure(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize(
    ("precision", "sensitivity", "limit"),
    [("fp32", 0.0, 1e-5), ("fp32", 1e-5, 1e-4), ("fp16", 1e-5, 1e-2), ("bf16", 0.0, 8e-2), (None, 0.0, 1e-5)],
)
def test_thresholds(precision: str | None, sensitivity: float, limit: float) -> None:
    bound = threshold(precision, sensitivity)
    assert (bound.metric, bound.minimum) == ("relative", False)
    assert bound.limit == pytest.approx(limit)


def test_int8_threshold_follows_the_simulation() -> None:
    assert threshold("int8").limit == 10.0
    assert threshold("int8", simulated={"sqnr_db": 30.0}).limit == 24.0
    assert threshold("int8", simulated={"sqnr_db": 12.0}).limit == 10.0


def test_the_verdict_names_the_worst_output() -> None:
    specs = tuple(TensorSpec(name, ("batch", 2), "float32") for name in ("a", "b"))
    manifest = Manifest("m", (), specs, (), sensitivity={"b": 1e-6})
    reference = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    actual = {"a": np.ones((1, 2)) + 2e-6, "b": np.ones((1, 2)) + 2e-3}
    compared = compare_outputs(manifest, "fp32", reference, actual)
    parity = Parity(compared, "outputs recorded from Keras", 1, "onnxruntime-cpu", "fp32")
    assert [c.passed for c in compared] == [True, False]
    assert not parity.passed
    assert report.verdict(parity) == (
        "FAILED  b: max error 2.0e-03 of the output's scale, threshold 1.0e-05 (1 sample, outputs recorded from Keras)"
    )
    lines = report.table(parity.outputs)
    assert lines[1].endswith("passed")
    assert lines[2].endswith("FAILED")
    assert len({line.index("threshold") for line in lines[1:]}) == 1


def test_a_constant_reference_proves_little() -> None:
    manifest = Manifest("m", (), (TensorSpec("a", ("batch", 2), "float32"),), ())
    for rows, constant in (([[1.0, 2.0]] * 3, True), ([[1.0, 2.0], [1.0, 2.5]], False), ([[1.0, 2.0]], False)):
        compared = compare_outputs(manifest, "fp32", {"a": np.array(rows)}, {"a": np.array(rows)})
        assert compared[0].constant is constant
        said = "proves little" in report.verdict(Parity(compared, "Keras", len(rows), "onnxruntime-cpu", "fp32"))
        assert said is constant


def test_slices() -> None:
    seen = []

    def run(inputs: Any) -> Any:
        seen.append(len(inputs["x"]))
        return {"y": inputs["x"] * 2}

    x = np.arange(10)
    np.testing.assert_array_equal(run_in_slices(run, {"x": x}, (1, 4))["y"], x * 2)
    np.testing.assert_array_equal(run_in_slices(run, {"x": x}, None)["y"], x * 2)
    np.testing.assert_array_equal(run_in_slices(run, {"x": x}, (3, 4))["y"], x * 2)
    np.testing.assert_array_equal(run_in_slices(run, {"x": x}, (16, 32))["y"], x * 2)
    assert seen == [4, 4, 2, 10, 4, 4, 3, 16]
