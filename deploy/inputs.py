"""What a model may be given: names, shapes, dtypes, values. Nothing is guessed, and every refusal says what to do.

Accepted dtypes: the input's own, in any byte order, and narrower ones of the same kind, whose values it holds exactly
(float16 for float32, int16 for int32). float64 and integers for a float input are refused even where their values would
fit: uint8 pixels given to a model that was trained on [0, 1] are the commonest silent wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import InputError
from deploy.manifest import TensorSpec
from deploy.npz import Array, NpzArchive

LIMIT = 256 << 20
"""Most bytes that the inputs in one file may expand to (256 MiB; a small .npz can claim gigabytes)."""


@dataclass(frozen=True)
class Inputs:
    """Arrays by input name, ready for the model, and the names in the file that no input has."""

    arrays: dict[str, Array]
    ignored: tuple[str, ...]


def load_inputs(
    path: Path | str, specs: Sequence[TensorSpec], batch: tuple[int, int] | None = None, limit: int = LIMIT
) -> Inputs:
    """Reads a model's inputs from an `.npz`.

    The archive's headers are held against ``specs``, and against ``batch`` (the smallest and largest that is accepted;
    None: any), before anything is expanded. An array belongs to the input of its
    name; the only array of a file belongs to the only input of a model, whatever its name. Raises InputError for a file
    that is missing, damaged or no `.npz`, a pickled array, a wrong name, rank, size or dtype, a batch that is empty or
    beyond the profile, more than ``limit`` bytes, NaN or infinity.
    """
    with NpzArchive(path) as archive:
        if not archive.entries:
            raise InputError(
                "holds no array", where=str(path), expected=_names(spec.name for spec in specs), fix=_saving(specs)
            )
        names = match_names(list(archive.entries), specs, str(path))
        sizes: dict[str, int] = {}
        for spec in specs:
            entry = archive.entries[names[spec.name]]
            check_array(spec, entry.shape, entry.dtype, sizes, str(path), batch)
        total = sum(archive.entries[name].bytes for name in names.values())
        if total > limit:
            raise InputError(
                "the inputs are too large to be expanded",
                where=str(path),
                expected=f"at most {limit >> 20} MiB",
                found=f"{total >> 20} MiB",
                fix="split the file into smaller batches",
            )
        arrays = {spec.name: _convert(archive.read(names[spec.name]), spec) for spec in specs}
        ignored = tuple(name for name in archive.entries if name not in names.values())
    for spec in specs:
        check_finite(spec.name, arrays[spec.name], str(path))
    return Inputs(arrays, ignored)


def check_inputs(
    given: Mapping[str, Any],
    specs: Sequence[TensorSpec],
    where: str = "inputs",
    batch: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """Arrays by input name, contiguous and of the model's dtypes.

    Raises InputError for names, shapes, dtypes, and a batch outside ``batch`` (smallest and largest; None: any). Values
    are not looked at: see `check_finite`.
    """
    unknown = [name for name in given if name not in {spec.name for spec in specs}]
    missing = [spec.name for spec in specs if spec.name not in given]
    if unknown or missing:
        raise InputError(
            "the names are not those of the model's inputs",
            where=where,
            expected=_names(spec.name for spec in specs),
            found=_names(given) or "nothing",
            fix="name each array as the model's input is named",
        )
    sizes: dict[str, int] = {}
    arrays: dict[str, Array] = {}
    for spec in specs:
        array = np.asarray(given[spec.name])
        check_array(spec, array.shape, array.dtype, sizes, where, batch)
        arrays[spec.name] = _convert(array, spec)
    return arrays


def match_names(found: Sequence[str], specs: Sequence[TensorSpec], where: str) -> dict[str, str]:
    """Input name to array name. Raises InputError where an input has no array."""
    if len(specs) == 1 and len(found) == 1:
        return {specs[0].name: found[0]}
    missing = [spec.name for spec in specs if spec.name not in found]
    if missing:
        raise InputError(
            f"no array is named {_names(missing)}",
            where=where,
            expected=_names(spec.name for spec in specs),
            found=_names(found),
            fix=_saving(specs),
        )
    return {spec.name: spec.name for spec in specs}


def check_array(
    spec: TensorSpec,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    sizes: dict[str, int],
    where: str,
    batch: tuple[int, int] | None = None,
) -> None:
    """Raises InputError where an array of that shape and dtype does not fit an input.

    ``sizes`` collects the sizes of named dimensions, so that all inputs of one call have the same batch. Axis 0, where
    it is named, must lie within ``batch``.
    """
    where = f"{where}: {spec.name}" if where else spec.name
    _check_dtype(spec, dtype, where)
    expected = f"{_shape_text(spec.shape)} {spec.dtype}"
    if len(shape) != len(spec.shape):
        raise InputError(
            f"an array of rank {len(shape)} for an input of rank {len(spec.shape)}",
            where=where,
            expected=expected,
            found=str(shape),
            fix=_rank_advice(spec, shape),
        )
    for axis, (size, wanted) in enumerate(zip(shape, spec.shape, strict=True)):
        if isinstance(wanted, int) and size != wanted:
            raise InputError(
                f"axis {axis} has the wrong size",
                where=where,
                expected=expected,
                found=str(shape),
                fix=_size_advice(spec, shape),
            )
        if isinstance(wanted, str):
            if size == 0:
                fix = "give at least one sample" if axis == 0 else f"give an array of shape {_shape_text(spec.shape)}"
                raise InputError(
                    f"the {wanted} is empty", where=where, expected="at least 1", found=str(shape), fix=fix
                )
            if sizes.setdefault(wanted, size) != size:
                raise InputError(
                    f"the {wanted} differs between inputs",
                    where=where,
                    expected=f"{sizes[wanted]}, as in the inputs before it",
                    found=str(size),
                    fix=f"give every input the same {wanted}",
                )
            if axis == 0 and batch is not None:
                _check_batch(size, batch, where)


def check_finite(name: str, array: Array, where: str) -> None:
    """Raises InputError where a floating-point array holds NaN or infinity; names the first such index."""
    if array.dtype.kind not in "fc":
        return
    finite = np.isfinite(array)
    if finite.all():
        return
    index = tuple(int(i) for i in np.argwhere(~finite)[0])
    raise InputError(
        f"{np.count_nonzero(~finite)} of {array.size} values are NaN or infinite",
        where=f"{where}: {name}",
        expected="finite numbers",
        found=f"{array[index]} at index {index}",
        fix="mend the data where it is made; numpy.nan_to_num hides the cause",
    )


def _check_batch(size: int, batch: tuple[int, int], where: str) -> None:
    smallest, largest = batch
    if smallest <= size <= largest:
        return
    fix = f"give at least {smallest} samples at a time, or build with --min-batch {size}"
    if size > largest:
        fix = f"split it into batches of at most {largest}, or build with --max-batch {size}"
    raise InputError(
        f"the batch is {'beyond' if size > largest else 'below'} the bundle's optimization profile",
        where=where,
        expected=f"{smallest} to {largest} samples",
        found=str(size),
        fix=fix,
    )


def _check_dtype(spec: TensorSpec, dtype: np.dtype[Any], where: str) -> None:
    wanted = np.dtype(spec.dtype)
    if dtype.newbyteorder("=") == wanted or (dtype.kind == wanted.kind and np.can_cast(dtype, wanted, "safe")):
        return
    fix = f"convert it: array.astype({spec.dtype!r})"
    if dtype.kind in "iub" and wanted.kind == "f":
        fix += ", then scale it as the model's training data was scaled"
    if dtype.kind not in "fciub":
        fix = "give numbers"
    raise InputError("the dtype is wrong", where=where, expected=spec.dtype, found=str(dtype), fix=fix)


def _convert(array: Array, spec: TensorSpec) -> Array:
    return np.ascontiguousarray(array, np.dtype(spec.dtype))


def _rank_advice(spec: TensorSpec, shape: tuple[int, ...]) -> str:
    if _fits(shape, spec.shape[1:]):
        return "add the batch axis: array[numpy.newaxis]"
    if spec.shape[-1:] == (1,) and _fits(shape, spec.shape[:-1]):
        return "add the channel axis: array[..., numpy.newaxis]"
    if shape[:1] == (1,) and _fits(shape[1:], spec.shape):
        return "remove the first axis: array[0]"
    return f"give an array of shape {_shape_text(spec.shape)}"


def _size_advice(spec: TensorSpec, shape: tuple[int, ...]) -> str:
    first = (shape[0], *shape[2:], shape[1]) if len(shape) > 2 else shape
    last = (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 2 else shape
    rank = len(shape)
    if _fits(first, spec.shape):
        return f"the channels come last: numpy.moveaxis(array, 1, {rank - 1})"
    if _fits(last, spec.shape):
        return f"the channels come first: numpy.moveaxis(array, {rank - 1}, 1)"
    return f"give an array of shape {_shape_text(spec.shape)}"


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...]) -> bool:
    return len(shape) == len(wanted) and all(isinstance(w, str) or s == w for s, w in zip(shape, wanted, strict=True))


def _shape_text(shape: tuple[int | str, ...]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"


def _saving(specs: Sequence[TensorSpec]) -> str:
    return "numpy.savez(path, " + ", ".join(f"{spec.name}=..." for spec in specs) + ")"


def _names(names: Iterable[str]) -> str:
    return ", ".join(names)
