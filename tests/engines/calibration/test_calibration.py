from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from deploy.errors import InputError
from deploy.manifest import TensorSpec
from deploy.npz import Array
from engines.calibration.collect import collect
from engines.calibration.data import batches
from tests.engines.graphs import Graph

SPEC = (TensorSpec("image", ("batch", 12, 12, 3), "float32"),)


def test_ranges_are_those_of_numpy_over_all_batches(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    ranges = collect(model, samples)
    assert ranges.samples == 64
    assert ranges.minimum["image"] == samples["image"].min()
    assert ranges.maximum["image"] == samples["image"].max()
    assert ranges.minimum["stem"] == 0  # behind a Relu
    assert 0 < ranges.minimum["block/cbam/channel"] < ranges.maximum["block/cbam/channel"] < 1  # a Sigmoid
    floats = {value.name for value in model.graph.value_info} | {"image", "logits"}
    assert set(ranges.minimum) == floats


def test_sources_of_every_kind_agree(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    np.savez_compressed(path, **samples)
    expected = collect(model, samples)
    images = samples["image"]
    for source in (path, str(path), images, iter([{"image": images[:40]}, {"image": images[40:]}]), [images]):
        found = collect(model, source)
        assert (found.minimum, found.maximum, found.samples) == (expected.minimum, expected.maximum, 64)
    assert collect(model, path).source["sha256"]


def test_fortran_order_is_read_as_it_is(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(10, 12, 12, 3)).astype(np.float32)
    np.savez(tmp_path / "f.npz", image=np.asfortranarray(images))
    found = np.concatenate([batch["image"] for batch in batches(tmp_path / "f.npz", SPEC, 4)])
    assert np.array_equal(found, images)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"picture": np.zeros((4, 12, 12, 3), np.float32), "y": np.zeros(4)}, "image"),
        ({"image": np.zeros((4, 12, 13, 3), np.float32)}, "wrong size"),
        ({"image": np.zeros((12, 12, 3), np.float32)}, "rank 3"),
        ({"image": np.zeros((0, 12, 12, 3), np.float32)}, "empty"),
        ({"image": np.zeros((4, 12, 12, 3), np.uint8)}, "float32"),
        ({"image": np.full((4, 12, 12, 3), np.nan, np.float32)}, "NaN"),
        ({"image": np.full((4, 12, 12, 3), np.inf, np.float32)}, "inf"),
    ],
)
def test_bad_samples_are_refused(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    for source in (tmp_path / "bad.npz", arrays, [arrays]):
        with pytest.raises(InputError, match=message):
            list(batches(source, SPEC, 4))


def test_nan_deep_in_a_stream_names_its_samples() -> None:
    def stream() -> Iterator[Array]:
        yield np.zeros((4, 12, 12, 3), np.float32)
        bad = np.zeros((4, 12, 12, 3), np.float32)
        bad[2, 0, 0, 0] = np.nan
        yield bad

    with pytest.raises(InputError, match="samples 4 to 7"):
        list(batches(stream(), SPEC, 4))


@pytest.mark.parametrize("source", [[], iter(()), 7, "missing.npz"])
def test_no_samples_are_refused(source: Any) -> None:
    with pytest.raises(InputError):
        list(batches(source, SPEC, 4))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.npz"
    np.savez(path, image=np.random.default_rng(0).normal(size=(64, 12, 12, 3)).astype(np.float32))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF  # the CRC of the member no longer holds
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged\.npz"):
        list(batches(path, SPEC, 16))
    path.write_bytes(data[:1000])
    with pytest.raises(InputError, match=r"damaged\.npz"):
        list(batches(path, SPEC, 16))


def test_a_model_that_gives_infinity_in_fp32_is_refused() -> None:
    g = Graph()
    g.node("Mul", [g.node("Exp", ["x"], "exploding"), g.constant("one", np.float32(1))], "y")
    with pytest.raises(InputError, match="exploding"):
        collect(g.model({"x": ["batch", 2]}, ["y"]), {"x": np.full((4, 2), 100, np.float32)})


def test_memory_does_not_grow_with_the_samples(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        path = tmp_path / f"{count}.npz"
        np.savez(path, image=np.zeros((count, 12, 12, 3), np.float32))
        tracemalloc.start()
        for _ in batches(path, SPEC, 32):
            pass
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    few, many = peak(200), peak(4000)  # 0.3 and 6.9 MB of samples
    assert many < few + 200_000


def test_one_sample_alone_says_nothing_of_change(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    assert collect(model, samples["image"][:1]).same == ()
    assert collect(model, samples["image"][[0, 0]]).same == ("image",)
    assert collect(model, samples["image"][[0, 0, 1]]).same == ()
