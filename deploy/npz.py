"""Reads and writes `.npz` archives without trusting them: headers first, no pickles, no more bytes than agreed."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from deploy.errors import InputError
from deploy.files import replacing

Array = np.ndarray[Any, Any]

_MAX_HEADER = 10_000
_BEGINNINGS = (
    (b"\x93NUMPY", "one array as .npy", "save it with numpy.savez(path, name=array)"),
    (b"PK", "a truncated or damaged .npz", "copy or write the file again"),
    (b"\x89HDF", "an HDF5 file", "save the inputs with numpy.savez(path, name=array)"),
    (b"\x80", "a Python pickle, which is never opened", "save the inputs with numpy.savez(path, name=array)"),
)


@dataclass(frozen=True)
class Entry:
    """One array of an archive, as its header announces it. ``bytes`` is the size of its data when expanded."""

    name: str
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    offset: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class NpzArchive:
    """An open `.npz`; ``entries`` is known after reading at most 10 kB a member. A context manager.

    ``source`` is a path or the bytes of a file, ``where`` the name used in errors. Raises InputError where the file is
    missing, unreadable, no zip archive, truncated, or holds anything but plain arrays (a pickled array, say).
    """

    def __init__(self, source: Path | str | bytes, where: str = "") -> None:
        self.where = where or str(source) or "''"
        try:
            stream: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")  # noqa: SIM115
        except OSError as error:
            fix = "give the path of an .npz file that you may read"
            raise InputError(f"cannot be read ({error.strerror})", where=self.where, fix=fix) from error
        self._stream = stream
        try:
            self.entries = self._read_entries()
        except BaseException:
            stream.close()
            raise

    def __enter__(self) -> NpzArchive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zip.close()
        self._stream.close()

    def read(self, name: str) -> Array:
        """The array of that name. Raises InputError where its data is truncated or damaged."""
        entry = self.entries[name]
        try:
            with self._zip.open(entry.member) as stream:
                stream.read(entry.offset)
                data = stream.read(entry.bytes)
                trailing = stream.read(1)  # at the end of a member, zipfile checks its CRC
        except Exception as error:
            raise self._damaged(f"array {name!r} cannot be expanded", error) from error
        if len(data) != entry.bytes or trailing:
            found = f"{len(data)} bytes" if len(data) != entry.bytes else f"more than {entry.bytes} bytes"
            raise InputError(
                f"array {name!r} is damaged",
                where=self.where,
                expected=f"{entry.bytes} bytes for shape {entry.shape} {entry.dtype}",
                found=found,
                fix="copy or write the file again",
            )
        return np.frombuffer(data, entry.dtype).reshape(entry.shape, order="F" if entry.fortran else "C")

    def _read_entries(self) -> dict[str, Entry]:
        try:
            self._zip = zipfile.ZipFile(self._stream)
        except Exception as error:  # a damaged directory makes zipfile raise many things
            raise self._not_an_archive() from error
        entries: dict[str, Entry] = {}
        for info in self._zip.infolist():
            name = info.filename.removesuffix(".npy")
            if name == info.filename or name in entries:
                problem = "appears twice" if name in entries else "is no array"
                raise InputError(
                    f"{info.filename!r} {problem}",
                    where=self.where,
                    expected="an .npz of arrays, each name once",
                    fix="save the inputs with numpy.savez(path, name=array)",
                )
            entries[name] = self._read_header(name, info)
        return entries

    def _read_header(self, name: str, info: zipfile.ZipInfo) -> Entry:
        try:
            with self._zip.open(info) as stream:
                shape, fortran, dtype, offset = _parse_header(stream)
        except Exception as error:
            raise self._damaged(f"the header of array {name!r} cannot be read", error) from error
        if dtype.hasobject:
            raise InputError(
                f"array {name!r} holds pickled Python objects, which are never loaded",
                where=self.where,
                expected="numbers",
                found=f"dtype {dtype}",
                fix="convert it to a numeric array (array.astype('float32')) and save it again",
            )
        entry = Entry(name, info.filename, shape, dtype, fortran, offset)
        if entry.bytes != info.file_size - offset:
            raise InputError(
                f"array {name!r} is damaged: its header does not fit its size",
                where=self.where,
                expected=f"{entry.bytes} bytes for shape {shape} {dtype}",
                found=f"{info.file_size - offset} bytes",
                fix="copy or write the file again",
            )
        return entry

    def _not_an_archive(self) -> InputError:
        self._stream.seek(0)
        beginning = self._stream.read(8)
        found, fix = "something else", "save the inputs with numpy.savez(path, name=array)"
        if not beginning:
            found = "an empty file"
        for magic, kind, advice in _BEGINNINGS:
            if beginning.startswith(magic):
                found, fix = kind, advice
        return InputError("is not a whole .npz archive", where=self.where, expected="an .npz", found=found, fix=fix)

    def _damaged(self, what: str, error: Exception) -> InputError:
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        return InputError(f"{what} ({reason})", where=self.where, fix="copy or write the file again")


def _parse_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype and length of an `.npy` header (numpy's NEP 1); raises ValueError and others."""
    start = stream.read(8)
    version = tuple(start[6:8])
    if start[:6] != b"\x93NUMPY" or version not in ((1, 0), (2, 0)):
        raise ValueError("no .npy header of version 1 or 2")
    length_field = stream.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(length_field, "little")
    if length > _MAX_HEADER:  # numpy would read all of it before it refuses
        raise ValueError(f"a header of {length} bytes")
    header = io.BytesIO(length_field + stream.read(length))
    parse = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = parse(header)
    if any(size < 0 for size in shape):
        raise ValueError(f"shape {shape}")
    return tuple(int(size) for size in shape), bool(fortran), dtype, len(start) + len(length_field) + length


def write_npz(path: Path | str, arrays: Mapping[str, Array]) -> None:
    """Writes arrays under their names (any text, slashes too) as a compressed `.npz`, whole or not at all.

    The same arrays give the same bytes. Raises KerasrtError where ``path`` cannot be written.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
