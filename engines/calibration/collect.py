"""Runs a graph in FP32 on calibration samples and takes in what every value amounts to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.calibration.data import batches, filled, provenance
from engines.calibration.ranges import Ranges, Seen
from engines.graphs import compute_nodes, is_float, load, name_of
from engines.ptq.channels import Channels
from engines.sessions import input_specs, session

MEMORY = 256 << 20
"""Bytes of intermediate values that one batch may take."""
BATCH = 32
REPLAYED = 256
"""Samples that are kept for a replay: to compare estimators, and to fit repairs to;"""
REPLAYED_BYTES = 64 << 20
"""what they may take."""


Progress = Callable[[int], None]
"""Called with the number of samples of each batch."""


def collect(
    source: object,
    samples: object,
    progress: Progress | None = None,
    seen: Seen | None = None,
    keep: Callable[[Seen], None] | None = None,
    repairs: bool = False,
) -> Ranges:
    """The range of every float value of an FP32 graph (inputs and outputs among them) over all samples.

    Histograms of what products read, and some samples for a replay, are kept as well; for ``repairs`` (`engines.ptq`)
    more samples, and the range of each channel that can be scaled.
    ``source`` as `engines.graphs.load` takes it; ``samples`` as `engines.calibration.data.batches` does. ``seen``: a
    pass over the same samples that was begun before, which goes on; ``keep`` is given what was seen after each batch.
    One pass, in bounded memory. Raises InputError where samples are unusable or a value is not finite.
    """
    model = load(source)
    seen = begin(model, repairs) if seen is None else seen
    if progress is not None and seen.samples:
        progress(seen.samples)
    for inputs, values, count in replay(model, samples, seen.samples):
        seen.update(inputs, values, count)
        if keep is not None:
            keep(seen)
        if progress is not None:
            progress(count)
    return seen.ranges(provenance(samples))


def begin(model: ir.Model, repairs: bool = False) -> Seen:
    """A pass over samples of the model that has seen none yet."""
    sources = (node.inputs[0] for node in compute_nodes(model))
    per_sample = 4 * sum(_elements(value) for value in model.graph.inputs)
    counted = {name_of(value) for value in sources if value is not None}
    axes = {name: axis for name, (axis, _) in Channels(model).values.items()} if repairs else {}
    return Seen(counted, axes, max(2, min(REPLAYED, REPLAYED_BYTES // max(per_sample, 1))))


def replay(
    model: ir.Model, samples: object, skip: int = 0
) -> Iterator[tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[Any]], int]]:
    """Yields, batch by batch, the model's inputs, every float value by its name, and the number of samples.

    ``skip``: so many samples, which make up whole batches, are passed over.
    """
    specs = input_specs(model)
    fixed = next((spec.shape[0] for spec in specs if isinstance(spec.shape[0], int)), None)
    run, names, fitting = _exposed(model)
    for batch in batches(samples, specs, fixed or fitting, skip):
        count = len(next(iter(batch.values())))
        values = dict(zip(names, run(filled(batch, fixed)), strict=True))
        floats = {spec.name: batch[spec.name] for spec in specs if np.dtype(spec.dtype).kind == "f"}
        yield batch, floats | values, count


Run = Callable[[dict[str, npt.NDArray[Any]]], list[npt.NDArray[Any]]]


def _exposed(model: ir.Model) -> tuple[Run, list[str], int]:
    """A session that returns every float value of the main graph, their names, and the batch that fits `MEMORY`."""
    exposed = load(model)
    values = [value for node in exposed.graph for value in node.outputs if is_float(value) and value.name]
    outputs = {name_of(value) for value in exposed.graph.outputs}
    exposed.graph.outputs.extend(value for value in values if name_of(value) not in outputs)
    names = [name_of(value) for value in values]
    inference = session(exposed, optimize=False)

    def run(batch: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        return [np.asarray(array) for array in inference.run(names, batch)]

    per_sample = 4 * sum(_elements(value) for value in values)
    return run, names, max(1, min(BATCH, MEMORY // max(per_sample, 1)))


def _elements(value: ir.Value) -> int:
    """Elements of a value per sample; an unknown size other than the batch counts as 1."""
    sizes = [] if value.shape is None else [size for size in value.shape if isinstance(size, int)]
    return int(np.prod(sizes, dtype=np.int64)) if sizes else 1
