"""The precision recipe: which layer computes in which type, with which scales, and why. A readable, versioned file.

It is made once (by `rules`), may be edited by hand (`file`, `validation`, `completion`), and is applied to the graph
once per target (`engines.apply`). `trained` and `cached` bring scales from elsewhere; `command` is `kerasrt recipe`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.errors import BuildError

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
    measurement that decided. ``input``: the value an INT8 or FP8 layer reads, whose scale is among the activations.
    ``bias`` takes the place of the graph's own in an INT8 layer, one number per output channel; ``rounding``: which way
    its weights were rounded, where not to the nearest integer (`engines.ptq.carried`). ``by_hand``: whether a user
    wrote or changed the entry.
    """

    name: str
    precision: str
    why: str
    weight_scales: tuple[float, ...] = ()
    input: str = ""
    bias: tuple[float, ...] = ()
    rounding: str = ""
    by_hand: bool = False


@dataclass(frozen=True)
class ActivationScale:
    """How one value of the graph is quantized.

    ``scale`` = amax / 127 for symmetric s8, amax / 448 for E4M3; ``estimator`` gave amax (`engines.calibration.
    estimators`; minmax: all that was seen). ``minimum`` and ``maximum`` are the range for unsigned kinds. ``by_hand``:
    whether a user wrote or changed the entry.
    """

    value: str
    scale: float
    minimum: float
    maximum: float
    estimator: str = "minmax"
    by_hand: bool = False


@dataclass(frozen=True)
class Equalized:
    """Factors by which the output channels of one node are divided, while what reads them is multiplied: the outputs of
    the graph stay the same (`engines.ptq.equalize`). Scales and biases of the recipe are those of the graph after it.
    """

    name: str
    factors: tuple[float, ...]
    by_hand: bool = False


Row = LayerPrecision | ActivationScale | Equalized


@dataclass(frozen=True)
class Recipe:
    """``precision`` is what was asked for, ``base`` what every node computes in that ``layers`` does not name.

    ``layers`` names every Conv, ConvTranspose, Gemm and MatMul, and each other node kept out of ``base``.
    ``calibration`` says where the ranges come from (``source``, ``samples``, ``method``, and ``why`` it gave these).
    ``model`` is the fingerprint of the graph it was made from (`engines.recipe.fingerprint`), empty where nobody knows;
    ``by_hand`` whether a user changed anything but the content of an entry. ``equalized``: channels that are scaled
    before all else.
    """

    precision: str
    base: str
    layers: tuple[LayerPrecision, ...] = ()
    activations: tuple[ActivationScale, ...] = ()
    calibration: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    by_hand: bool = False
    equalized: tuple[Equalized, ...] = ()
    schema: int = SCHEMA

    def precision_of(self, name: str) -> str:
        """The precision of the node of that name."""
        return self._index().get(name, self.base)

    def _index(self) -> Mapping[str, str]:
        return {layer.name: layer.precision for layer in self.layers}

    def edits(self) -> tuple[str, ...]:
        """What a user wrote or changed: ``layer NAME``, ``value NAME``, and ``the head``."""
        return (
            *(["the head"] if self.by_hand else []),
            *(f"layer {layer.name}" for layer in self.layers if layer.by_hand),
            *(f"value {activation.value}" for activation in self.activations if activation.by_hand),
            *(f"factors of {row.name}" for row in self.equalized if row.by_hand),
        )

    def to_json(self) -> str:
        """The file's text: one line per layer and per activation, so that it can be read, edited and compared.

        What was not made by hand is sealed: its ``seal`` no longer fits once a line is edited.
        """
        rows: dict[str, tuple[Row, ...]]
        rows = {"layers": self.layers, "activations": self.activations, "equalized": self.equalized}
        head: dict[str, Any] = {"schema": self.schema}
        head |= {name: value for name, value in vars(self).items() if name not in (*rows, "by_hand")}
        if not self.equalized:
            del rows["equalized"]
        names = [name_of_row(row) for group in rows.values() for row in group]
        head |= {"by_hand": True} if self.by_hand else {"seal": seal([head, names])}
        lines = [f" {json.dumps(key)}: {_dumped(value)}" for key, value in head.items()]
        for key, group in rows.items():
            body = ",\n".join(f"  {_dumped(_written(row))}" for row in group)
            lines.append(f" {json.dumps(key)}: [\n{body}\n ]" if body else f" {json.dumps(key)}: []")
        return "{\n" + ",\n".join(lines) + "\n}\n"


def name_of_row(row: Row) -> str:
    """The layer or value that an entry is about."""
    return row.value if isinstance(row, ActivationScale) else row.name


def seal(content: object) -> str:
    """Eight hex digits of a hash of JSON-able content: an edit is noticed, if not one that is meant to deceive."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def fields_of(row: Row) -> dict[str, Any]:
    """The fields of an entry as they are written and sealed; what is empty is left out."""
    content = {key: value for key, value in vars(row).items() if key != "by_hand" and value not in ((), "")}
    long = ("weight_scales", "bias", "rounding")
    return dict(sorted(content.items(), key=lambda item: item[0] in long))  # those last


def _dumped(content: object) -> str:
    return json.dumps(content, ensure_ascii=False)


def _written(row: Row) -> dict[str, Any]:
    content = fields_of(row)
    return {**content, **({"by_hand": True} if row.by_hand else {"seal": seal(content)})}


def recipe(
    source: object,
    precision: str = "int8",
    calibration: object = None,
    budget: str | None = None,
    calibration_method: str = "auto",
    repairs: str | Sequence[str] = (),
) -> Recipe:
    """Decides the precision of every layer of an FP32 graph.

    ``source``: keras.Model, `onnx.ModelProto` or .onnx path. ``precision``: fp32, fp16, bf16, int8 or fp8.
    ``calibration``: samples (an .npz path or a folder of such, a mapping or an iterable of mappings, by input name),
    or for int8 and fp16 the path of a TensorRT calibration cache (`engines.recipe.cached`);
    required for int8 and fp8, and for fp16 used to keep high what would overflow. ``calibration_method``: minmax,
    percentile (99.99), entropy, mse, output (the error behind the layers that read a value), or auto: for int8 what
    errs least at the outputs, else minmax. ``budget``: how far from FP32 the outputs may be (`engines.search.budget`:
    ``top1=0.1pp``, ``sqnr=30dB``, …): as many layers are INT8 or FP8 as it allows, which is searched on half of the
    samples and checked on the others; ``calibration["budget"]`` says what was found. ``repairs``: some of
    ``equalize``, ``rounding``, ``biases``, or ``auto`` for all (`engines.ptq`): each is kept where it lowers the error
    of INT8 on samples held out, and ``calibration["repairs"]`` says what was measured. Raises BuildError, also where no
    recipe keeps the budget, or InputError where the samples are unusable.
    """
    from engines.ptq.asked import check, parse

    check_precision(precision)
    search = "" if budget is None else f"budget {budget}"
    wanted = parse(repairs, search)
    check(wanted, (precision,), calibration=calibration, search=search)
    if budget is not None:
        from engines.search.decide import decide_within

        return decide_within(source, precision, calibration, calibration_method, budget, wanted).recipe
    from engines.recipe.rules import decide

    return decide(source, precision, calibration, calibration_method, repairs=wanted)


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
