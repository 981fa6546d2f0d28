"""Writes a recipe into an FP32 graph, for one target: types, Casts and quantize/dequantize pairs."""

from __future__ import annotations

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
    Raises BuildError for a target that is unknown, for what it cannot do, and where the recipe cannot be followed to
    the letter (`engines.recipe.validation`).
    """
    import onnx_ir

    return onnx_ir.to_proto(applied(recipe, source, target))


def applied(recipe: Recipe, source: object, target: str) -> onnx_ir.Model:
    """`apply`, as an `onnx_ir.Model`."""
    from engines.apply import casting, edges, placement, recurrences, roundtrip
    from engines.graphs import load, remove_unread, with_opset
    from engines.lint import require_unquantized
    from engines.ptq.carried import write_repairs
    from engines.recipe.faults import refuse
    from engines.recipe.trained import separate
    from engines.recipe.validation import faults

    if target not in TARGETS:
        raise BuildError(
            "unknown target",
            where="target",
            expected=", ".join(TARGETS),
            found=repr(target),
            fix="give one of them",
        )
    model = load(source)
    separate(model)
    require_unquantized(model, "graph")
    refuse(faults(recipe, model, target))
    write_repairs(model, recipe)
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
        recurrences.spell(model, recipe)
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
    remove_unread(model)
    return model


def _widen_scales(model: onnx_ir.Model) -> None:
    """Scales of FP16 or BF16, rounded as they are on the device, as FP32: simulated Q/DQ computes in FP32."""
    import numpy as np
    import onnx_ir

    from engines.apply.placement import initializer
    from engines.graphs import constant

    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.inputs[1] is not None:
            scale = node.inputs[1]
            array = constant(scale)
            if array is not None and scale.dtype != onnx_ir.DataType.FLOAT:
                node.replace_input_with(1, initializer(model, f"{scale.name}/float", array.astype(np.float32)))
