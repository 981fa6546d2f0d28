"""Whether a recipe can be followed to the letter, on a model and for a target: asked before anything is built.

Rules; a BuildError for each fault, with the layer or value:
1. No layer and no value has two entries; the graph has every layer that is named, and every product is named.
2. INT8 and FP8 are for Conv, Gemm and MatMul with a constant weight (`unquantizable` says what that excludes), and a
   recipe has one of the two, which its ``precision`` names: thresholds and files go by it.
3. Such a layer reads the value that its ``input`` says, has a scale for it, and a weight scale for each output channel
   (FP8: one).
4. Every scale that is used is a normal number of the type around it, but on ONNX Runtime, whose scales are FP32.
5. The model is the one that the recipe was made from (`of_model`): scales mean nothing for other weights.
6. The target computes in all its precisions (`for_target`); BF16 begins with Ampere, FP8 with Ada. TensorRT has no FP8
   kernel for groups or for kernels of more than 32 elements (`fp8_fallback`). Channel counts need no rule: TensorRT-RTX
   lowers every pair of 1 to 64 as asked (benchmarks/results/channel_counts.md); where TensorRT finds no kernel, as for
   the first convolution of a ResNet (NVIDIA/TensorRT issue 3987), `engines.targets.ladder` raises the layer.
7. TensorRT drops or refuses nothing of the typed graph (`engines.lint`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import ml_dtypes
import numpy as np
import onnx_ir as ir

from deploy.errors import BuildError
from engines.graphs import attribute, compute_nodes, constant, name_of, weights_of
from engines.recipe import QUANTIZED, LayerPrecision, Recipe
from engines.recipe.fingerprint import fingerprint

if TYPE_CHECKING:
    from engines.targets.base import Target

SMALLEST_AND_LARGEST = {
    "fp32": (2.0**-126, float(np.finfo(np.float32).max)),
    "fp16": (2.0**-14, 65504.0),
    "bf16": (2.0**-126, float(ml_dtypes.finfo(ml_dtypes.bfloat16).max)),  # type: ignore[no-untyped-call]
}
"""Normal numbers of the types that a graph computes in."""


def faults(recipe: Recipe, model: ir.Model, target: str) -> Iterator[BuildError]:
    """Rules 1 to 4."""
    yield from _of_names(recipe, model)
    layers = [layer for layer in recipe.layers if layer.precision in QUANTIZED]
    kinds = dict.fromkeys(layer.precision for layer in layers)
    if len(kinds) > 1:
        named = ", ".join(next(f"layer {one.name}" for one in layers if one.precision == kind) for kind in kinds)
        what = "a recipe has scales for INT8 or for FP8, not for both"
        yield _fault(named, what, "one of them", "int8 and fp8", "give all such layers one of them")
    elif kinds and recipe.precision not in kinds:
        (kind,) = kinds
        what = f"the recipe has {kind.upper()} layers, and its precision is another"
        yield _fault(
            f"layer {layers[0].name}", what, kind, recipe.precision, f'write "precision": "{kind}" at its head'
        )
    scales = {activation.value: activation.scale for activation in recipe.activations}
    nodes = {node.name: node for node in model.graph}
    for layer in layers:
        if layer.name in nodes:
            yield from _of_quantized(layer, nodes[layer.name], scales)
    if target != "onnxruntime":
        used = [name_of(source) for source in _sources(layers, nodes)]
        rows = [(f"layer {layer.name}", layer.weight_scales) for layer in layers]
        rows += [(f"value {value}", (scales[value],)) for value in dict.fromkeys(used) if value in scales]
        yield from _of_scales(recipe.base, rows)


def of_model(recipe: Recipe, model: ir.Model) -> Iterator[BuildError]:
    """Rule 5; a recipe that does not know its model is taken for one of this."""
    if recipe.model in ("", found := fingerprint(model)):
        return
    here = {node.name for node in compute_nodes(model)}
    there = [layer.name for layer in recipe.layers]
    same = sum(name in here for name in there)
    what = "the recipe is of another model"
    if same == len(there):
        what += ": the layers have the same names, and other weights"
    fix = 'make the recipe from this model; or, to use it all the same, take the line "model" out of it'
    yield _fault(
        "", what, f"a recipe of {found}", f"one of {recipe.model}, with {same} of {len(there)} layers here", fix
    )


def for_target(recipe: Recipe, model: ir.Model, target: Target) -> Iterator[BuildError]:
    """Rule 6. ONNX Runtime computes FP16 and BF16 layers in FP32, so that it takes them in any recipe."""
    nodes = {node.name: node for node in compute_nodes(model)}
    for layer in recipe.layers:
        where = f"layer {layer.name}"
        floating = target.name == "onnxruntime" and layer.precision not in QUANTIZED
        if layer.precision not in target.precisions and not floating:
            what = f"{target.name} does not compute in {layer.precision}"
            fix = "give the layer one of these, or choose another --target"
            yield _fault(where, what, ", ".join(target.precisions), layer.precision, fix)
        elif target.name == "tensorrt" and layer.precision == "fp8" and layer.name in nodes:
            reason = fp8_fallback(nodes[layer.name])
            yield from [_fault(where, reason, "", "fp8", "give the layer fp16 in the recipe")] if reason else []


def fp8_fallback(node: ir.Node) -> str:
    """Why TensorRT would compute a convolution that is asked for in FP8 in a higher type; empty where it would not.

    NVIDIA, "TensorRT Release Notes", limitations of 10.13.
    """
    weights = weights_of(node)
    if node.op_type != "Conv" or weights is None:
        return ""
    if attribute(node, "group", 1) > 1:
        return "TensorRT has no FP8 kernel for convolutions in groups"
    if np.prod(weights.array.shape[2:]) > 32:
        return "TensorRT has no FP8 kernel for more than 32 elements"
    return ""


def unquantizable(node: ir.Node) -> str:
    """Why a node cannot be INT8 or FP8; empty where it can."""
    weights = weights_of(node)
    if node.op_type == "ConvTranspose":
        return "TensorRT-RTX builds a quantized ConvTranspose silently as FP16"
    if weights is None or node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return "has no constant weight as its second operand"
    return "has a batched weight" if node.op_type == "MatMul" and weights.array.ndim != 2 else ""


def _of_names(recipe: Recipe, model: ir.Model) -> Iterator[BuildError]:
    """Rule 1."""
    layers = Counter(layer.name for layer in recipe.layers)
    entries = [*(f"layer {name}" for name, count in layers.items() if count > 1)]
    entries += [f"value {name}" for name, n in Counter(a.value for a in recipe.activations).items() if n > 1]
    entries += [f"factors of {name}" for name, n in Counter(row.name for row in recipe.equalized).items() if n > 1]
    for where in entries:
        yield _fault(where, "the recipe has more than one entry for it", "one", "several", "leave one of them")
    nodes = {node.name for node in model.graph}
    for name in layers:
        if name not in nodes:
            what = "the recipe names a layer that the graph does not have"
            yield _fault(f"layer {name}", what, "", "", "make the recipe from this model, or correct the name")
    for node in compute_nodes(model):
        if node.name not in layers:
            what = "the recipe does not say in which precision this layer computes"
            yield _fault(f"layer {node.name}", what, "", "", "make the recipe from this model, or add an entry")


def _of_quantized(layer: LayerPrecision, node: ir.Node, scales: dict[str, float]) -> Iterator[BuildError]:
    """Rules 2 and 3 for one layer."""
    where, kind = f"layer {layer.name}", layer.precision.upper()
    compute = node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and not node.domain
    if not compute:
        what = "only Conv, Gemm and MatMul can be INT8 or FP8"
        yield _fault(where, what, "", node.op_type, "give the layer fp16 or fp32 in the recipe")
        return
    if reason := unquantizable(node):
        what = f"this {node.op_type} cannot be {kind}: {reason}"
        yield _fault(where, what, "", layer.precision, "give the layer fp16 in the recipe")
        return
    weights, source = weights_of(node), name_of(node.inputs[0])  # type: ignore[arg-type]  # none of both is None
    if layer.input not in ("", source):
        what = "the layer does not read the value that its entry names"
        yield _fault(where, what, source, layer.input, "correct the entry's input, or leave it out")
    if source not in scales:
        fix = f"give real samples (--calibration NPZ), an activation entry for {source}, or the layer fp16"
        yield _fault(where, f"{kind}, but the recipe has no scale for its input", source, "none", fix)
    channels = weights.array.shape[weights.axis] if weights is not None and layer.precision == "int8" else 1
    if len(layer.weight_scales) != channels:
        expected = "one" if channels == 1 else f"{channels}, one for each output channel"
        fix = "take the entry's weight_scales out, which are then computed; or give the layer fp16"
        yield _fault(where, "wrong number of weight scales", expected, str(len(layer.weight_scales)), fix)


def _of_scales(base: str, rows: Iterable[tuple[str, tuple[float, ...]]]) -> Iterator[BuildError]:
    """Rule 4."""
    smallest, largest = SMALLEST_AND_LARGEST[base]
    for where, scales in rows:
        wrong = [scale for scale in scales if not smallest * (1 - 1e-6) <= scale <= largest]  # nine digits are kept
        if wrong:
            what = f"a scale is outside the normal numbers of {_TYPES[base]}, in which this graph computes"
            fix = 'give the layer fp16 in the recipe, or the recipe "base": "fp32"'
            yield _fault(where, what, f"{smallest:.3g} to {largest:.5g}", f"{wrong[0]:.3g}", fix)


_TYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def _sources(layers: Iterable[LayerPrecision], nodes: dict[str | None, ir.Node]) -> Iterator[ir.Value]:
    for layer in layers:
        source = nodes[layer.name].inputs[0] if layer.name in nodes and nodes[layer.name].inputs else None
        if source is not None:
            yield source


def _fault(where: str, what: str, expected: str, found: str, fix: str) -> BuildError:
    return BuildError(what, where=where, expected=expected, found=found, fix=fix)
