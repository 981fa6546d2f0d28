"""The precision recipe: which layer computes in which type, with which scales, and why. A readable, versioned file.

It is made once (`recipe`), may be edited by hand, and is applied to the graph once per target (`engines.apply`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.errors import BuildError
from deploy.files import replacing

SCHEMA = 1
FLOATING = ("fp32", "fp16", "bf16")
"""Precisions that a whole graph can compute in."""
QUANTIZED = ("int8", "fp8")
"""Precisions of products alone, over a base that is floating; a recipe has one of them, with its scales."""
PRECISIONS = (*FLOATING, *QUANTIZED)
INT8_MAXIMUM = 127
"""Symmetric s8 uses -127…127: TensorRT takes no zero point, and -128 would have no positive twin."""
FP8_MAXIMUM = 448
"""Of E4M3 (Micikevicius et al. 2022, "FP8 Formats for Deep Learning"); larger numbers are clipped to it."""


@dataclass(frozen=True)
class LayerPrecision:
    """One node of the graph (named as its Keras layer, or ``layer/inner``) and the precision it computes in.

    ``weight_scales``: for INT8 one positive scale per output channel, for FP8 a single one. ``why``: the rule or
    measurement that decided.
    """

    name: str
    precision: str
    why: str
    weight_scales: tuple[float, ...] = ()


@dataclass(frozen=True)
class ActivationScale:
    """How one value of the graph is quantized.

    ``scale`` = amax / 127 for symmetric s8, amax / 448 for E4M3; ``estimator`` gave amax (`engines.calibration.
    estimators`; minmax: all that was seen). ``minimum`` and ``maximum`` are the range for unsigned kinds.
    """

    value: str
    scale: float
    minimum: float
    maximum: float
    estimator: str = "minmax"


@dataclass(frozen=True)
class Recipe:
    """``precision`` is what was asked for, ``base`` what every node computes in that ``layers`` does not name.

    ``layers`` names every Conv, ConvTranspose, Gemm and MatMul, and each other node kept out of ``base``.
    ``calibration`` says where the ranges come from (``source``, ``samples``, ``method``, and ``why`` it gave these).
    """

    precision: str
    base: str
    layers: tuple[LayerPrecision, ...] = ()
    activations: tuple[ActivationScale, ...] = ()
    calibration: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    def precision_of(self, name: str) -> str:
        """The precision of the node of that name."""
        return self._index().get(name, self.base)

    def _index(self) -> Mapping[str, str]:
        return {layer.name: layer.precision for layer in self.layers}

    def to_json(self) -> str:
        """The file's text: one line per layer and per activation, so that it can be read, edited and compared."""
        head = {"schema": self.schema, "precision": self.precision, "base": self.base, "calibration": self.calibration}
        lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        for key, rows in (("layers", self.layers), ("activations", self.activations)):
            body = ",\n".join(f"  {json.dumps(dataclasses.asdict(row))}" for row in rows)
            lines.append(f" {json.dumps(key)}: [\n{body}\n ]" if body else f" {json.dumps(key)}: []")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def recipe(
    source: object,
    precision: str = "int8",
    calibration: object = None,
    budget: str | None = None,
    calibration_method: str = "auto",
) -> Recipe:
    """Decides the precision of every layer of an FP32 graph.

    ``source``: keras.Model, `onnx.ModelProto` or .onnx path. ``precision``: fp32, fp16, bf16, int8 or fp8.
    ``calibration``: samples (an .npz path or a folder of such, a mapping or an iterable of mappings, by input name);
    required for int8 and fp8, and for fp16 used to keep high what would overflow. ``calibration_method``: minmax,
    percentile (99.99), entropy, mse, or auto: for int8 what errs least at the outputs, else minmax. ``budget`` (an
    accuracy budget to search within) is not available yet and refused. Raises BuildError, or InputError where the
    samples are unusable.
    """
    if budget is not None:
        raise BuildError("an accuracy budget cannot be searched for yet", where="budget", fix="leave it out")
    check_precision(precision)
    from engines.rules import decide

    return decide(source, precision, calibration, calibration_method)


def check_precision(precision: str, where: str = "precision") -> None:
    """Raises BuildError where the precision is not one that recipes know."""
    if precision not in PRECISIONS:
        raise BuildError(
            "unknown precision",
            where=where,
            expected=", ".join(PRECISIONS),
            found=repr(precision),
            fix="give one of them; kerasrt build takes several, separated by commas",
        )


def write_recipe(value: Recipe, path: Path | str) -> None:
    """Writes the recipe as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(value.to_json(), encoding="utf-8")


def read_recipe(path: Path | str) -> Recipe:
    """Reads a recipe and checks each field. Raises BuildError that names the file and the layer that is wrong."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BuildError(
            f"cannot be read as a recipe ({error})",
            where=str(path),
            expected="the JSON of a recipe.*.json in a bundle",
            fix="undo the last edit, or make the recipe again",
        ) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise BuildError(
            "is a recipe of another version",
            where=str(path),
            expected=f"schema {SCHEMA}",
            found=str(found),
            fix="make it again with this version",
        )
    try:
        layers = tuple(
            LayerPrecision(**{**row, "weight_scales": tuple(row.get("weight_scales", ()))}) for row in data["layers"]
        )
        activations = tuple(ActivationScale(**row) for row in data["activations"])
        result = Recipe(**{**data, "layers": layers, "activations": activations})
    except (KeyError, TypeError, AttributeError) as error:
        raise BuildError(
            f"a field is missing or unknown ({error})",
            where=str(path),
            expected="the fields of a recipe.*.json in a bundle",
            fix="undo the last edit, or make the recipe again",
        ) from error
    _check_fields(result, str(path))
    return result


def _check_fields(value: Recipe, where: str) -> None:
    check_precision(value.precision, where)
    check_precision(value.base, where)
    if value.base not in FLOATING:
        raise BuildError(
            "the base must be a floating type",
            where=where,
            expected=", ".join(FLOATING),
            found=value.base,
            fix=f"give the base fp16, and {value.base} to the layers",
        )
    for layer in value.layers:
        check_precision(layer.precision, f"{where}, layer {layer.name}")
        if not all(_is_scale(scale) for scale in layer.weight_scales):
            raise BuildError(
                "a weight scale is not a positive number",
                where=f"{where}, layer {layer.name}",
                found=", ".join(str(scale) for scale in layer.weight_scales if not _is_scale(scale)),
                fix="undo the last edit, or make the recipe again",
            )
    for activation in value.activations:
        if not _is_scale(activation.scale):
            raise BuildError(
                "the scale is not a positive number",
                where=f"{where}, value {activation.value}",
                found=str(activation.scale),
                fix="undo the last edit, or make the recipe again",
            )
        limits = (activation.minimum, activation.maximum)
        if not (all(map(_is_finite, limits)) and limits[0] <= limits[1]):
            raise BuildError(
                "the range is none",
                where=f"{where}, value {activation.value}",
                expected="two numbers, minimum <= maximum",
                found=f"{limits[0]}, {limits[1]}",
                fix="undo the last edit, or make the recipe again",
            )


def _is_scale(scale: object) -> bool:
    return isinstance(scale, int | float) and math.isfinite(scale) and scale > 0


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and math.isfinite(number)
