"""Scales that training has fixed: a graph with quantizers of its own becomes an FP32 graph and the scales to keep.

Quantization-aware training leaves pairs of QuantizeLinear and DequantizeLinear around values, and weights on a grid of
whole steps. Both are what an INT8 recipe says, so they go into it and out of the graph:
1. A pair with one constant scale goes; its scale is the value's. So does a Max, Min or Clip before it that only cuts at
   -127 or 127 steps, as the INT8 quantizer does. A quantized constant becomes the floating numbers it stands for.
2. A scale holds behind what selects or moves elements, behind a Relu, and behind a Concat of equal scales.
3. An asymmetric grid (0 to 255 steps, as TensorFlow's fake quantization gives a Relu) keeps its range: TensorRT takes
   no zero point, so INT8 has half the steps for it. ONNX Runtime's unsigned kind keeps the very grid. One that begins
   at 0 is a Relu too, which is written out where the value could be negative.
4. Weights that lie on a grid keep its step, whatever made the grid (NVIDIA's and TensorFlow's quantizers, HGQ2).
5. A layer whose input training did not quantize stays FP16: the network was not trained for more. So does one whose
   weights it left floating while it quantized those of others: TensorRT computes such a layer high as well. Where it
   quantized no weights at all, they get scales of their own, one per output channel.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.apply.placement import initializer
from engines.calibration.choice import Choice
from engines.calibration.ranges import Ranges
from engines.graphs import compute_nodes, constant, name_of, remove_unread, weights_of
from engines.recipe import INT8_MAXIMUM, LayerPrecision, Recipe

MOVES = frozenset({
    "Flatten", "GlobalMaxPool", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operations whose outputs are some of their input's elements."""
_POSITIVE = frozenset({"Abs", "Exp", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus"})
ON_GRID = 1e-3
"""How far from a whole number of steps a weight on a grid may be, in steps: FP32's rounding times 127 and a margin."""
_STEPS = (np.dtype(np.int8), np.dtype(np.uint8))
_PROBED = 64
"""Weights of a channel that a step is first tried on."""


@dataclass(frozen=True)
class Trained:
    """Smallest and largest number that each quantized value can stand for, and the step of its INT8 grid.

    ``weights``: the names of constants that had quantizers.
    """

    minimum: dict[str, float] = field(default_factory=dict)
    maximum: dict[str, float] = field(default_factory=dict)
    step: dict[str, float] = field(default_factory=dict)
    weights: set[str] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.step)

    def ranges(self) -> Ranges:
        """As calibration would have seen them."""
        return Ranges(dict(self.minimum), dict(self.maximum), 0, {"source": "the model's own quantizers"})

    def choice(self) -> Choice:
        """The scales, for `engines.recipe.rules`."""
        amax = {value: INT8_MAXIMUM * step for value, step in self.step.items()}
        why = "scales of quantization-aware training"
        return Choice(amax, dict.fromkeys(amax, "trained"), "trained", why)


def separate(model: ir.Model) -> Trained:
    """Takes the quantizers out of a graph, in place, as far as rule 1 goes; what it cannot take out stays."""
    found = Trained()
    for node in list(model.graph):
        if node.op_type == "DequantizeLinear" and constant(node.inputs[0]) is not None:
            _unfold(model, node, found)
    for node in list(model.graph):
        if node.op_type == "QuantizeLinear":
            _take_out(model, node, found)
    remove_unread(model)  # a new scale may have the name of an old one
    if found:
        carry(model, found, MOVES | {"Relu"})
    return found


def keep_floating(recipe: Recipe, model: ir.Model, found: Trained) -> Recipe:
    """Rule 5 for weights: an INT8 recipe without the layers whose weights training left floating."""
    quantized = {node.name for node in compute_nodes(model) if _is_quantized(node, found)}
    if not quantized:
        return recipe
    why = "its weights were not quantized in training"
    layers = (
        LayerPrecision(layer.name, recipe.base, why)
        if layer.precision == "int8" and layer.name not in quantized
        else layer
        for layer in recipe.layers
    )
    return dataclasses.replace(recipe, layers=tuple(layers))


def _is_quantized(node: ir.Node, found: Trained) -> bool:
    """Whether a node's weights had a quantizer, or lie on a grid."""
    weights = weights_of(node)
    if weights is None:
        return False
    value = node.inputs[weights.index]
    if value is not None and name_of(value) in found.weights:
        return True
    channels = np.moveaxis(weights.array, weights.axis, 0).reshape(weights.array.shape[weights.axis], -1).any(axis=1)
    return bool((grid_steps(weights.array, weights.axis) > 0)[channels].all())


def grid_steps(array: npt.NDArray[np.float32], axis: int) -> npt.NDArray[np.float32]:
    """Rule 4: per output channel the largest step that all its weights are whole multiples of, at most 128; else 0."""
    rows = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    amax = np.abs(rows).max(axis=1)
    steps = np.zeros(len(rows), np.float32)
    for count in range(1, INT8_MAXIMUM + 2):
        open_rows = np.flatnonzero((steps == 0) & (amax > 0))
        step = amax[open_rows, None] / count
        probed = _whole(rows[open_rows, :_PROBED] / step)
        likely = open_rows[probed]
        found = likely[_whole(rows[likely] / step[probed])]
        steps[found] = (amax[found] / count).astype(np.float32)
    return steps


def _whole(multiples: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return np.asarray((np.abs(multiples - np.rint(multiples)) <= ON_GRID).all(axis=1))


def _unfold(model: ir.Model, node: ir.Node, found: Trained) -> None:
    """A quantized constant as floating numbers."""
    integers, scale = constant(node.inputs[0]), constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if integers is None or scale is None or integers.dtype.kind not in "iu" or "block_size" in node.attributes:
        return
    axis = node.attributes.get_int("axis", 1)
    along = [-1 if i == axis % max(integers.ndim, 1) else 1 for i in range(integers.ndim)] if scale.size > 1 else []
    offset = np.zeros_like(integers, np.int64) if zero is None else zero.astype(np.int64).reshape(along or ())
    floats = (integers.astype(np.int64) - offset).astype(scale.dtype) * scale.reshape(along or ())
    output = node.outputs[0]
    value = initializer(model, f"{output.name}/floating", floats.astype(np.float32))
    output.replace_all_uses_with(value)
    model.graph.remove(node, safe=True)
    found.weights.add(name_of(value))


def _take_out(model: ir.Model, node: ir.Node, found: Trained) -> None:
    """Rules 1 and 3, for a QuantizeLinear and the DequantizeLinear nodes that read it."""
    value, scale = node.inputs[0], constant(node.inputs[1])
    zero = constant(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else np.zeros((), np.uint8)
    readers = [reader for reader, _ in node.outputs[0].uses()]
    if value is None or scale is None or scale.dtype != np.float32 or zero is None or zero.dtype not in _STEPS:
        return
    weight = constant(value) is not None
    if not readers or not all(_inverts(reader, scale) for reader in readers) or (scale.size > 1 and not weight):
        return
    if weight:
        _round_constant(model, value, node, scale, zero)
    else:
        step, offset, limits = float(scale.reshape(())), int(zero.reshape(())), np.iinfo(zero.dtype)
        value = _before_cut(value, step) if offset == 0 and zero.dtype == np.int8 else value
        low, high = step * (int(limits.min) - offset), step * (int(limits.max) - offset)
        if low == 0 and not _never_negative(value):
            value = _cut_at_zero(model, node, value)
        symmetric = offset - int(limits.min) in (127, 128)
        name = name_of(value)
        found.minimum[name], found.maximum[name] = low, high
        found.step[name] = step if symmetric else max(-low, high) / INT8_MAXIMUM
    source = node.inputs[0] if weight else value
    assert source is not None
    if weight:
        found.weights.add(name_of(source))
    for reader in readers:
        output = reader.outputs[0]
        if output.is_graph_output():
            _output_instead(model, reader, source)
        output.replace_all_uses_with(source)
        model.graph.remove(reader, safe=True)
    model.graph.remove(node, safe=True)


def _never_negative(value: ir.Value) -> bool:
    maker = value.producer()
    while maker is not None and maker.op_type in MOVES and maker.inputs[0] is not None:
        maker = maker.inputs[0].producer()
    return maker is not None and maker.op_type in _POSITIVE


def _cut_at_zero(model: ir.Model, node: ir.Node, value: ir.Value) -> ir.Value:
    """A Relu of what a quantizer reads."""
    result = ir.val(f"{node.name}/cut", value.dtype, value.shape)
    model.graph.insert_before(node, ir.node("Relu", [value], outputs=[result], name=f"{node.name}/cut"))
    return result


def _inverts(reader: ir.Node, scale: npt.NDArray[np.float32]) -> bool:
    """Whether it dequantizes with the same scale."""
    other = constant(reader.inputs[1]) if reader.op_type == "DequantizeLinear" else None
    return other is not None and np.array_equal(other, scale)


def _output_instead(model: ir.Model, reader: ir.Node, source: ir.Value) -> None:
    """An Identity in the place of a pair before a graph output."""
    output = reader.outputs[0]
    result = ir.val(output.name, output.dtype, output.shape)
    model.graph.outputs[list(model.graph.outputs).index(output)] = result
    output.name = f"{output.name}/before"
    name = f"{reader.name}/output"
    model.graph.insert_before(reader, ir.node("Identity", [source], outputs=[result], name=name))


def _round_constant(
    model: ir.Model, value: ir.Value, node: ir.Node, scale: npt.NDArray[np.float32], zero: npt.NDArray[np.integer]
) -> None:
    """A floating constant before a pair, rounded to the grid as the pair does."""
    array = constant(value)
    assert array is not None
    axis = node.attributes.get_int("axis", 1)
    along = [-1 if i == axis % array.ndim else 1 for i in range(array.ndim)] if scale.size > 1 else [1] * array.ndim
    steps, offset, limits = scale.reshape(along), zero.reshape(along).astype(np.int64), np.iinfo(zero.dtype)
    integers = np.clip(np.rint(array / steps) + offset, limits.min, limits.max) - offset
    rounded = (integers * steps).astype(np.float32)
    node.replace_input_with(0, initializer(model, f"{value.name}/on_grid", rounded))


def _before_cut(value: ir.Value, step: float) -> ir.Value:
    """What a Max, Min or Clip reads that only cuts at ±127 steps, and that the quantizer alone reads."""
    while (maker := value.producer()) is not None and maker.op_type in ("Max", "Min", "Clip"):
        bounds = [constant(bound) for bound in maker.inputs[1:] if bound is not None]
        source = maker.inputs[0]
        cuts = all(b is not None and np.allclose(np.abs(b), INT8_MAXIMUM * step, rtol=1e-5) for b in bounds)
        if source is None or not bounds or not cuts or len(value.uses()) > 1 or value.is_graph_output():
            break
        value = source
    return value


def carry(model: ir.Model, found: Trained, through: frozenset[str]) -> None:
    """Rule 2, through operations of those types and a Concat: the scale of a value that has none yet."""
    for node in model.graph:
        computed = [value for value in node.inputs if value is not None and constant(value) is None]
        names = [name_of(value) for value in computed]
        if node.op_type not in through | {"Concat"} or not names or any(name not in found.step for name in names):
            continue
        if len({found.step[name] for name in names}) == 1:
            for table in (found.minimum, found.maximum, found.step):
                table.setdefault(name_of(node.outputs[0]), table[names[0]])
