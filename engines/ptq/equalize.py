"""Equalization: a channel that is larger than the others is divided by a factor, and the weights that read it take it.

A value has one scale for all its channels, so its largest channel sets the step for the rest; weights have a scale per
output channel. Where a value is read as INT8, channel c is divided by max|x_c|^a / max|w_c|^(1-a) (Xiao et al. 2022,
"SmoothQuant"; a = 0.5 equalizes ranges as Nagel et al. 2019, "Data-Free Quantization", do). A depthwise Conv has a
scale for each channel that it reads: its weights set no limit. In FP32 the outputs are the same, but for rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.errors import BuildError
from engines.apply.placement import initializer
from engines.graphs import attribute, constant, name_of, weights_of
from engines.ptq.channels import NORMALIZATIONS, Channels, Ids, is_depthwise
from engines.recipe import Equalized

FAINTEST = 1e-4
"""A channel (a weight) smaller than this part of the largest one counts as so large: its factor would explode."""

Doubles = npt.NDArray[np.float64]


def factors(
    model: ir.Model, int8: Collection[str], amax: Mapping[str, npt.NDArray[np.floating]], exponent: float
) -> tuple[Equalized, ...]:
    """Factors for all channels of INT8 layers' inputs that may have some.

    ``int8``: names of INT8 layers; ``amax``: the largest magnitude of each channel, by value; ``exponent``: a, from 0
    (weights alone decide) to 1 (activations alone). The geometric mean of the factors of tied values is 1.
    """
    found = Channels(model)
    size = len(found.root)
    largest, weight = np.zeros(size), np.zeros(size)
    sites = np.arange(size)
    for node in model.graph:
        ids = found.readers.get(node.name or "")
        if ids is None:
            continue
        ids = found.root[ids]
        sites[np.isin(sites, sites[ids])] = sites[ids].min()
        source = node.inputs[0]
        if node.name in int8 and source is not None and name_of(source) in amax:
            np.maximum.at(largest, ids, amax[name_of(source)])
            if not is_depthwise(node):
                read = _read_weights(node)
                np.maximum.at(weight, ids, read / max(float(read.max()), 1e-30))
    chosen = np.ones(size)
    used = found.free & (largest > 0) & (found.root == np.arange(size))
    for site in np.unique(sites[used]):
        here = np.flatnonzero(used & (sites == site))
        chosen[here] = _balanced(largest[here], weight[here], exponent)
    made = ((name, chosen[found.root[ids]]) for name, ids in found.makers.items())
    return tuple(Equalized(name, tuple(float(f"{f:.4g}") for f in row)) for name, row in made if (row != 1).any())


def _balanced(largest: Doubles, weight: Doubles, exponent: float) -> Doubles:
    result = np.maximum(largest, FAINTEST * largest.max())
    if weight.any():
        result = result**exponent / np.maximum(weight, FAINTEST * weight.max()) ** (1 - exponent)
    balanced: Doubles = result / np.exp(np.mean(np.log(result)))
    return balanced


def _read_weights(node: ir.Node) -> Doubles:
    """The largest weight that reads each input channel of a node."""
    weights = weights_of(node)
    assert weights is not None  # `Channels` follows no other
    array = np.abs(weights.array).astype(np.float64)
    axis = _input_axis(node)
    largest: Doubles = array.max(axis=tuple(i for i in range(array.ndim) if i != axis))
    return largest


def _input_axis(node: ir.Node) -> int:
    if node.op_type == "Conv":
        return 0 if is_depthwise(node) else 1
    return 1 if attribute(node, "transB", 0) else 0


def equalize(model: ir.Model, equalized: Iterable[Equalized]) -> ir.Model:
    """Divides and multiplies, in place, and returns the graph. Raises BuildError where it cannot follow the factors."""
    rows = {row.name: np.asarray(row.factors) for row in equalized}
    if not rows:
        return model
    found = Channels(model)
    factor = variables(found, rows)
    for node in list(model.graph):
        read, made = (_of(factor, found.root, ids.get(node.name or "")) for ids in (found.readers, found.makers))
        if read is not None and node.op_type in NORMALIZATIONS:
            _multiply(model, node, 1, read)
            _multiply(model, node, 3, 1 / read)
        elif read is not None:
            weights = weights_of(node)
            assert weights is not None
            _multiply(model, node, weights.index, _along(read, weights.array.ndim, _input_axis(node)))
        if made is not None and node.op_type in NORMALIZATIONS:
            for index in range(1, min(3, len(node.inputs))):
                _multiply(model, node, index, 1 / made)
        elif made is not None:
            weights = weights_of(node)
            assert weights is not None
            _multiply(model, node, weights.index, _along(1 / made, weights.array.ndim, weights.axis))
            if len(node.inputs) > 2:
                _multiply(model, node, 2, 1 / made)
    return model


def variables(found: Channels, rows: Mapping[str, Doubles]) -> Doubles:
    """The factor of each variable, from rows by node. Raises BuildError where one has two, or may have none."""
    factor = np.full(len(found.root), np.nan)
    for name, row in rows.items():
        ids = found.makers.get(name)
        if ids is None or len(ids) != len(row):
            channels = 0 if ids is None else len(ids)
            raise _misfit(name, f"factors for {channels} channels" if channels else "no factors", f"{len(row)} factors")
        known = factor[found.root[ids]]
        if not (np.isnan(known) | (known == row)).all() or (row[~found.free[ids]] != 1).any():
            raise _misfit(
                name, "1 where a channel cannot be scaled, and the same for channels that are added", "others"
            )
        factor[found.root[ids]] = row
    return np.where(np.isnan(factor), 1.0, factor)


def _misfit(name: str, expected: str, found: str) -> BuildError:
    return BuildError(
        "the recipe's equalization does not fit the graph",
        where=f"layer {name}",
        expected=expected,
        found=found,
        fix="make the recipe again from this model",
    )


def _of(factor: Doubles, root: Ids, ids: Ids | None) -> Doubles | None:
    if ids is None or (factor[root[ids]] == 1).all():
        return None
    return factor[root[ids]]


def _along(numbers: Doubles, rank: int, axis: int) -> Doubles:
    shape = [1] * rank
    shape[axis] = -1
    return numbers.reshape(shape)


def _multiply(model: ir.Model, node: ir.Node, index: int, numbers: Doubles) -> None:
    value = node.inputs[index]
    array = constant(value) if value is not None else None
    if array is not None:
        replace_constant(model, node, index, array.astype(np.float64) * numbers)


def replace_constant(model: ir.Model, node: ir.Node, index: int, array: npt.NDArray[np.floating]) -> None:
    """Gives a node another constant, FP32, of its own: other readers keep theirs."""
    name = f"{node.name}/repaired{index}"
    while name in model.graph.initializers:
        name += "_"
    node.replace_input_with(index, initializer(model, name, np.asarray(array, np.float32)))
