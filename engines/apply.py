"""Writes a recipe into an FP32 graph, for one target: types, Casts and quantize/dequantize pairs."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from deploy.errors import BuildError
from engines.recipe import QUANTIZED, Recipe

if TYPE_CHECKING:
    import onnx
    import onnx_ir

TARGETS = ("tensorrt", "tensorrt-rtx", "onnxruntime", "simulate")


def apply(recipe: Recipe, source: object, target: str = "tensorrt") -> onnx.ModelProto:
    """The graph of ``source`` (ModelProto, onnx_ir.Model or path; FP32) with the recipe written into it; a new model.

    ``tensorrt``, ``tensorrt-rtx``: a strongly typed graph with FP32 inputs and outputs, INT8 and FP8 by symmetric Q/DQ.
    ``onnxruntime``: INT8 by unsigned Q/DQ on every edge; FP16 and BF16 layers compute in FP32, as that CPU does anyway.
    ``simulate``: FP32 arithmetic with explicit roundings; run it with `engines.simulate`, every optimization off.
    Raises BuildError for a target or layer that is unknown, and for what the target cannot do.
    """
    import onnx_ir

    return onnx_ir.to_proto(applied(recipe, source, target))


def applied(recipe: Recipe, source: object, target: str) -> onnx_ir.Model:
    """`apply`, as an `onnx_ir.Model`."""
    from engines import casting, edges, placement, roundtrip
    from engines.graphs import load, with_opset

    if target not in TARGETS:
        raise BuildError(
            "unknown target",
            where="target",
            expected=", ".join(TARGETS),
            found=repr(target),
            fix="give one of them",
        )
    model = load(source)
    check(recipe, model)
    if target == "onnxruntime" and any(layer.precision == "fp8" for layer in recipe.layers):
        raise BuildError(
            "ONNX Runtime's CPU has no FP8 kernels", where="target onnxruntime", expected="int8", fix="ask for int8"
        )
    used = {recipe.base, *(layer.precision for layer in recipe.layers)}
    quantized = not used.isdisjoint(QUANTIZED)
    if quantized:
        model = with_opset(model, 19)
    if "bf16" in used and target != "onnxruntime":
        model = with_opset(model, casting.BF16_OPSET)
    if target == "onnxruntime":
        if quantized:
            edges.place_edges(model, recipe)
    else:
        if quantized:
            placement.place(model, recipe, casting.TYPES[recipe.base].numpy())
        if target == "simulate":
            _widen_scales(model)
            roundtrip.round_trip(model, recipe)
        else:
            casting.cast(model, recipe)
    _clean(model)
    return model


def check(recipe: Recipe, model: onnx_ir.Model) -> None:
    """Raises BuildError where the recipe cannot be followed to the letter.

    It names a layer or value twice or one that the graph lacks, leaves a Conv, Gemm or MatMul out, wants INT8 or FP8 of
    another operator, or both of them.
    """
    from engines.graphs import compute_nodes
    from engines.lint import require_unquantized

    _check_once(recipe)
    require_unquantized(model, "graph")
    nodes = {node.name for node in model.graph}
    named = {layer.name for layer in recipe.layers}
    if unknown := sorted(named - nodes):
        raise BuildError(
            "the recipe names a layer that the graph does not have",
            where=f"layer {unknown[0]}",
            found=f"{len(unknown)} such: {', '.join(unknown[:5])}",
            fix="make the recipe from this model, or correct the name",
        )
    if missing := [node.name or "" for node in compute_nodes(model) if node.name not in named]:
        raise BuildError(
            "the recipe does not say in which precision this layer computes",
            where=f"layer {missing[0]}",
            found=f"{len(missing)} such: {', '.join(missing[:5])}",
            fix="make the recipe from this model, or add an entry",
        )
    compute = {node.name for node in compute_nodes(model)}
    quantized = [layer for layer in recipe.layers if layer.precision in QUANTIZED]
    if len({layer.precision for layer in quantized}) > 1:
        raise BuildError(
            "a recipe has scales for INT8 or for FP8, not for both",
            where=", ".join(f"layer {layer.name}" for layer in quantized[:2]),
            found="int8 and fp8",
            fix="give all such layers one of them",
        )
    if other := [layer.name for layer in quantized if layer.name not in compute]:
        raise BuildError(
            "only Conv, Gemm and MatMul can be INT8 or FP8",
            where=f"layer {other[0]}",
            found=next(node.op_type for node in model.graph if node.name == other[0]),
            fix="give the layer fp16 or fp32 in the recipe",
        )


def _check_once(recipe: Recipe) -> None:
    names = [f"layer {layer.name}" for layer in recipe.layers]
    names += [f"value {activation.value}" for activation in recipe.activations]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise BuildError(
            "the recipe has more than one entry for it", where=twice[0], expected="one", fix="leave one of them"
        )


def _widen_scales(model: onnx_ir.Model) -> None:
    """Scales of FP16 or BF16, rounded as they are on the device, as FP32: simulated Q/DQ computes in FP32."""
    import numpy as np
    import onnx_ir

    from engines.graphs import constant
    from engines.placement import initializer

    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[1] is not None:
            scale = node.inputs[1]
            array = constant(scale)
            if array is not None and scale.dtype != onnx_ir.DataType.FLOAT:
                node.replace_input_with(1, initializer(model, f"{scale.name}/float", array.astype(np.float32)))


def _clean(model: onnx_ir.Model) -> None:
    """Removes constants that nothing reads any more."""
    used = {id(value) for node in model.graph.all_nodes() for value in node.inputs if value is not None}
    used |= {id(value) for value in model.graph.outputs}
    for name, value in list(model.graph.initializers.items()):
        if id(value) not in used:
            del model.graph.initializers[name]
