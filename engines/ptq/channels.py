"""Which channels of a graph can be scaled by a factor of their own without a change of its outputs.

What makes a channel can be divided by a positive factor, and the weights that read it multiplied by the same, where
everything in between commutes with that: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and
Bias Correction", here beyond pairs of layers. Rules, by the algebra of each operator:
1. Made by Conv, Gemm and MatMul with constant weights and bias, BatchNormalization, LayerNormalization over the last
   axis.
2. Read by Conv (of one group, or depthwise), Gemm and MatMul with constant weights, and BatchNormalization.
3. Passed on by what is homogeneous in each channel: Relu, LeakyRelu, pooling, padding with 0, reductions over other
   axes, flattening, and products with what has no factor of its own (a gate, a constant).
4. Tied, to have the same factor, by Add, Sub, Max, Min, and Concat along another axis; Concat of channels joins them.
5. Pinned to 1 by all else (a Sigmoid, a Clip, a mean over channels, the sum with a constant), and at graph outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.graphs import attribute, constant, name_of, weights_of
from engines.ptq.walk import reads

Ids = npt.NDArray[np.intp]
Known = tuple[int, Ids]
"""Of a value: the axis of its channels, and the variable of each, which stands for its factor."""

NORMALIZATIONS = frozenset({"BatchNormalization", "LayerNormalization"})


class Channels:
    """The channels of a graph. ``makers``, ``readers``: per node the variables of its output, and of its input."""

    def __init__(self, model: ir.Model) -> None:
        self.values: dict[str, Known] = {}
        self.makers: dict[str, Ids] = {}
        self.readers: dict[str, Ids] = {}
        self._parent: list[int] = []
        self._pinned: set[int] = set()
        for node in model.graph:
            if not self._follow(node):
                self._pin(reads(node))
        self._pin(model.graph.outputs)
        self.root = np.array([self._find(i) for i in range(len(self._parent))], np.intp)
        """The variable that stands for each: tied ones have the same."""
        self.free = ~np.isin(self.root, [self.root[i] for i in self._pinned])
        """Which variables may have a factor other than 1."""

    def known(self, value: ir.Value | None) -> Known | None:
        """The channels of a value; None where it has none that could be scaled."""
        return self.values.get(name_of(value)) if value is not None else None

    def _new(self, count: int) -> Ids:
        start = len(self._parent)
        self._parent += range(start, start + count)
        return np.arange(start, start + count)

    def _find(self, i: int) -> int:
        while self._parent[i] != i:
            i = self._parent[i] = self._parent[self._parent[i]]
        return i

    def _tie(self, first: Ids, second: Ids) -> None:
        for pair in zip(first, second, strict=True):
            low, high = sorted(self._find(int(i)) for i in pair)
            self._parent[high] = low

    def _pin(self, values: Iterable[ir.Value]) -> None:
        for value in values:
            if (known := self.known(value)) is not None:
                self._pinned.update(int(i) for i in known[1])

    def _make(self, node: ir.Node, axis: int, count: int) -> None:
        self.makers[node.name or ""] = self._new(count)
        self.values[name_of(node.outputs[0])] = axis, self.makers[node.name or ""]

    def _follow(self, node: ir.Node) -> bool:
        """Takes in one node; False where it pins what it reads."""
        rule = _RULES.get(node.op_type)
        if node.domain or rule is None:
            return False
        return rule(self, node)


def _product(found: Channels, node: ir.Node) -> bool:
    """Rules 1 and 2 for Conv, Gemm and MatMul."""
    weights, source = weights_of(node), node.inputs[0]
    shape = node.outputs[0].shape
    if weights is None or source is None or shape is None or attribute(node, "transA", 0):
        return False
    if node.op_type == "MatMul" and weights.array.ndim != 2:
        return False
    known, taken = found.known(source), True
    if known is not None:
        axis = 1 if node.op_type == "Conv" else len(shape) - 1
        taken = known[0] == axis and (attribute(node, "group", 1) == 1 or is_depthwise(node))
        if taken:
            found.readers[node.name or ""] = known[1]
    count = weights.array.shape[weights.axis]
    bias = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(count)
    if bias is not None and bias.size == count:
        found._make(node, 1 if node.op_type == "Conv" else len(shape) - 1, count)
    return taken


def is_depthwise(node: ir.Node) -> bool:
    """Whether a node is a Conv in which each output channel reads one input channel, its own."""
    shape = node.inputs[1].shape if node.op_type == "Conv" and node.inputs[1] is not None else None
    groups = attribute(node, "group", 1)
    return shape is not None and groups > 1 and (shape[0], shape[1]) == (groups, 1)


def _batch_normalization(found: Channels, node: ir.Node) -> bool:
    scale = constant(node.inputs[1]) if node.inputs[1] is not None else None
    if scale is None or any(v is None or constant(v) is None for v in node.inputs[2:]) or len(node.outputs) > 1:
        return False
    known = found.known(node.inputs[0])
    if known is not None and known[0] == 1:
        found.readers[node.name or ""] = known[1]
    found._make(node, 1, scale.size)
    return known is None or known[0] == 1


def _layer_normalization(found: Channels, node: ir.Node) -> bool:
    """Its output can be scaled, its input cannot."""
    shape, scale = node.outputs[0].shape, constant(node.inputs[1]) if node.inputs[1] is not None else None
    if shape is None or scale is None or attribute(node, "axis", -1) not in (-1, len(shape) - 1):
        return False
    alone = all(not value.uses() for value in node.outputs[1:])
    if alone and all(value is None or constant(value) is not None for value in node.inputs[2:]):
        found._make(node, len(shape) - 1, scale.size)
    return False


def _passes(found: Channels, node: ir.Node) -> bool:
    known = found.known(node.inputs[0])
    if known is not None:
        found.values[name_of(node.outputs[0])] = known
    return len(node.outputs) == 1


def _pads(found: Channels, node: ir.Node) -> bool:
    known, pads = found.known(node.inputs[0]), constant(node.inputs[1]) if node.inputs[1] is not None else None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    filling = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros(1)
    if known is None or pads is None or len(node.inputs) > 3 or filling is None:
        return known is None
    if (mode == "constant" and filling.any()) or pads.reshape(2, -1)[:, known[0]].any():
        return False
    return _passes(found, node)


def _reduces(found: Channels, node: ir.Node) -> bool:
    known, shape = found.known(node.inputs[0]), node.inputs[0].shape if node.inputs[0] is not None else None
    if known is None:
        return True
    axes = constant(node.inputs[1]) if len(node.inputs) > 1 and node.inputs[1] is not None else None
    if axes is None and "axes" in node.attributes:
        axes = np.array(node.attributes["axes"].as_ints())
    if axes is None or shape is None:
        return False
    gone = {int(axis) % len(shape) for axis in axes}
    if known[0] in gone:
        return False
    kept = attribute(node, "keepdims", 1)
    axis = known[0] if kept else known[0] - sum(one < known[0] for one in gone)
    found.values[name_of(node.outputs[0])] = axis, known[1]
    return True


def _flattens(found: Channels, node: ir.Node) -> bool:
    """(batch, channels, …) to (batch, channels x …)."""
    known = found.known(node.inputs[0])
    if known is None:
        return True
    before, after = node.inputs[0].shape if node.inputs[0] is not None else None, node.outputs[0].shape
    if before is None or after is None or known[0] != 1 or len(after) != 2:
        return False
    sizes = [size for size in list(before)[1:] if isinstance(size, int)]
    if len(sizes) != len(before) - 1 or after[1] != int(np.prod(sizes)):
        return False
    found.values[name_of(node.outputs[0])] = 1, np.repeat(known[1], int(np.prod(sizes[1:])))
    return True


def _concatenates(found: Channels, node: ir.Node) -> bool:
    known = [one for value in node.inputs if (one := found.known(value)) is not None]
    shape = node.outputs[0].shape
    if not known:
        return True
    if len(known) < len(node.inputs) or shape is None or len({axis for axis, _ in known}) > 1:
        return False
    axis, ids = known[0]
    if attribute(node, "axis", 1) % len(shape) == axis:
        ids = np.concatenate([ids for _, ids in known])
    else:
        for _, other in known[1:]:
            found._tie(ids, other)
    found.values[name_of(node.outputs[0])] = axis, ids
    return True


def _ties(found: Channels, node: ir.Node) -> bool:
    known = [one for value in node.inputs if (one := found.known(value)) is not None]
    if not known:
        return True
    ranks = {len(value.shape) if value is not None and value.shape is not None else 0 for value in node.inputs}
    if len(known) < len(node.inputs) or len(ranks) > 1 or len({(axis, len(ids)) for axis, ids in known}) > 1:
        return False
    for _, ids in known[1:]:
        found._tie(known[0][1], ids)
    found.values[name_of(node.outputs[0])] = known[0]
    return True


def _multiplies(found: Channels, node: ir.Node) -> bool:
    """Of a product, and of a quotient's numerator, one side's factors pass on; the other's are pinned."""
    shape = node.outputs[0].shape
    sides = [i for i in range(1 if node.op_type == "Div" else 2) if found.known(node.inputs[i]) is not None]
    sides = [i for i in sides if (v := node.inputs[i]) is not None and v.shape == shape]
    if not sides:
        return all(found.known(value) is None for value in node.inputs)
    found._pin(value for i, value in enumerate(node.inputs) if i != sides[0] and value is not None)
    found.values[name_of(node.outputs[0])] = found.values[name_of(node.inputs[sides[0]])]  # type: ignore[arg-type]
    return True


_RULES: dict[str, Callable[[Channels, ir.Node], bool]] = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul"), _product),
    "BatchNormalization": _batch_normalization,
    "LayerNormalization": _layer_normalization,
    **dict.fromkeys(("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool"), _passes),
    **dict.fromkeys(("GlobalMaxPool", "Identity", "Neg", "Abs"), _passes),
    "Pad": _pads,
    **dict.fromkeys(("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"), _reduces),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _flattens),
    "Concat": _concatenates,
    **dict.fromkeys(("Add", "Sub", "Max", "Min", "Sum"), _ties),
    **dict.fromkeys(("Mul", "Div"), _multiplies),
}
