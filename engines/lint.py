"""What is wrong with a quantized graph before TensorRT builds it: it would drop such a quantizer without a word.

Each rule was seen on TensorRT-RTX, or is NVIDIA's ("Working with Quantized Types", explicit quantization):
1. A quantizer has a constant, positive scale that is a normal number of its type, and no zero point but 0.
2. It quantizes to INT8 or E4M3; unsigned integers and the INT32 bias of ONNX Runtime's placement are not taken.
3. A computed value has one scale; only weights have one per channel, along the axis of their output channels.
4. A quantizer is read by dequantizers alone, which have its own scale.
5. A product has both operands quantized, to the same type, or neither; its bias stays floating.
6. A ConvTranspose is not quantized: with a scale per channel it is built in floating point.
7. Float8 comes from a quantizer, not from a Cast, by which Keras's own float8 layers compute.
8. What the recipe calls INT8 or FP8 is quantized to that.
What a recipe asks of a model and a target before there is a graph, `engines.recipe.validation` looks at.
"""

from __future__ import annotations

from collections.abc import Iterator

import ml_dtypes
import numpy as np
import onnx_ir as ir

from deploy.errors import BuildError
from engines.graphs import COMPUTE, constant, name_of, output_axis
from engines.recipe import QUANTIZED, Recipe

_TYPES = {ir.DataType.INT8: "int8", ir.DataType.FLOAT8E4M3FN: "fp8"}
_FLOAT8 = (ir.DataType.FLOAT8E4M3FN, ir.DataType.FLOAT8E5M2)
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_ELSEWHERE = (*_QUANTIZERS, "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul")


def lint(model: ir.Model, recipe: Recipe) -> None:
    """Raises BuildError for a typed graph of TensorRT's in which something would be dropped; names what and where."""
    found = problems(model, recipe)
    if not found:
        return
    node, problem = found[0]
    others = list(dict.fromkeys(other.name or "" for other, _ in found[1:] if other is not node))
    raise BuildError(
        f"TensorRT would drop or refuse its quantization: {problem}",
        where=f"layer {node.name} ({node.op_type})",
        found=f"likewise {len(others)} more: {', '.join(others[:5])}" if others else "",
        fix="give the layer fp16 in the recipe, make the recipe again, or give the model before it was quantized",
    )


def problems(model: ir.Model, recipe: Recipe) -> list[tuple[ir.Node, str]]:
    """Each node of a typed graph with each thing that TensorRT would drop or refuse of it."""
    return [(node, problem) for node in model.graph for problem in _problems(node, recipe)]


def require_unquantized(model: ir.Model, where: str) -> None:
    """Raises BuildError for a graph that has quantizers already: a recipe is written into an FP32 graph."""
    for node in model.graph:
        if node.op_type in _ELSEWHERE:
            raise BuildError(
                "the graph is quantized already, and a recipe is written into an FP32 graph",
                where=where,
                found=f"{node.op_type} {node.name}",
                fix="give the graph as it was before quantization, with calibration data",
            )


def _problems(node: ir.Node, recipe: Recipe) -> Iterator[str]:
    if node.op_type in _QUANTIZERS:
        yield from _of_scale(node)
        yield from _of_type(node)
        if node.op_type == "QuantizeLinear":
            yield from _of_readers(node)
    elif node.op_type in COMPUTE and not node.domain:
        yield from _of_product(node, recipe.precision_of(node.name or ""))
    elif node.op_type == "Cast" and node.outputs[0].dtype in _FLOAT8:
        yield "it casts to float8, which only a QuantizeLinear may give"


def _of_scale(node: ir.Node) -> Iterator[str]:
    """Rules 1 and 3."""
    scale, zero = constant(_input(node, 1)), _input(node, 2)
    if scale is None:
        yield "its scale is computed at run time"
        return
    smallest = float(ml_dtypes.finfo(scale.dtype).smallest_normal)  # type: ignore[no-untyped-call]
    values = scale.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= smallest).all()):
        yield f"a scale of {values.min():.3g} is no positive normal number of {scale.dtype}"
    if zero is not None:
        points = constant(zero)
        if points is None or points.astype(np.float64).any():
            yield "it has a zero point other than 0"
    if scale.size > 1 and (node.op_type == "QuantizeLinear" or constant(_input(node, 0)) is None):
        yield f"a computed value has {scale.size} scales"


def _of_type(node: ir.Node) -> Iterator[str]:
    """Rule 2."""
    kind = _kind(node)
    if kind not in _TYPES:
        yield f"it is quantized to {kind.name if kind is not None else 'an unknown type'}, not to INT8 or E4M3"


def _of_readers(node: ir.Node) -> Iterator[str]:
    """Rule 4."""
    scale = constant(_input(node, 1))
    for reader, _ in node.outputs[0].uses():
        if reader.op_type != "DequantizeLinear":
            yield f"{reader.name} ({reader.op_type}) reads the integers"
        else:
            other = constant(_input(reader, 1))
            if scale is not None and other is not None and not np.array_equal(scale, other):
                yield f"{reader.name} has another scale"


def _of_product(node: ir.Node, asked: str) -> Iterator[str]:
    """Rules 3, 5, 6 and 8."""
    first, second = (_dequantizer(_input(node, index)) for index in (0, 1))
    kinds = {_TYPES.get(kind) for one in (first, second) if one is not None and (kind := _kind(one)) is not None}
    if (first is None) != (second is None):
        yield f"only its {'weight' if first is None else 'input'} is quantized"
    elif len(kinds) > 1:
        yield "its input and its weight are quantized to different types"
    elif asked in QUANTIZED and kinds != {asked}:
        yield f"the recipe asks for {asked}, and its operands are not quantized to that"
    if _dequantizer(_input(node, 2)) is not None:
        yield "its bias is quantized"
    if second is not None and node.op_type == "ConvTranspose":
        yield "a ConvTranspose cannot be quantized"
    elif second is not None and (weight := constant(_input(second, 0))) is not None:
        yield from _of_axis(node, second, weight.ndim)


def _of_axis(node: ir.Node, dequantizer: ir.Node, rank: int) -> Iterator[str]:
    scale = constant(_input(dequantizer, 1))
    if scale is not None and scale.ndim:
        found = dequantizer.attributes.get("axis")
        axis = (1 if found is None else found.as_int()) % rank
        if axis != output_axis(node, rank):
            yield f"its weight's scales lie along axis {axis}, and its output channels along {output_axis(node, rank)}"


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that a value comes from, if it does."""
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == "DequantizeLinear" else None


def _kind(node: ir.Node) -> ir.DataType | None:
    """The integer (or FP8) type of a quantizer; ONNX's is UINT8 where no zero point tells."""
    if node.op_type == "DequantizeLinear":
        value = _input(node, 0)
        return value.dtype if value is not None else None
    zero = _input(node, 2)
    return ir.DataType.UINT8 if zero is None or not name_of(zero) else zero.dtype
