"""Where quantize/dequantize pairs (Q/DQ) go for TensorRT: explicit, symmetric, where its kernels fuse them.

Rules, and where they come from:
1. A Conv, Gemm or MatMul is INT8 or FP8 only if *both* its operands come from a DequantizeLinear; with one of them
   TensorRT computes in floating point and says nothing (NVIDIA, "Working with Quantized Types", explicit quantization;
   measured).
2. INT8 weights per output channel, symmetric, zero point 0, as INT8 constants; activations per tensor (same source).
   FP8 weights per tensor: their scale then folds into the product's (a scale per channel is a second kernel; measured).
3. One pair per value, which all its quantized readers share: equal pairs merge, unequal ones would quantize twice.
4. An Add that reads a quantized value reads its DequantizeLinear, so that both readers of a residual have the same
   scale and the branch is kept in INT8 (same source, "Q/DQ layer-placement recommendations"). Not in FP8, whose three
   bits of significand would be all that the branch keeps.
5. Nothing around pooling, Concat or reshaping: TensorRT moves the Q of the reader across them by itself.
6. Biases stay floating: TensorRT adds them after the integer product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.graphs import compute_nodes, constant, name_of, weights_of
from engines.recipe import FP8_MAXIMUM, INT8_MAXIMUM, Recipe


def place(model: ir.Model, recipe: Recipe, scale_dtype: npt.DTypeLike) -> None:
    """Inserts Q/DQ into an FP32 graph in place, for the INT8 or FP8 layers of the recipe.

    ``scale_dtype``: the type of what lies around (the type of a scale is the type it dequantizes to). The recipe is one
    that `engines.recipe.validation` finds no fault with.
    """
    scales = {activation.value: activation.scale for activation in recipe.activations}
    pairs: dict[str, ir.Value] = {}
    layers = {layer.name: layer for layer in recipe.layers}
    for node in list(compute_nodes(model)):
        name = node.name or ""
        kind = _KINDS.get(recipe.precision_of(name))
        if kind is None:
            continue
        source = node.inputs[0]
        if source is None:
            continue
        if name_of(source) not in pairs:
            pairs[name_of(source)] = _pair(model, source, np.asarray(scales[name_of(source)], scale_dtype), kind)
        node.replace_input_with(0, pairs[name_of(source)])
        _quantize_weights(model, node, layers[name].weight_scales, scale_dtype, kind)
    if any(layer.precision == "int8" for layer in recipe.layers):
        _share_with_additions(model, recipe, pairs)


def _share_with_additions(model: ir.Model, recipe: Recipe, pairs: dict[str, ir.Value]) -> None:
    """Rule 4."""
    for node in model.graph:
        if is_residual(node, recipe):
            for index, value in enumerate(node.inputs):
                if value is not None and name_of(value) in pairs:
                    node.replace_input_with(index, pairs[name_of(value)])


def is_residual(node: ir.Node, recipe: Recipe) -> bool:
    """Whether a node is an Add that reads what is quantized of its operands (rule 4)."""
    computed = all(constant(value) is None for value in node.inputs)
    return node.op_type == "Add" and computed and recipe.precision_of(node.name or "") == recipe.base


def _pair(model: ir.Model, value: ir.Value, scale: npt.NDArray[np.floating], kind: _Kind) -> ir.Value:
    """Adds Q and DQ behind a value and returns the dequantized value; nothing reads it yet."""
    name = name_of(value)
    scale_value = initializer(model, f"{name}/scale", scale)
    zero = initializer(model, f"{name}/zero_point", np.zeros((), kind.dtype))
    quantized = ir.val(f"{name}/quantized", zero.dtype, value.shape)
    result = ir.val(f"{name}/dequantized", value.dtype, value.shape)
    insert_behind(
        model,
        value,
        [
            ir.node("QuantizeLinear", [value, scale_value, zero], outputs=[quantized], name=f"{name}/quantize"),
            ir.node("DequantizeLinear", [quantized, scale_value, zero], outputs=[result], name=f"{name}/dequantize"),
        ],
    )
    return result


def _quantize_weights(
    model: ir.Model, node: ir.Node, scales: tuple[float, ...], dtype: npt.DTypeLike, kind: _Kind
) -> None:
    """Replaces a node's weight by an INT8 or FP8 constant and its DequantizeLinear."""
    name = node.name or ""
    weights = weights_of(node)
    if weights is None:
        return
    channels = len(scales)
    along = [1] * weights.array.ndim
    along[weights.axis] = channels
    typed = np.asarray(scales, dtype)
    narrow = kind.quantize(weights.array, typed.astype(np.float32).reshape(along))
    if not kind.per_channel:
        typed = typed.reshape(())
    result = ir.val(f"{name}/weight/dequantized", ir.DataType.FLOAT, ir.Shape(weights.array.shape))
    inputs = [
        initializer(model, f"{name}/weight/quantized", narrow),
        initializer(model, f"{name}/weight/scale", typed),
        initializer(model, f"{name}/weight/zero_point", np.zeros(typed.shape, kind.dtype)),
    ]
    axis = {"axis": weights.axis} if kind.per_channel else {}
    dequantize = ir.node("DequantizeLinear", inputs, axis, outputs=[result], name=f"{name}/weight/dequantize")
    model.graph.insert_before(node, dequantize)
    node.replace_input_with(weights.index, result)


def quantize(array: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """clip(round half to even(array / scale), -127, 127): what QuantizeLinear computes, without -128."""
    integers: npt.NDArray[np.int8] = np.clip(np.rint(array / scale), -INT8_MAXIMUM, INT8_MAXIMUM).astype(np.int8)
    return integers


def quantize_fp8(array: npt.NDArray[np.float32], scale: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """The nearest E4M3 numbers to array / scale, clipped to ±448: what QuantizeLinear computes."""
    return np.asarray(np.clip(array / scale, -FP8_MAXIMUM, FP8_MAXIMUM).astype(ml_dtypes.float8_e4m3fn))


@dataclass(frozen=True)
class _Kind:
    """How one precision is quantized."""

    name: str
    dtype: npt.DTypeLike
    per_channel: bool
    quantize: Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[Any]]


_KINDS = {
    "int8": _Kind("int8", np.int8, True, quantize),
    "fp8": _Kind("fp8", ml_dtypes.float8_e4m3fn, False, quantize_fp8),
}


def initializer(model: ir.Model, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    """Adds a constant to the graph, or returns the one of that name."""
    found = model.graph.initializers.get(name)
    if found is not None:
        return found
    tensor = ir.tensor(array, name=name)
    value = ir.val(name, tensor.dtype, ir.Shape(array.shape), const_value=tensor)
    model.graph.register_initializer(value)
    return value


def insert_behind(model: ir.Model, value: ir.Value, nodes: list[ir.Node]) -> None:
    """Inserts nodes right after the one that makes ``value``, in its graph (first in the main graph, for an input)."""
    producer = value.producer()
    if producer is not None and producer.graph is not None:
        producer.graph.insert_after(producer, nodes)
    elif len(model.graph):
        model.graph.insert_before(model.graph[0], nodes)
    else:
        model.graph.extend(nodes)
