"""Where quantize/dequantize pairs go for ONNX Runtime's CPU kernels: unsigned activations, on every edge.

ONNX Runtime has integer kernels for most operators and fuses DequantizeLinear → operator → QuantizeLinear into one of
them only where *all* edges of the operator are quantized; TensorRT's placement leaves conversions everywhere and ran
1.8x slower than FP32. Rules, after ONNX Runtime's "Quantize ONNX models" and the selectors of its QDQ transformer:
1. Activations: u8 with a zero point, from the range widened to hold 0. Weights: s8 per output channel, 1.6x faster
   than u8 (CBAM-ResNet50). Where their products would saturate in 16 bits, sessions compute otherwise
   (`deploy.backends.saturation`).
2. A bias is INT32 with the scale input x weight, per channel. Where it would not fit, the channel's weight scale grows
   until it does, as in ONNX Runtime's own quantizer: clipping it would be an error without bound.
3. Operators that only select or move elements have the same scale before and after.
4. No pair between an operator and the Relu that alone reads it: the unsigned output clips at 0 by itself.
5. Graph outputs stay floating.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.apply.placement import initializer, insert_behind, quantize
from engines.graphs import COMPUTE, constant, is_float, name_of, weights_of
from engines.recipe import Recipe

_MOVES = frozenset({"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze"})
_INTEGER = frozenset({"Add", "Mul", "Concat", "GlobalAveragePool", "AveragePool"})
_CLIPPED = frozenset({"Conv", "Gemm", "MatMul", "Add"})
_BIAS_MAXIMUM = 2**30
"""Largest INT32 bias: half the range, as the sum of products is added to it."""


@dataclass(frozen=True)
class Affine:
    """Unsigned 8-bit: real = scale * (integer - zero_point)."""

    scale: np.float32
    zero_point: np.uint8


def affine(minimum: float, maximum: float) -> Affine:
    """The u8 scale and zero point of a range, which is widened to hold 0 (zero padding must be exact)."""
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    scale = np.float32(max((high - low) / 255, float(np.finfo(np.float32).tiny)) if high > low else 1.0)
    return Affine(scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255)))


def place_edges(model: ir.Model, recipe: Recipe) -> None:
    """Inserts u8 Q/DQ pairs into an FP32 graph in place, for INT8 layers and what lies between them.

    The recipe is one that `engines.recipe.validation` finds no fault with: INT8 layers have constant weights, a scale
    for each output channel, and a range for what they read.
    """
    edges = _Edges(model, recipe)
    scales = {layer.name: layer.weight_scales for layer in recipe.layers}
    for node in list(model.graph):
        inputs = [(i, v) for i, v in enumerate(node.inputs) if v is not None and is_float(v) and constant(v) is None]
        if node.op_type in COMPUTE:
            inputs = inputs[:1]  # a bias that is computed stays floating
        if not edges.takes(node, [value for _, value in inputs]):
            continue
        for index, value in inputs:
            node.replace_input_with(index, edges.pair(value))
        first = edges.kind(node.inputs[inputs[0][0]])
        if node.op_type in COMPUTE:
            _quantize_weights(model, node, first, scales[node.name or ""])
        edges.close(node, first if node.op_type in _MOVES else None)


class _Edges:
    """What is quantized so far: the u8 kind of each value, and the dequantized twin that its readers get."""

    def __init__(self, model: ir.Model, recipe: Recipe) -> None:
        self.model, self.recipe = model, recipe
        self.kinds = {a.value: affine(a.minimum, a.maximum) for a in recipe.activations}
        self.twins: dict[str, ir.Value] = {}
        self.twin_kinds: dict[str, Affine] = {}
        self.outputs = {name_of(value) for value in model.graph.outputs}

    def kind(self, value: ir.Value | None) -> Affine:
        """The kind of a twin."""
        return self.twin_kinds[name_of(value)] if value is not None else Affine(np.float32(1), np.uint8(0))

    def takes(self, node: ir.Node, inputs: list[ir.Value]) -> bool:
        """Whether the node becomes an integer kernel: an INT8 layer, or an operator that reads a quantized value."""
        if node.op_type in COMPUTE:
            return self.recipe.precision_of(node.name or "") == "int8"
        known = bool(inputs) and all(name_of(v) in self.kinds or name_of(v) in self.twin_kinds for v in inputs)
        if node.op_type not in _MOVES | _INTEGER or not known:
            return False
        if node.op_type in _INTEGER and len(inputs) != sum(is_float(value) for value in node.inputs):
            return False
        return any(name_of(value) in self.twin_kinds for value in inputs)

    def pair(self, value: ir.Value) -> ir.Value:
        """The twin of a value, made once; a twin is its own."""
        name = name_of(value)
        if name in self.twin_kinds:
            return value
        if name not in self.twins:
            self.twins[name] = self._insert(value, name, self.kinds[name])
        return self.twins[name]

    def close(self, node: ir.Node, moved: Affine | None) -> None:
        """Puts a pair behind the node, or behind the Relu that alone reads it; none before a graph output."""
        value = node.outputs[0]
        readers = [user for user, _ in value.uses()]
        alone = len(readers) == 1 and name_of(value) not in self.outputs
        if node.op_type in _CLIPPED and alone and readers[0].op_type == "Relu":
            value = readers[0].outputs[0]
        name = name_of(value)
        if name in self.outputs or name not in self.kinds:
            return
        self.kinds[name] = moved or self.kinds[name]
        result = self.pair(value)
        for user, index in list(value.uses()):
            if user.op_type != "QuantizeLinear":
                user.replace_input_with(index, result)

    def _insert(self, value: ir.Value, name: str, kind: Affine) -> ir.Value:
        scale = initializer(self.model, f"{name}/scale", np.asarray(kind.scale))
        zero = initializer(self.model, f"{name}/zero_point", np.asarray(kind.zero_point))
        integers = ir.val(f"{name}/quantized", ir.DataType.UINT8, value.shape)
        twin = ir.val(f"{name}/dequantized", value.dtype, value.shape)
        self.twin_kinds[name_of(twin)] = kind
        added = [
            ir.node("QuantizeLinear", [value, scale, zero], outputs=[integers], name=f"{name}/quantize"),
            ir.node("DequantizeLinear", [integers, scale, zero], outputs=[twin], name=f"{name}/dequantize"),
        ]
        insert_behind(self.model, value, added)
        return twin


def _quantize_weights(model: ir.Model, node: ir.Node, source: Affine, scales: tuple[float, ...]) -> None:
    """s8 weights and an INT32 bias, each with its DequantizeLinear."""
    weights = weights_of(node)
    assert weights is not None  # as `engines.recipe.validation` demands
    along = [1] * weights.array.ndim
    along[weights.axis] = len(scales)
    bias = _bias(node, len(scales))
    scale = np.asarray(scales, np.float32)
    if bias is not None:
        scale = np.maximum(scale, np.abs(bias) / np.float64(source.scale) / _BIAS_MAXIMUM).astype(np.float32)
    integers = quantize(weights.array, scale.reshape(along))
    zero = np.zeros(scale.shape, np.int8)
    result = _dequantized(model, node, "weight", integers, scale, zero, weights.axis)
    node.replace_input_with(weights.index, result)
    if bias is not None:
        both = (source.scale * scale).astype(np.float32)
        whole = np.rint(bias / both.astype(np.float64))
        result = _dequantized(model, node, "bias", whole.astype(np.int32), both, np.zeros(scale.shape, np.int32), 0)
        node.replace_input_with(2, result)


def _bias(node: ir.Node, channels: int) -> npt.NDArray[np.float64] | None:
    """The constant bias of a compute node, one number per channel; a Gemm's may be (1, N), (1,) or a scalar.

    None where there is none or it is of another kind: it then stays floating.
    """
    array = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    if array is None or not (array.size == 1 or (array.size == channels and array.shape[-1] == channels)):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,))


def _dequantized(
    model: ir.Model,
    node: ir.Node,
    kind: str,
    integers: npt.NDArray[np.generic],
    scale: npt.NDArray[np.float32],
    zero: npt.NDArray[np.generic],
    axis: int,
) -> ir.Value:
    name = f"{node.name}/{kind}"
    result = ir.val(f"{name}/dequantized", ir.DataType.FLOAT, ir.Shape(integers.shape))
    inputs = [
        initializer(model, f"{name}/quantized", integers),
        initializer(model, f"{name}/scale", scale),
        initializer(model, f"{name}/zero_point", zero),
    ]
    added = ir.node("DequantizeLinear", inputs, {"axis": axis}, outputs=[result], name=f"{name}/dequantize")
    model.graph.insert_before(node, added)
    return result
