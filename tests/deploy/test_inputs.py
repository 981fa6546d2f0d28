"""What a model may be given, and what is said about the rest."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import InputError
from deploy.inputs import check_inputs, load_inputs
from deploy.manifest import TensorSpec

IMAGE = (TensorSpec("image", ("batch", 8, 6, 3), "float32"),)
PAIR = (TensorSpec("u", ("batch", 4, 4, 1), "float32"), TensorSpec("v", ("batch", 4, 4, 1), "float32"))
Write = Callable[..., Path]


def images(batch: int = 2, dtype: Any = np.float32) -> Any:
    return np.ones((batch, 8, 6, 3), dtype)


def refused(path: Path, specs: tuple[TensorSpec, ...], what: str, **options: Any) -> InputError:
    with pytest.raises(InputError, match=what) as caught:
        load_inputs(path, specs, **options)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2
    return caught.value


def test_arrays_by_name_and_what_is_left_over(npz: Write) -> None:
    loaded = load_inputs(npz(v=np.full((2, 4, 4, 1), 2, np.float32), u=np.ones((2, 4, 4, 1), np.float32), y=[1]), PAIR)
    assert list(loaded.arrays) == ["u", "v"]
    assert loaded.arrays["v"].max() == 2
    assert loaded.ignored == ("y",)


@pytest.mark.parametrize("name", ["image", "arr_0", "x"])
def test_one_input_takes_the_only_array_whatever_its_name(npz: Write, name: str) -> None:
    assert load_inputs(npz(**{name: images()}), IMAGE).arrays["image"].shape == (2, 8, 6, 3)


@pytest.mark.parametrize("dtype", [np.float16, ">f4", np.float32])
def test_dtypes_that_lose_nothing(npz: Write, dtype: Any) -> None:
    array = load_inputs(npz(image=images(dtype=dtype) * 0.5), IMAGE).arrays["image"]
    assert array.dtype == np.float32
    assert array.dtype.isnative
    assert array.flags.c_contiguous
    assert (array == 0.5).all()


@pytest.mark.parametrize("dtype", [np.float64, np.uint8, np.int64, np.bool_, np.complex64, "<U3"])
def test_dtypes_that_are_refused(npz: Write, dtype: Any) -> None:
    error = refused(npz(image=images().astype(dtype)), IMAGE, "the dtype is wrong")
    assert error.expected == "float32"
    assert error.found == str(np.dtype(dtype))
    assert ("scale it" in error.fix) == (np.dtype(dtype).kind in "iub")


def test_pickled(npz: Write) -> None:
    refused(npz(image=np.array([None, {}], object)), IMAGE, "pickled")


def test_a_pickle_for_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "input.npz"
    path.write_bytes(pickle.dumps({"image": 1}))
    refused(path, IMAGE, "not a whole .npz")


def test_no_array_at_all(npz: Write) -> None:
    refused(npz(), IMAGE, "holds no array")


def test_wrong_name(npz: Write) -> None:
    error = refused(npz(u=np.ones((1, 4, 4, 1), np.float32), w=np.ones((1, 4, 4, 1), np.float32)), PAIR, "named v")
    assert error.expected == "u, v"
    assert error.found == "u, w"


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((8, 6, 3), "array[numpy.newaxis]"),
        ((1, 2, 8, 6, 3), "array[0]"),
        ((2, 3, 8, 6), "numpy.moveaxis(array, 1, 3)"),
        ((2, 8, 6, 4), "(batch, 8, 6, 3)"),
        ((144,), "(batch, 8, 6, 3)"),
    ],
)
def test_wrong_rank_and_size_with_advice(npz: Write, shape: tuple[int, ...], advice: str) -> None:
    error = refused(npz(image=np.ones(shape, np.float32)), IMAGE, "rank|wrong size")
    assert error.expected == "(batch, 8, 6, 3) float32"
    assert error.found == str(shape)
    assert advice in error.fix


def test_the_advice_is_right() -> None:
    """Doing what the error says gives an array that is accepted."""
    given_ = np.arange(2 * 8 * 6 * 3, dtype=np.float32).reshape(2, 3, 8, 6)
    np.testing.assert_array_equal(
        check_inputs({"image": np.moveaxis(given_, 1, 3)}, IMAGE)["image"], given_.transpose(0, 2, 3, 1)
    )


def test_missing_channel_axis(npz: Write) -> None:
    error = refused(npz(u=np.ones((2, 4, 4), np.float32), v=np.ones((2, 4, 4, 1), np.float32)), PAIR, "rank 3")
    assert "array[..., numpy.newaxis]" in error.fix


def test_empty_batch(npz: Write) -> None:
    refused(npz(image=images(0)), IMAGE, "the batch is empty")


def test_batches_that_differ(npz: Write) -> None:
    arrays = {"u": np.ones((2, 4, 4, 1), np.float32), "v": np.ones((3, 4, 4, 1), np.float32)}
    refused(npz(**arrays), PAIR, "the batch differs between inputs")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(npz: Write, value: float) -> None:
    array = images()
    array[1, 2, 3, 0] = value
    error = refused(npz(image=array), IMAGE, "1 of 288 values are NaN or infinite")
    assert error.found == f"{value} at index (1, 2, 3, 0)"


def test_too_large_is_refused_before_it_is_expanded(npz: Write, tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    np.savez_compressed(path, image=np.zeros((20_000, 8, 6, 3), np.float32))
    error = refused(path, IMAGE, "too large", limit=1 << 20)
    assert error.found == "10 MiB"


def test_wrong_shape_is_refused_before_it_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.npz"
    np.savez_compressed(path, image=np.zeros((35_000_000,), np.float32))
    assert path.stat().st_size < 200_000
    monkeypatch.setattr("deploy.npz.NpzArchive.read", lambda *_: pytest.fail("it was expanded"))
    refused(path, IMAGE, "rank 1")


def test_mapping_with_unknown_and_missing_names() -> None:
    with pytest.raises(InputError, match="names are not those") as caught:
        check_inputs({"u": np.ones((1, 4, 4, 1), np.float32), "x": 1}, PAIR)
    assert caught.value.expected == "u, v"
    assert caught.value.found == "u, x"


@pytest.mark.parametrize(
    ("size", "what", "advice"),
    [
        (9, "beyond", "split it into batches of at most 8, or build with --max-batch 9"),
        (1, "below", "give at least 2 samples at a time, or build with --min-batch 1"),
    ],
)
def test_a_batch_outside_the_profile(npz: Write, size: int, what: str, advice: str) -> None:
    with pytest.raises(InputError, match=f"the batch is {what} the bundle's optimization profile") as caught:
        check_inputs({"image": images(size)}, IMAGE, batch=(2, 8))
    error = caught.value
    assert (error.where, error.expected, error.found) == ("inputs: image", "2 to 8 samples", str(size))
    assert error.fix == advice
    assert refused(npz(image=images(size)), IMAGE, "optimization profile", batch=(2, 8)).fix == advice
    for accepted in ((2, 9), (1, 8), None):
        if accepted is None or accepted[0] <= size <= accepted[1]:
            assert len(check_inputs({"image": images(size)}, IMAGE, batch=accepted)["image"]) == size


SHAPES = st.lists(st.integers(0, 9), max_size=5) | st.builds(lambda batch: [batch, 8, 6, 3], st.integers(0, 4))


@given(SHAPES, st.sampled_from(["f4", "f8", "i4", "u1", "?", "U1", "O", "M8[s]"]))
def test_any_shape_and_dtype_is_taken_whole_or_refused_clearly(shape: list[int], dtype: str) -> None:
    array = np.zeros(shape, dtype)
    if dtype == "f4" and len(shape) == 4 and shape[1:] == [8, 6, 3] and shape[0] > 0:
        assert check_inputs({"image": array}, IMAGE)["image"].shape == array.shape
        return
    with pytest.raises(InputError) as caught:
        check_inputs({"image": array}, IMAGE)
    assert caught.value.where == "inputs: image"
