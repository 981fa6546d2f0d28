"""The real inputs of a build, held against the model before anything slow begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploy.errors import InputError
from deploy.inputs import check_finite, check_inputs, load_inputs
from deploy.manifest import TensorSpec
from deploy.npz import Array, NpzArchive
from engines.calibration.data import batches, filled, shards, survey
from engines.calibration.ranges import Ranges

SAMPLES = 8
"""Most samples in the golden pairs."""
FEW = 32
"""Fewer calibration samples than this are worth a note: the ranges of INT8 come from them alone."""


@dataclass(frozen=True)
class Data:
    """``golden``: at most `SAMPLES` inputs by name, and ``origin``, where they come from; ``calibration``: the samples,
    None where there are none; ``count``: how many these are, None where only a stream knows.
    """

    golden: dict[str, Array]
    origin: str
    calibration: Any
    count: int | None


def check_headers(source: object) -> None:
    """Looks at the headers of an .npz alone, so before the model is loaded. Raises InputError for one that is missing,
    damaged, without arrays or without samples; other kinds of data are left for `read`.
    """
    if not isinstance(source, str | Path):
        return
    for shard in shards(Path(source)):
        _check_header(shard)


def _check_header(source: Path) -> None:
    with NpzArchive(source) as archive:
        entries = archive.entries.values()
    if not any(entry.shape and entry.shape[0] for entry in entries):
        raise InputError(
            "holds no sample",
            where=str(source),
            expected="an array for each input of the model, samples along its first axis",
            found=", ".join(f"{entry.name} {entry.shape}" for entry in entries) or "no array",
            fix="save real inputs with numpy.savez(path, name=array)",
        )


def read(specs: tuple[TensorSpec, ...], sample: object, calibration: object) -> Data:
    """Checks sample and calibration data against the model's inputs, and takes the golden inputs from them.

    From ``sample`` (an .npz path or arrays by name) if given, else the first calibration samples, else random ones,
    which say little of the values that the model will meet. A stream's first item is looked at and put back. Raises
    InputError as `deploy.inputs.load_inputs` and `engines.calibration.data.batches` do.
    """
    count = None if calibration is None else survey(calibration, specs)
    if sample is not None:
        whole = load_inputs(sample, specs).arrays if isinstance(sample, str | Path) else _arrays(sample, specs)
        golden = filled({name: array[: _size(specs)] for name, array in whole.items()}, fixed_batch(specs))
        return Data(golden, _name(sample, "sample"), calibration, count)
    if calibration is None:
        return Data({spec.name: _random(spec) for spec in specs}, "random", None, None)
    first = calibration
    if isinstance(calibration, Iterator):
        first = list(itertools.islice(calibration, 1))
        calibration = itertools.chain(first, calibration)
    batch = next(batches(first, specs, _size(specs)))
    return Data(filled(batch, fixed_batch(specs)), _name(calibration, "calibration data"), calibration, count)


def few(count: int | None) -> str:
    """A warning where 8 bits would rest on few calibration samples; else empty."""
    if count is None or count >= FEW:
        return ""
    return f"only {count} calibration samples: all ranges come from them alone, give {FEW} or more"


def unchanging(ranges: Ranges, specs: tuple[TensorSpec, ...]) -> str:
    """A warning where inputs never change over all calibration samples; else empty."""
    if not ranges.same:
        return ""
    if len(ranges.same) == len(specs):
        return f"all {ranges.samples} calibration samples are identical ({', '.join(ranges.same)}): give different ones"
    verb = "is" if len(ranges.same) == 1 else "are"
    known = "ranges behind it hold for that value alone" if verb == "is" else "ranges behind them hold for those alone"
    return f"{', '.join(ranges.same)} {verb} the same in all {ranges.samples} calibration samples: {known}"


def fixed_batch(specs: tuple[TensorSpec, ...]) -> int | None:
    """The batch of a model that takes no other."""
    return next((spec.shape[0] for spec in specs if isinstance(spec.shape[0], int)), None)


def _size(specs: tuple[TensorSpec, ...]) -> int:
    return fixed_batch(specs) or SAMPLES


def _arrays(sample: Any, specs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    given = sample if isinstance(sample, Mapping) else {specs[0].name: sample}
    arrays = check_inputs(given, specs, "sample")
    for name, array in arrays.items():
        check_finite(name, array, "sample")
    return arrays


def _name(source: object, otherwise: str) -> str:
    return Path(source).name if isinstance(source, str | Path) else otherwise


def _random(spec: TensorSpec) -> Array:
    random = np.random.default_rng(0)
    shape = tuple(size if isinstance(size, int) else SAMPLES for size in spec.shape)
    dtype = np.dtype(spec.dtype)
    most = 256 if dtype == np.uint8 else 2  # an image in bytes; else an index or a truth value, which any model takes
    values = random.normal(size=shape) if dtype.kind == "f" else random.integers(0, most, shape)
    return np.asarray(values, dtype)
