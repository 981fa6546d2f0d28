"""How a recipe is decided from an FP32 graph and the ranges its values were seen in. Each rule names its reason."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deploy.errors import BuildError
from engines.calibration.choice import Choice, uniform
from engines.calibration.estimators import OUTPUT, check_method
from engines.calibration.kept import chosen
from engines.calibration.listener import NOBODY, Listener
from engines.calibration.ranges import Ranges
from engines.calibration.tensorrt_cache import Cache, check_asked, is_cache, read
from engines.graphs import Weights, attribute, compute_nodes, gate_nodes, is_float, load, name_of, weights_of
from engines.kinds import is_keras
from engines.lint import require_unquantized
from engines.ptq.asked import check
from engines.ptq.repair import repaired
from engines.recipe import INT8_MAXIMUM, QUANTIZED, ActivationScale, LayerPrecision, Recipe
from engines.recipe.cached import cached, together
from engines.recipe.fingerprint import fingerprint
from engines.recipe.fp16 import SMALLEST_NORMAL, bodies_high, kept_high
from engines.recipe.scales import activation_scale, dead_channels, layer_scales
from engines.recipe.trained import keep_floating, separate
from engines.recipe.validation import fp8_fallback, unquantizable

SHORT = 16
"""Numbers that a tensor core sums in one step in FP16; in INT8 and FP8 it is twice as many (PTX ISA, mma.m16n8k16 and
.m16n8k32)."""


def decide(
    source: object,
    precision: str,
    calibration: object,
    method: str = "auto",
    cache: Cache | None = None,
    listener: Listener = NOBODY,
    repairs: tuple[str, ...] = (),
) -> Recipe:
    """The recipe of a graph; see `engines.recipe.recipe`. Ranges in place of samples are collected for ``repairs``.

    FP32: everything. FP16: everything but what it cannot hold (`engines.recipe.fp16`). BF16: everything, as it has the
    range of FP32. INT8 and FP8: every Conv, Gemm and MatMul with constant weights but gates and what gains nothing
    (`_gains_nothing`), over FP16 for the rest: what is not INT8 then moves half the bytes, and TensorRT-RTX refuses an
    FP32 Gemm on SM75 (INT8 Gemm with an FP32 output included). ``cache``: gives the scales of INT8, and samples then
    only show what FP16 cannot hold; the path of one can also stand for ``calibration``.
    ``listener`` is told what is done meanwhile.
    """
    check_method(method)
    check_asked(calibration, (precision,), method, None)
    if isinstance(calibration, str | Path) and is_cache(calibration):
        cache, calibration = read(calibration), None
    if is_keras(source):
        from converters import convert

        source = convert(source)
    model = load(source)
    trained = separate(model)
    require_unquantized(model, "graph")
    check(repairs, (precision,), calibration=calibration if cache is None else cache.path, trained=bool(trained))
    if precision in ("fp32", "bf16"):
        layers = [LayerPrecision(node.name or "", precision, "asked for") for node in compute_nodes(model)]
        if precision == "bf16":
            high = bodies_high(model, ir.DataType.BFLOAT16)
            layers += [LayerPrecision(name, "fp32", why) for name, why in high.items()]
        return Recipe(precision, precision, tuple(layers), model=fingerprint(model))
    if precision in QUANTIZED and calibration is None and cache is None and not (trained and precision == "int8"):
        raise BuildError(
            f"{precision.upper()} needs calibration data: real inputs that show the range of every activation",
            where="calibration",
            found="none",
            fix="give some hundred real samples, an .npz with one array per model input: --calibration calibration.npz",
        )
    ranges = None if calibration is None else listener.calibrated(model, calibration, bool(repairs))
    if cache is not None and precision in ("fp16", "int8"):
        _require_untrained(bool(trained), cache)
        scales = cached(model, cache)
        seen = together(scales.ranges(), ranges)
        return _recipe(model, precision, scales.ranges(), scales.choice(), seen=seen)
    if trained and precision == "int8":
        recipe = _recipe(model, precision, trained.ranges(), trained.choice(), seen=ranges)
        return keep_floating(recipe, model, trained)
    if ranges is None or precision not in QUANTIZED:
        return _recipe(model, precision, ranges, Choice())
    if precision == "fp8":  # whose steps are relative: clipping gains nothing
        return _recipe(model, precision, ranges, uniform(ranges, "minmax" if method in ("auto", OUTPUT) else method))

    def decided(graph: ir.Model, seen: Ranges) -> Recipe:
        if method not in ("auto", OUTPUT):
            return _recipe(graph, precision, seen, uniform(seen, method))
        return _recipe(
            graph,
            precision,
            seen,
            chosen(graph, _recipe(graph, precision, seen, Choice()), seen, method, listener.kept),
        )

    recipe = decided(model, ranges)
    return repaired(model, recipe, ranges, decided, repairs, listener.tried) if repairs else recipe


def _require_untrained(trained: bool, cache: Cache) -> None:
    """Raises BuildError where two give scales."""
    if trained:
        raise BuildError(
            "the model's own quantizers give the scales already",
            where=f"calibration {cache.path}",
            found="a model of quantization-aware training",
            fix="leave --calibration out",
        )


def _recipe(
    model: ir.Model, precision: str, ranges: Ranges | None, choice: Choice, seen: Ranges | None = None
) -> Recipe:
    """``ranges`` of what may be quantized; ``seen``: of what calibration saw, where that is more."""
    high = kept_high(model, seen or ranges)
    gates = gate_nodes(model) if precision in QUANTIZED and choice.method != "trained" else frozenset()
    compute = {node.name for node in compute_nodes(model)}
    decided: list[LayerPrecision] = []
    for node in model.graph:
        name = node.name or ""
        if name in high:
            decided.append(LayerPrecision(name, "fp32", high[name]))
        elif name in compute:
            if precision in QUANTIZED and ranges is not None:
                decided.append(_quantized(node, precision, ranges, choice, gates))
            else:
                decided.append(LayerPrecision(name, "fp16", "asked for"))
    activations = () if ranges is None or precision not in QUANTIZED else _scales(model, precision, ranges, choice)
    calibration = {} if ranges is None else ranges.provenance()
    if ranges is not None and precision in QUANTIZED:
        calibration |= {"method": choice.method} | ({"why": choice.why} if choice.why else {})
    return Recipe(precision, "fp16", tuple(decided), activations, calibration, fingerprint(model))


def _quantized(node: ir.Node, precision: str, ranges: Ranges, choice: Choice, gates: frozenset[str]) -> LayerPrecision:
    """INT8 or FP8 for one compute node, or FP16 with the reason why not."""
    name = node.name or ""
    weights = weights_of(node)
    source = node.inputs[0]
    if name in gates:
        return LayerPrecision(name, "fp16", "a gate: small, and its error scales a whole feature map")
    reason = unquantizable(node) or (fp8_fallback(node) if precision == "fp8" else "")
    if reason or weights is None or source is None:
        return LayerPrecision(name, "fp16", reason)
    if name_of(source) not in ranges.minimum:
        unknown = {"trained": "was not quantized in training", "tensorrt": "is not in the calibration cache"}
        missing = unknown.get(choice.method, "is not known")
        return LayerPrecision(name, "fp16", f"the range of its input {source.name} {missing}")
    if choice.method != "trained" and (reason := _gains_nothing(node, weights)):
        return LayerPrecision(name, "fp16", reason)
    amax = choice.amax.get(name_of(source), ranges.amax(name_of(source)))
    why = f"asked for; input within ±{amax:.5g}"
    if choice.method == "trained":
        why = f"quantized in training; input within ±{amax:.5g}"
    elif choice.method == "tensorrt":
        why += ", by the calibration cache"
    elif (estimator := choice.estimators.get(name_of(source), "minmax")) != "minmax":
        why += f" ({estimator}; seen up to {ranges.amax(name_of(source)):.5g})"
    if precision == "int8":
        return _int8(name, weights, amax, why, name_of(source), trained=choice.method == "trained")
    return LayerPrecision(name, "fp8", why, layer_scales(precision, weights), name_of(source))


def _gains_nothing(node: ir.Node, weights: Weights) -> str:
    """Why a product is as fast in FP16; empty where 8 bits gain.

    1. A Gemm or MatMul that sums fewer than `SHORT` numbers or has fewer columns: ModelOpt 0.47 leaves it out too, as
       with Q and DQ TensorRT gets slower (`_MIN_MATMUL_DIM` in modelopt/onnx/quantization/graph_utils.py).
    2. A Conv of one group that sums fewer, as a first one of a single channel: 8 bits save no step, and what quantizes
       its input is a kernel of its own. With those in INT8 our networks' engines move more bytes (0.5 to 26 % by
       TensorRT-RTX's layer tables), and the logits of most err more (up to 1 dB).
    """
    columns = weights.array.shape[weights.axis]
    summed = weights.array.size // columns
    if node.op_type == "Conv" and attribute(node, "group", 1) == 1 and summed < SHORT:
        return f"sums {summed} numbers: with fewer than {SHORT}, 8 bits are no faster"
    if node.op_type in ("Gemm", "MatMul") and min(summed, columns) < SHORT:
        return f"a product of {summed} x {columns} weights: with fewer than {SHORT} a side, 8 bits are no faster"
    return ""


def _int8(name: str, weights: Weights, amax: float, why: str, source: str, *, trained: bool = False) -> LayerPrecision:
    """INT8 with a scale per output channel, or FP16 where FP16 cannot hold one of the scales."""
    scales = layer_scales("int8", weights, on_grid=trained)
    smallest = min(*scales, amax / INT8_MAXIMUM or 1.0)
    if smallest < SMALLEST_NORMAL * (1 - 1e-6):  # nine digits are kept
        return LayerPrecision(name, "fp16", f"a scale of {smallest:.2g} is subnormal in FP16")
    if count := int(dead_channels(weights.array, weights.axis).sum()):
        channels = "1 channel's weights are" if count == 1 else f"the weights of {count} channels are"
        why += f"; {channels} next to nothing: scale 2^-14, FP16's smallest normal number, errs by less than a step"
    return LayerPrecision(name, "int8", why, scales, source)


def _scales(model: ir.Model, precision: str, ranges: Ranges, choice: Choice) -> tuple[ActivationScale, ...]:
    """A scale for every float value whose range was seen, in the graph's order; 1 for a value that is always 0.

    The limits are for ONNX Runtime's unsigned kinds. ``auto`` compares symmetric ones and leaves the limits as seen:
    clipped to its choice, unsigned kinds of twice the steps erred more (mean_spot: 39 to 31 dB).
    """
    values = [*model.graph.inputs, *(output for node in model.graph for output in node.outputs)]
    found = []
    for name in (name_of(value) for value in values if is_float(value) and name_of(value) in ranges.minimum):
        amax = choice.amax.get(name, ranges.amax(name))
        kept = ranges.amax(name) if choice.method in ("auto", OUTPUT) else amax
        limits = max(ranges.minimum[name], -kept), min(ranges.maximum[name], kept)
        estimator = choice.estimators.get(name, "minmax")
        found.append(ActivationScale(name, activation_scale(precision, amax), *limits, estimator))
    return tuple(found)
