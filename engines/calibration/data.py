"""Calibration samples as a stream of checked batches: from .npz files, arrays by name, or an iterable of such."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from deploy.errors import InputError
from deploy.files import sha256
from deploy.inputs import check_array, check_finite, match_names
from deploy.manifest import TensorSpec
from deploy.npz import Array, Entry, NpzArchive

Batch = dict[str, Array]


def batches(source: object, inputs: tuple[TensorSpec, ...], size: int, skip: int = 0) -> Iterator[Batch]:
    """Yields batches {input name: (n, …) array}, n ≤ ``size``, in the inputs' dtypes; no more than one is in memory.

    ``skip``: so many samples are passed over first, of files without a look at more than their headers where whole ones
    are. What then comes are the batches that would have come, if so many samples make up whole ones.

    ``source``: path of an .npz (arrays by input name, samples along the first axis) or of a folder of such, which are
    taken in the order of their names; a mapping of such arrays, an array where the model has a single input, or an
    iterable of mappings, arrays or paths of that kind. Raises InputError for a
    missing or unreadable file, a wrong name, rank, size or dtype, NaN or infinity, and where there is no sample at all.
    """
    count = skip
    for batch in _blocks(source, inputs, size, skip):
        length = len(batch[inputs[0].name])
        for spec in inputs:
            check_finite(spec.name, batch[spec.name], f"{describe(source)}, samples {count} to {count + length - 1}")
        count += length
        yield {spec.name: np.ascontiguousarray(batch[spec.name], np.dtype(spec.dtype)) for spec in inputs}
    if not count:
        raise InputError("there is no calibration sample", where=describe(source), fix="give some hundred real samples")


def survey(source: object, inputs: tuple[TensorSpec, ...]) -> int | None:
    """How many samples there are, after checking each as `batches` does; None for a stream, which is read but once."""
    if not isinstance(source, str | Path | Mapping | np.ndarray | list | tuple):
        return None
    return sum(len(batch[inputs[0].name]) for batch in batches(source, inputs, 32))


def filled(batch: Batch, fixed: int | None) -> Batch:
    """A batch too small for a graph with a fixed batch, filled up with its last sample: no range changes by that."""
    if fixed is None:
        return batch
    return {name: np.concatenate([a, np.repeat(a[-1:], fixed - len(a), axis=0)]) for name, a in batch.items()}


@dataclass(frozen=True)
class Widened:
    """Samples in wider dtypes: ``given`` is how the source has them (images in bytes), ``wanted`` how they are read."""

    source: object
    given: tuple[TensorSpec, ...]
    wanted: tuple[TensorSpec, ...]

    def __iter__(self) -> Iterator[Batch]:
        for batch in batches(self.source, self.given, 32):
            yield {spec.name: batch[spec.name].astype(spec.dtype) for spec in self.wanted}


def describe(source: object) -> str:
    """What to call a source in messages: the file's name, or its type."""
    if isinstance(source, Widened):
        return describe(source.source)
    return str(source) if isinstance(source, str | Path) else f"calibration data ({type(source).__name__})"


def provenance(source: object) -> dict[str, str]:
    """Where the samples come from: file name and SHA-256 of a file or folder, else the type."""
    if isinstance(source, Widened):
        return provenance(source.source)
    if not isinstance(source, str | Path):
        return {"source": type(source).__name__}
    path = Path(source)
    if not path.is_dir():
        return {"source": path.name, "sha256": sha256(path)}
    digest = hashlib.sha256("".join(f"{shard.name} {sha256(shard)}\n" for shard in shards(path)).encode())
    return {"source": path.name, "sha256": digest.hexdigest()}


def shards(path: Path) -> tuple[Path, ...]:
    """The .npz files of a folder, by name; a file is its own only one. Raises InputError for a folder without."""
    if not path.is_dir():
        return (path,)
    found = tuple(sorted(path.glob("*.npz")))
    if not found:
        raise InputError(
            "holds no .npz file", where=str(path), expected="samples in *.npz", fix="name the folder they are in"
        )
    return found


@dataclass(frozen=True)
class _Part:
    """A file or a mapping of arrays: how many samples it has, and its batches from sample ``start`` on."""

    samples: int
    blocks: Callable[[int], Iterator[Batch]]


def _blocks(source: object, inputs: tuple[TensorSpec, ...], size: int, skip: int) -> Iterator[Batch]:
    for part in _parts(source, inputs, size):
        start = min(skip, part.samples)
        skip -= start
        if start < part.samples:
            yield from part.blocks(start)


def _parts(source: object, inputs: tuple[TensorSpec, ...], size: int) -> Iterator[_Part]:
    if isinstance(source, str | Path):
        for shard in shards(Path(source)):
            yield _npz_part(shard, inputs, size)
    elif isinstance(source, Mapping | np.ndarray):
        yield _array_part(source, inputs, size)
    elif isinstance(source, Iterable):
        for item in source:
            if isinstance(item, str | Path):
                yield from _parts(item, inputs, size)
            else:
                yield _array_part(item, inputs, size)
    else:
        raise InputError(
            "calibration data of a kind that cannot be read",
            where="calibration",
            expected="an .npz path, a mapping of arrays or an iterable of mappings",
            found=type(source).__name__,
            fix="save the samples with numpy.savez(path, name=array) and give that file",
        )


def _array_part(item: object, inputs: tuple[TensorSpec, ...], size: int) -> _Part:
    """One mapping of arrays."""
    where = "calibration data"
    if not isinstance(item, Mapping):
        item = {inputs[0].name: item} if len(inputs) == 1 else {}
    given = {str(name): np.asarray(array) for name, array in item.items()}
    names = match_names(list(given), inputs, where)
    arrays = {spec.name: given[names[spec.name]] for spec in inputs}
    sizes: dict[str, int] = {}
    for spec in inputs:
        check_array(_many(spec), arrays[spec.name].shape, arrays[spec.name].dtype, sizes, where)
    length = len(arrays[inputs[0].name])

    def blocks(first: int) -> Iterator[Batch]:
        for start in range(first, length, size):
            yield {name: array[start : start + size] for name, array in arrays.items()}

    return _Part(length, blocks)


def _npz_part(path: Path, inputs: tuple[TensorSpec, ...], size: int) -> _Part:
    """Every array of an .npz, each expanded as a stream: a large file is never in memory whole."""
    with NpzArchive(path) as archive:
        names = match_names(list(archive.entries), inputs, str(path))
        entries = {spec.name: archive.entries[names[spec.name]] for spec in inputs}
    sizes: dict[str, int] = {}
    for spec in inputs:
        check_array(_many(spec), entries[spec.name].shape, entries[spec.name].dtype, sizes, str(path))
    length = entries[inputs[0].name].shape[0]
    return _Part(length, lambda first: _npz_blocks(path, entries, length, size, first))


def _npz_blocks(path: Path, entries: Mapping[str, Entry], length: int, size: int, first: int) -> Iterator[Batch]:
    with zipfile.ZipFile(path) as members, contextlib.ExitStack() as stack:
        streams = {name: stack.enter_context(members.open(entry.member)) for name, entry in entries.items()}
        try:
            for name, entry in entries.items():
                streams[name].read(entry.offset)
            whole = {name: _read(streams[name], e, e.shape[0]) for name, e in entries.items() if e.fortran}
            for name, entry in entries.items():
                if name not in whole:
                    streams[name].seek(first * math.prod(entry.shape[1:]) * entry.dtype.itemsize, io.SEEK_CUR)
            for start in range(first, length, size):
                count = min(size, length - start)
                yield {
                    name: whole[name][start : start + count] if name in whole else _read(streams[name], entry, count)
                    for name, entry in entries.items()
                }
        except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
            raise InputError(f"is damaged ({error})", where=str(path), fix="copy or write the file again") from error


def _read(stream: IO[bytes], entry: Entry, count: int) -> Array:
    """The next ``count`` samples of an array; all of them where it is in Fortran order, which has no such pieces."""
    data = stream.read(count * math.prod(entry.shape[1:]) * entry.dtype.itemsize)
    return np.frombuffer(data, entry.dtype).reshape((count, *entry.shape[1:]), order="F" if entry.fortran else "C")


def _many(spec: TensorSpec) -> TensorSpec:
    """The input with an open batch: calibration takes any number of samples, also of a model with a fixed batch."""
    return TensorSpec(spec.name, ("samples", *spec.shape[1:]), spec.dtype)
