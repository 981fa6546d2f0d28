"""A recipe as a table: one row a layer, with what decides about it, and the share of each precision."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engines.recipe import FP8_MAXIMUM, INT8_MAXIMUM, QUANTIZED, ActivationScale, LayerPrecision, Recipe

if TYPE_CHECKING:
    import onnx_ir

HEADS = ("layer", "operator", "precision", "reads", "scale", "range", "estimator", "weight scales", "why")


@dataclass(frozen=True)
class Share:
    """How many layers compute in a precision, and which part of all multiplications is theirs (None: not known)."""

    precision: str
    layers: int
    work: float | None


def rows(recipe: Recipe, model: onnx_ir.Model | None = None) -> Iterator[tuple[str, ...]]:
    """A row for each layer of the recipe, cells as in `HEADS`; operators are known where the model is."""
    operators = {} if model is None else {node.name: node.op_type for node in model.graph}
    scales = {activation.value: activation for activation in recipe.activations}
    equalized = {row.name for row in recipe.equalized}
    for layer in recipe.layers:
        quantized = layer.precision in QUANTIZED
        reads = scales.get(layer.input) if quantized else None
        why = "; ".join([f"by hand: {layer.why}" if layer.by_hand else layer.why, *_repairs(layer, equalized)])
        yield (
            layer.name,
            operators.get(layer.name, ""),
            layer.precision,
            layer.input if quantized else "",
            *_activation(layer, reads),
            _weights(layer) if quantized else "",
            f"{why}; the scale of its input by hand" if reads is not None and reads.by_hand else why,
        )


def _repairs(layer: LayerPrecision, equalized: Collection[str]) -> Iterator[str]:
    """What was repaired of a layer."""
    if layer.name in equalized:
        yield "its output's channels equalized"
    if layer.rounding:
        yield "rounding learned"
    if layer.bias:
        yield "bias corrected"


def _activation(layer: LayerPrecision, reads: ActivationScale | None) -> tuple[str, str, str]:
    """Scale, range and estimator. What lies beyond ± scale x the type's largest number is clipped."""
    if reads is None:
        return ("", "", "")
    limit = reads.scale * (FP8_MAXIMUM if layer.precision == "fp8" else INT8_MAXIMUM)
    return (f"{reads.scale:.4g}", f"±{limit:.4g}", reads.estimator)


def _weights(layer: LayerPrecision) -> str:
    scales = layer.weight_scales
    if len(scales) < 2:
        return f"{scales[0]:.3g}" if scales else "to be computed"
    return f"{min(scales):.3g} to {max(scales):.3g}"


def shares(recipe: Recipe, model: onnx_ir.Model | None = None) -> tuple[Share, ...]:
    """Layers that multiply, by precision, the one with most work first; of all that are named, without a model."""
    from engines.graphs import compute_nodes, products

    if model is None:
        found = [(layer.precision, None) for layer in recipe.layers]
        names = list(dict.fromkeys(precision for precision, _ in found))
        return tuple(Share(name, sum(precision == name for precision, _ in found), None) for name in names)
    work = [(recipe.precision_of(node.name or ""), products(node)) for node in compute_nodes(model)]
    total = sum(count for _, count in work) or 1.0
    names = list(dict.fromkeys(precision for precision, _ in work))
    counted = [
        Share(name, sum(p == name for p, _ in work), sum(count for p, count in work if p == name) / total)
        for name in names
    ]
    return tuple(sorted(counted, key=lambda share: -(share.work or 0.0)))


def summary(recipe: Recipe, found: Sequence[Share]) -> str:
    """One line: layers and share of the multiplications in each precision, the base, and what was made by hand."""
    parts = []
    for share in found:
        text = f"{share.layers} {'layer' if share.layers == 1 else 'layers'} {share.precision}"
        parts.append(text if share.work is None else f"{text} ({share.work:.1%} of the multiplications)")
    edits = len(recipe.edits())
    equalized = [f"channels of {len(recipe.equalized)} nodes equalized"] if recipe.equalized else []
    parts += [f"all else {recipe.base}", *equalized] + (
        [f"{edits} {'entry' if edits == 1 else 'entries'} by hand"] if edits else []
    )
    return f"{recipe.precision}: " + ", ".join(parts)


def as_json(recipe: Recipe, model: onnx_ir.Model | None = None) -> dict[str, Any]:
    """What the table shows, for programs: ``layers`` by row and ``shares``."""
    layers = [dict(zip(HEADS, row, strict=True)) for row in rows(recipe, model)]
    found = [vars(share) for share in shares(recipe, model)]
    head = {"precision": recipe.precision, "base": recipe.base, "calibration": recipe.calibration}
    return {**head, "by_hand": list(recipe.edits()), "layers": layers, "shares": found}
