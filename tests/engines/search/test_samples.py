from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from deploy.errors import InputError
from deploy.npz import Array
from engines.calibration.collect import collect
from engines.calibration.ranges import Ranges
from engines.graphs import load
from engines.search.samples import assign, evaluation

CLASSES = {"logits": (1, 5)}


@pytest.fixture(scope="module")
def ranges(model: onnx.ModelProto, samples: dict[str, Array]) -> Ranges:
    return collect(model, samples)


def test_labels_beside_the_inputs_follow_their_samples(
    model: onnx.ModelProto, samples: dict[str, Array], ranges: Ranges, tmp_path: Path
) -> None:
    path = tmp_path / "labelled.npz"
    np.savez(path, **samples, labels=np.arange(64))
    for source in (path, {**samples, "labels": np.arange(64)}):
        found = evaluation(load(model), source, ranges, most=16)
        assert found.count == 16
        np.testing.assert_array_equal(found.inputs["image"], samples["image"][found.labels["labels"]])


def test_a_stream_is_searched_on_what_calibration_kept(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    stream = iter([{"image": samples["image"][:8]}])
    ranges = collect(model, stream)
    found = evaluation(load(model), stream, ranges)
    assert (found.count, found.labels) == (8, {})


def test_one_hot_labels_are_refused(model: onnx.ModelProto, samples: dict[str, Array], ranges: Ranges) -> None:
    with pytest.raises(InputError, match="not class numbers") as error:
        evaluation(load(model), {**samples, "labels": np.eye(5, dtype=np.float32)[np.zeros(64, int)]}, ranges)
    assert "argmax" in error.value.fix


def test_too_few_samples_hold_none_out(model: onnx.ModelProto, samples: dict[str, Array], ranges: Ranges) -> None:
    with pytest.raises(InputError, match="too few samples"):
        evaluation(load(model), {"image": samples["image"][:2]}, ranges)


def test_labels_belong_to_the_only_output_with_classes_or_to_the_one_they_are_named_after() -> None:
    array = np.array([0, 4, 2])
    assert assign({"labels": array}, CLASSES, "")["logits"] is array
    assert assign({"logits": array}, {**CLASSES, "other": (1, 2)}, "")["logits"] is array


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ({"labels": np.array([0, 5])}, CLASSES),
        ({"labels": np.zeros((2, 5), np.int64)}, CLASSES),
        ({"labels": np.array([0, 1])}, {**CLASSES, "other": (1, 5)}),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(labels: dict[str, Array], classes: dict[str, tuple[int, int]]) -> None:
    with pytest.raises(InputError) as error:
        assign(labels, classes, "calibration.npz")
    assert error.value.fix
