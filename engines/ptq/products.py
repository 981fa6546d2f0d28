"""A layer as a product of matrices: its inputs as rows (patches of a Conv), weights as columns; and their moments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.graphs import attribute, weights_of

Doubles = npt.NDArray[np.float64]
Arrays = npt.NDArray[Any]


@dataclass(frozen=True)
class Moments:
    """Of a layer's inputs as they are quantized, (groups, K) a row, and its outputs as they should be, (groups, M).

    ``gram``: mean of x xᵀ, less that of the means: (groups, K, K). ``inputs``, ``outputs``: the means.
    """

    gram: Doubles
    inputs: Doubles
    outputs: Doubles


def is_product(node: ir.Node) -> bool:
    """Whether a node's output is plainly rows times constant weights, plus a bias.

    Not of a ConvTranspose, a Gemm with factors or a transposed input, a batched weight, or a Conv whose padding is left
    to the runtime.
    """
    weights = weights_of(node)
    if weights is None or node.op_type == "ConvTranspose":
        return False
    if node.op_type == "Conv":
        padding = node.attributes.get("auto_pad")
        return padding is None or padding.as_string() in ("NOTSET", "VALID")
    if node.op_type == "Gemm":
        factors = [node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes]
        return not attribute(node, "transA", 0) and all(factor == 1 for factor in factors)
    return weights.array.ndim == 2


def columns(node: ir.Node, array: Arrays) -> Doubles:
    """The node's weight, or an array of its shape, as (groups, K, M): M output channels a group."""
    if node.op_type == "Conv":
        groups = attribute(node, "group", 1)
        array = array.reshape(groups, array.shape[0] // groups, -1).transpose(0, 2, 1)
    else:
        array = (array.T if attribute(node, "transB", 0) else array)[None]
    result: Doubles = np.asarray(array, np.float64)
    return result


def from_columns(node: ir.Node, array: Doubles, shape: tuple[int, ...]) -> Doubles:
    """The inverse of `columns`."""
    if node.op_type == "Conv":
        kernel: Doubles = array.transpose(0, 2, 1).reshape(shape)
        return kernel
    matrix: Doubles = array[0].T if attribute(node, "transB", 0) else array[0]
    return matrix


def moments(node: ir.Node, batches: Iterable[tuple[Arrays, Arrays]], most: int) -> Moments:
    """Moments over some ``most`` rows a batch, evenly spread; ``batches``: inputs and outputs of the node."""
    gram: Any = 0.0
    inputs: Any = 0.0
    outputs: Any = 0.0
    count = 0
    for x, y in batches:
        rows, results = _rows(node, x, y, most)
        gram = gram + rows.transpose(0, 2, 1) @ rows
        inputs, outputs = inputs + rows.sum(axis=1), outputs + results.sum(axis=1)
        count += rows.shape[1]
    inputs, outputs = inputs / count, outputs / count
    return Moments(gram / count - inputs[:, :, None] * inputs[:, None, :], inputs, outputs)


def _rows(node: ir.Node, x: Arrays, y: Arrays, most: int) -> tuple[Doubles, Doubles]:
    """Inputs (groups, rows, K) and outputs (groups, rows, M)."""
    if node.op_type != "Conv":
        x, y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
        step = max(1, len(x) // most)
        return x[None, ::step].astype(np.float64), y[None, ::step].astype(np.float64)
    places = (y.shape[0], *y.shape[2:])
    total = int(np.prod(places))
    chosen = np.arange(0, total, max(1, total // most) | 1)  # odd: not in step with the rows of an image
    sample, *position = np.unravel_index(chosen, places)
    index: Any = (sample, slice(None), *position)
    groups = attribute(node, "group", 1)
    shape = (len(chosen), groups, -1)
    rows, results = _patches(node, x)[index].reshape(shape), y[index].reshape(shape)
    return rows.transpose(1, 0, 2).astype(np.float64), results.transpose(1, 0, 2).astype(np.float64)


def _patches(node: ir.Node, x: Arrays) -> Arrays:
    """A view (samples, channels, output positions…, kernel…) of a Conv's padded input."""
    shape = node.inputs[1].shape if node.inputs[1] is not None else None
    kernel = [int(size) for size in list(shape or [])[2:] if isinstance(size, int)]
    rank = len(kernel)
    pads = _integers(node, "pads", [0] * 2 * rank)
    strides, dilations = _integers(node, "strides", [1] * rank), _integers(node, "dilations", [1] * rank)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    spans = [(size - 1) * dilation + 1 for size, dilation in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=tuple(range(2, 2 + rank)))
    everything = slice(None)
    index = [everything] * 2 + [slice(None, None, step) for step in (*strides, *dilations)]
    return np.asarray(view[tuple(index)])


def _integers(node: ir.Node, name: str, default: list[int]) -> list[int]:
    found = node.attributes.get(name)
    return default if found is None else list(found.as_ints())
