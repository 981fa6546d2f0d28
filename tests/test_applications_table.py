"""The page of benchmarks.applications says what its rows say, and was not written by hand."""

from pathlib import Path

import pytest

from benchmarks.applications import MODELS
from benchmarks.applications_table import ATTENTION, Rows, attention_total, median_ratio, read, table, write

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "applications.json"


def timed(**seconds: tuple[float, float]) -> Rows:
    steps = ("kerasrt", "keras")
    return {
        (name, step): {"cpu_seconds": x} for name, both in seconds.items() for step, x in zip(steps, both, strict=True)
    }


def test_committed_page_is_the_table_of_the_committed_rows() -> None:
    assert RESULTS.with_suffix(".md").read_text(encoding="utf-8") == table(read(RESULTS), MODELS)


def test_rows_survive_the_file(tmp_path: Path) -> None:
    rows = read(RESULTS)
    write(rows, MODELS, tmp_path / "rows.json")
    assert read(tmp_path / "rows.json") == rows


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "rows.json") == {}


def test_attention_total_compares_sums() -> None:
    rows: Rows = {(name, "kerasrt"): {"nodes": 60 + i} for i, name in enumerate(ATTENTION)}
    rows |= {(name, "tf2onnx"): {"slimmed": 100} for name in ATTENTION}
    assert "375, tf2onnx slimmed 600: 37.5 % fewer" in attention_total(rows)


@pytest.mark.parametrize("step", ["kerasrt", "tf2onnx"])
def test_attention_total_needs_every_model(step: str) -> None:
    rows: Rows = {(name, "kerasrt"): {"nodes": 60} for name in ATTENTION}
    rows |= {(name, "tf2onnx"): {"slimmed": 100} for name in ATTENTION}
    del rows[ATTENTION[-1], step]
    assert attention_total(rows) == ""


def test_median_ratio_takes_models_with_both() -> None:
    rows = timed(VGG16=(1.0, 10.0), VGG19=(2.0, 60.0), Xception=(1.0, 14.0))
    rows["ResNet50", "keras"] = {"cpu_seconds": 99.0}
    assert "14.0 in the median of the 3 models with both from one run, 10.0 to 30.0" in median_ratio(rows, MODELS)


def test_median_ratio_leaves_out_rows_of_different_runs() -> None:
    rows = timed(VGG16=(1.0, 10.0), VGG19=(2.0, 60.0))
    rows["VGG19", "kerasrt"]["run"] = "2026-11-27 18:15"
    assert "10.0 in the median of the 1 models" in median_ratio(rows, MODELS)


def test_page_lists_failures_and_what_is_missing() -> None:
    ours = {"nodes": 38, "transposes": 1, "cpu_seconds": 1.5, "memory_mib": 935.0, "error": 1e-6}
    rows: Rows = {("VGG16", "prepare"): {"weights_mib": 528.0}, ("VGG16", "kerasrt"): ours}
    rows["VGG16", "keras"] = {"nodes": 40, "transposes": 2}
    rows["VGG16", "tf2onnx"] = {"failure": "over 600 s"}
    lines = table(rows, ("VGG16", "VGG19")).splitlines()
    assert "| VGG16 | 528 | 38 (1) | 40 (2), - | - | 1.50 | - | - | 935 | - | - | 1.0e-06 | 1.0e-05 | - | - |" in lines
    assert "- VGG16, tf2onnx: over 600 s" in lines
    assert "- Keras's export, only wall-clock time was taken, on a busy machine: VGG16." in lines
    assert "- kerasrt, not measured: VGG19." in lines
