"""Archives nobody can trust: damaged, hostile, or simply of another kind."""

from __future__ import annotations

import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploy.errors import InputError
from deploy.npz import NpzArchive, write_npz


def read_all(source: Path | bytes) -> dict[str, Any]:
    with NpzArchive(source, "test.npz") as archive:
        return {name: archive.read(name) for name in archive.entries}


def archive_of(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array))
    return stream.getvalue()


WHOLE = archive_of({"x.npy": npy(np.arange(24, dtype=np.float32).reshape(2, 3, 4)), "y.npy": npy(np.zeros((1000,)))})


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.int64, np.bool_, ">f4"]), hnp.array_shapes(min_side=0)
    ),
    st.booleans(),
)
@settings(max_examples=60)
def test_reads_what_numpy_wrote(array: Any, fortran: bool) -> None:
    stream = io.BytesIO()
    np.savez_compressed(stream, x=np.asfortranarray(array) if fortran else array)
    result = read_all(stream.getvalue())["x"]
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_numpy_reads_what_we_wrote(tmp_path: Path) -> None:
    arrays = {"input/a": np.arange(3), "file": np.ones((2, 2), np.float16), "layer/x/y": np.zeros((0, 3))}
    write_npz(tmp_path / "a.npz", arrays)
    write_npz(tmp_path / "b.npz", arrays)
    with np.load(tmp_path / "a.npz") as loaded:
        assert set(loaded.files) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=100)
def test_a_truncated_archive_is_an_input_error(length: int) -> None:
    with pytest.raises(InputError):
        read_all(WHOLE[:length])


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=300)
def test_changed_bytes_never_raise_anything_else(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for position, value in changes:
        data[position] = value
    with contextlib.suppress(InputError):  # anything else fails the test; a change may also do no harm
        read_all(bytes(data))


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_any_bytes_as_a_member_never_raise_anything_else(data: bytes) -> None:
    with pytest.raises(InputError):
        read_all(archive_of({"x.npy": data}))


@given(st.binary(max_size=120))
@settings(max_examples=100)
def test_any_text_as_a_header_never_raises_anything_else(text: bytes) -> None:
    header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with pytest.raises(InputError):
        read_all(archive_of({"x.npy": header}))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "an empty file"),
        (npy(np.zeros(3)), "one array as .npy"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x80\x04\x95", "a Python pickle, which is never opened"),
        (b"1,2,3\n", "something else"),
        (WHOLE[:-30], "a truncated or damaged .npz"),
    ],
)
def test_other_files_are_named(data: bytes, found: str) -> None:
    with pytest.raises(InputError) as caught:
        read_all(data)
    assert caught.value.found == found
    assert caught.value.fix


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_all(path)


def test_pickled_array_is_never_opened() -> None:
    stream = io.BytesIO()
    np.savez(stream, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match="pickled Python objects"):
        read_all(stream.getvalue())


def test_members_that_are_no_arrays() -> None:
    with pytest.raises(InputError, match="is no array"):
        read_all(archive_of({"readme.txt": b"hello"}))


def test_headers_are_read_without_expanding_anything() -> None:
    """One gigabyte of zeros in a megabyte: its header is known, and its data never touched."""
    count = 1 << 28
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (count,)})
        block = bytes(1 << 22)
        for _ in range(count * 4 // len(block)):
            member.write(block)
    with NpzArchive(stream.getvalue(), "bomb.npz") as archive:
        assert archive.entries["x"].bytes == count * 4


def test_a_header_that_claims_gigabytes_is_not_read() -> None:
    member = b"\x93NUMPY\x02\x00" + (1 << 31).to_bytes(4, "little") + bytes(1 << 20)
    with pytest.raises(InputError, match="a header of 2147483648 bytes"):
        read_all(archive_of({"x.npy": member}))


def test_a_shape_that_its_data_does_not_fill() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 60,)})
    with pytest.raises(InputError, match="its header does not fit its size"):
        read_all(archive_of({"x.npy": stream.getvalue() + bytes(16)}))
