"""Scales of a TensorRT calibration cache, brought to the values of an FP32 graph.

1. A name in the cache is a value of the graph: exactly, else without a ``:0`` at its end, as TensorFlow names tensors.
   The values of a converted Keras model have the paths of its layers; those that have no scale yet are looked for in
   the paths of a TensorFlow graph (`engines.calibration.tensorflow_names`).
2. A scale holds behind what only selects or moves elements, and behind a Concat of equal scales: a Transpose that the
   converter put behind an input is in no cache.
3. A layer whose input then has no scale stays FP16. The limits are ±amax: a cache says nothing of the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from deploy.errors import InputError
from engines.calibration.choice import Choice
from engines.calibration.ranges import Ranges
from engines.calibration.tensorflow_names import by_layer
from engines.calibration.tensorrt_cache import Cache
from engines.graphs import compute_nodes, gate_nodes, is_float, name_of, weights_of
from engines.recipe import INT8_MAXIMUM
from engines.recipe.trained import MOVES, Trained, carry
from engines.recipe.validation import unquantizable

_NAMED = 5
"""Most names in a message."""


@dataclass(frozen=True)
class Cached:
    """``scales`` of the graph's values; ``missing``: inputs of INT8 layers that have none; ``unknown``: names in the
    cache that are no values of the graph; ``wanted``: how many inputs INT8 layers have. ``by_layer``: values that are
    known by the paths of layers, with the name in the cache; ``several``: values that would have more than one.
    """

    cache: Cache
    scales: Trained
    wanted: int
    missing: tuple[str, ...]
    unknown: tuple[str, ...]
    by_layer: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]

    def ranges(self) -> Ranges:
        """As calibration would have seen them."""
        return Ranges(dict(self.scales.minimum), dict(self.scales.maximum), 0, self.cache.provenance())

    def choice(self) -> Choice:
        """The scales, for `engines.recipe.rules`."""
        amax = dict(self.scales.maximum)
        return Choice(amax, dict.fromkeys(amax, "tensorrt"), "tensorrt", self.summary())

    def summary(self) -> str:
        """What matched, with numbers and names."""
        found = f"{self.wanted - len(self.missing)} of {self.wanted} inputs of INT8 layers are in the calibration cache"
        if self.by_layer:
            pairs = tuple(f"{value} = {name}" for value, name in self.by_layer.items())
            found += f"; {len(pairs)} names by the layers in their paths: {_some(pairs)}"
        if self.several:
            pairs = tuple(f"{value} ({', '.join(names)})" for value, names in self.several.items())
            found += f"; ambiguous: {_some(pairs)}"
        missing = f"; not {_some(self.missing)}" if self.missing else ""
        unknown = f"; {len(self.unknown)} of its names are not in the graph: {_some(self.unknown)}"
        return found + missing + (unknown if self.unknown else "")


def cached(model: ir.Model, cache: Cache) -> Cached:
    """The scales of a cache for a graph. Raises InputError where no INT8 layer could be one by them."""
    every = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    values = {name_of(value): value for value in every if is_float(value)}
    names = {name: name if name in values else name.removesuffix(":0") for name in cache.scales}
    scales = Trained()
    for name in sorted(names, key=lambda name: names[name] != name):  # exact ones first
        if names[name] in values:
            _set(scales, names[name], cache.scales[name])
    rest = tuple(name for name in cache.scales if names[name] not in values)
    makers = {name: _maker(value) for name, value in values.items() if name not in scales.step}
    named = by_layer(rest, makers)
    one = {value: found[0] for value, found in named.items() if len({cache.scales[name] for name in found}) == 1}
    for value, name in one.items():
        _set(scales, value, cache.scales[name])
    carry(model, scales, MOVES)
    gates = gate_nodes(model)
    nodes = (node for node in compute_nodes(model) if node.name not in gates and not unquantizable(node))
    wanted = list(dict.fromkeys(name_of(n.inputs[0]) for n in nodes if n.inputs[0] is not None and weights_of(n)))
    missing = tuple(name for name in wanted if name not in scales.step)
    known = {name for value in one for name in named[value]}
    unknown = tuple(name for name in rest if name not in known)
    several = {value: found for value, found in named.items() if value not in one}
    if wanted and len(missing) == len(wanted):
        raise InputError(
            "is the calibration cache of another model: no input of an INT8 layer is in it",
            where=str(cache.path),
            expected=_some(tuple(wanted)),
            found=_some(tuple(cache.scales)),
            fix="name the tensors in the cache as the graph does (kerasrt recipe shows its layers), or give samples "
            "(--calibration NPZ)",
        )
    return Cached(cache, scales, len(wanted), missing, unknown, one, several)


def _maker(value: ir.Value) -> str:
    producer = value.producer()
    return "" if producer is None else producer.op_type


def together(ranges: Ranges, seen: Ranges | None) -> Ranges:
    """The ranges of a cache, widened by what samples showed."""
    if seen is None:
        return ranges
    low = {n: min(v, ranges.minimum.get(n, v)) for n, v in seen.minimum.items()}
    high = {n: max(v, ranges.maximum.get(n, v)) for n, v in seen.maximum.items()}
    return Ranges(ranges.minimum | low, ranges.maximum | high, seen.samples, ranges.source)


def _set(scales: Trained, value: str, step: float) -> None:
    amax = INT8_MAXIMUM * step
    for table, number in ((scales.minimum, -amax), (scales.maximum, amax), (scales.step, step)):
        table.setdefault(value, number)


def _some(names: tuple[str, ...]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
