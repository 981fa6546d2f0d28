"""The samples that a budget is searched and checked on, with their labels where there are any.

Labels are integers, one class a sample (1 or 0 for a sigmoid), in an array beside the inputs, in the same file or
mapping: named ``labels`` where one output has classes, or as the output they belong to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.errors import InputError
from deploy.manifest import TensorSpec
from deploy.npz import Array, NpzArchive
from engines.calibration.collect import REPLAYED_BYTES
from engines.calibration.data import Widened, batches, describe, shards
from engines.calibration.ranges import Ranges, Reservoir
from engines.graphs import elements
from engines.sessions import input_specs, output_specs

LABELS = "labels"
SAMPLES = 512
"""Most samples that are looked at; half of them for the search, half for the check."""
FEWEST = 4


@dataclass(frozen=True)
class Evaluation:
    """``inputs``: arrays by input name, ``labels``: by output name; samples along the first axis of each."""

    inputs: dict[str, Array]
    labels: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.inputs.values())))

    def part(self, chosen: slice) -> dict[str, Array]:
        """The inputs of some of them."""
        return {name: array[chosen] for name, array in self.inputs.items()}


def evaluation(model: ir.Model, source: object, ranges: Ranges, most: int = SAMPLES) -> Evaluation:
    """At most ``most`` samples of a calibration source, chosen at random but always the same.

    Of a stream, which can be read but once, those that calibration kept (``ranges.replay``), without labels. Raises
    InputError for labels that are none, and for too few samples to hold any out.
    """
    specs = input_specs(model)
    given = specs
    if isinstance(source, Widened):  # its labels lie beside the inputs as they were given
        given, source = source.given, source.source
    names = () if source is None else _label_specs(model, source, specs)
    if isinstance(source, str | Path | Mapping | np.ndarray | list | tuple):
        per_sample = 4 * sum(elements(value) for value in model.graph.inputs)
        reservoir = Reservoir(max(FEWEST, min(most, REPLAYED_BYTES // max(per_sample, 1))))
        for batch in batches(source, (*given, *names), 32):
            reservoir.update(batch)
        arrays = reservoir.samples()
    else:
        arrays = {name: array[:most] for name, array in ranges.replay.items()}
    inputs = {spec.name: arrays[spec.name].astype(spec.dtype, copy=False) for spec in specs}
    labels = {spec.name: _classes(arrays[spec.name], spec.name, source) for spec in names}
    found = Evaluation(inputs, labels)
    if found.count < FEWEST:
        raise InputError(
            "too few samples to search within a budget: half of them are held out",
            where=describe(source),
            expected=f"{FEWEST} or more, better some hundred",
            found=str(found.count),
            fix="give some hundred real samples",
        )
    return found


def _label_specs(model: ir.Model, source: object, specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """What the source has beside the inputs that is named ``labels`` or as an output."""
    inputs = {spec.name for spec in specs}
    wanted = {LABELS, *(spec.name for spec in output_specs(model))} - inputs
    return tuple(
        TensorSpec(name, ("samples", *shape[1:]), str(dtype))
        for name, (shape, dtype) in _headers(source).items()
        if name in wanted and shape
    )


def _headers(source: object) -> dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]]:
    """Shape and dtype of each named array of the first item."""
    if isinstance(source, list | tuple) and source:
        return _headers(source[0])
    if isinstance(source, Mapping):
        arrays = {str(name): np.asarray(array) for name, array in source.items()}
        return {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if isinstance(source, str | Path):
        with NpzArchive(shards(Path(source))[0]) as archive:
            return {name: (entry.shape, entry.dtype) for name, entry in archive.entries.items()}
    return {}


def _classes(array: Array, name: str, source: object) -> npt.NDArray[np.int64]:
    if array.dtype.kind not in "iub" or (array.size and int(array.min()) < 0):
        raise InputError(
            "labels are not class numbers",
            where=f"{describe(source)}: {name}",
            expected="integers from 0 on, one a sample",
            found=f"{array.dtype} {array.shape}",
            fix="save numpy.argmax of one-hot labels, or leave the array out",
        )
    return array.astype(np.int64)


def assign(
    labels: Mapping[str, npt.NDArray[np.int64]], classes: Mapping[str, tuple[int, int]], where: str
) -> dict[str, npt.NDArray[np.int64]]:
    """Labels by output. ``classes``: per output with classes the number of decisions a sample and of classes.

    Raises InputError where it is open which output ``labels`` are of, or they are of another shape or too large.
    """
    found = {name: array for name, array in labels.items() if name in classes}
    if LABELS in labels and LABELS not in found:
        if len(classes) != 1:
            raise InputError(
                "labels belong to one output",
                where=where,
                expected="an array named as the output with classes that they are of",
                found=f"outputs with classes: {', '.join(classes) or 'none'}",
                fix="rename the array labels, or leave it out",
            )
        found[next(iter(classes))] = labels[LABELS]
    for name, array in found.items():
        decisions, count = classes[name]
        if array.size != len(array) * decisions or (array.size and int(array.max()) >= count):
            raise InputError(
                f"labels are not classes of the output {name}",
                where=where,
                expected=f"{decisions} a sample, from 0 to {count - 1}",
                found=f"{math.prod(array.shape[1:])} a sample, up to {int(array.max(initial=0))}",
                fix="save class numbers as the model's output counts them",
            )
    return found
