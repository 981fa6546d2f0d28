"""What a build was asked for, checked before anything slow begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError, InputError
from deploy.gpu import gpus
from deploy.manifest import Profile
from engines.build.data import check_headers
from engines.build.given import Given
from engines.build.output import check_output
from engines.calibration.estimators import check_method
from engines.calibration.tensorrt_cache import check_asked, is_cache, read
from engines.kinds import is_file, is_graph, is_keras
from engines.ptq import asked
from engines.recipe import QUANTIZED, check_precision

if TYPE_CHECKING:
    from engines.targets.base import Target

TASKS = ("", "classification", "regression")

AUTO = "auto"
"""The precision that leaves the choice to the build."""

DEFAULT = ("fp16", "int8")
"""Precisions built where none is asked for, as far as the target can compute in them."""


@dataclass(frozen=True)
class Options:
    """The arguments of `engines.build`, as it uses them."""

    source: Any
    output: Path
    precisions: tuple[str, ...]
    target: str
    calibration: Any
    sample: Any
    profile: Profile
    shapes: Mapping[str, Sequence[int | None]] | None
    name: str
    labels: tuple[str, ...]
    task: str
    custom_objects: Any
    trust_lambda: bool
    signature: str | None = None
    calibration_method: str = "auto"
    given: Given | None = None
    io_dtype: Mapping[str, str] = field(default_factory=dict)
    budget: str = ""
    repairs: tuple[str, ...] = ()
    auto: bool = False
    """Whether the precisions are candidates, of which the cheapest is kept."""
    force: bool = False
    """Nothing that an earlier calibration kept is used."""
    by_default: bool = False
    """Nobody asked for these precisions by name: one that gains nothing is left out."""

    def content(self) -> dict[str, Any]:
        """What of them decides the content of the bundle, beside the model and the data."""
        profile = (self.profile.minimum, self.profile.optimum, self.profile.maximum)
        classes = self.custom_objects if self.modules() else sorted(self.custom_objects or ())
        return {
            "precisions": self.precisions,
            "by_default": self.by_default,
            "target": self.target,
            "profile": profile,
            "shapes": self.shapes,
            "signature": self.signature,
            "name": self.name,
            "labels": self.labels,
            "task": self.task,
            "calibration_method": self.calibration_method,
            "io_dtype": self.io_dtype,
            "recipe": self.given.recipe.to_json() if self.given is not None else None,
            "budget": self.budget,
            "repairs": self.repairs,
            "auto": self.auto,
            "custom_objects": classes,
            "gpus": [str(gpu) for gpu in gpus()] if self.target == "tensorrt" else [],  # its engines are for these
        }

    def uncalibrated(self) -> tuple[str, ...]:
        """INT8 and FP8, where they are to be decided and there is no calibration data; see `needs_calibration`."""
        followed = self.given.precision if self.given is not None else ""
        decided = (name for name in self.precisions if name in QUANTIZED and name != followed)
        return tuple(decided) if self.calibration is None else ()

    def modules(self) -> tuple[str, ...]:
        """The ``module:Class`` names among the custom objects."""
        return () if isinstance(self.custom_objects, Mapping) else tuple(self.custom_objects or ())

    def classes(self) -> tuple[Any, ...]:
        """The classes among the custom objects."""
        return tuple(self.custom_objects.values()) if isinstance(self.custom_objects, Mapping) else ()


def candidates(target: Target, weighed: bool) -> tuple[str, ...]:
    """What ``auto`` chooses from: FP16 (FP32, where the target has no such), and INT8 if it can be ``weighed``."""
    return ("fp16" if "fp16" in target.precisions else "fp32", *(("int8",) if weighed else ()))


def precisions(
    asked: str | Sequence[str] | None, target: Target, auto: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which precisions to build, each once, and which of them are left out because the target cannot compute in them.

    ``asked``: ``"fp16,int8"``, a sequence, or None for `DEFAULT`. What was asked for by name of a target that was
    chosen by name (not ``auto``) is never left out. Raises BuildError for that, for a name that is not known, and where
    nothing is left.
    """
    names = DEFAULT if asked is None else asked.split(",") if isinstance(asked, str) else asked
    wanted = tuple(dict.fromkeys(name.strip().lower() for name in names))
    for name in wanted:
        check_precision(name)
    possible = tuple(name for name in wanted if name in target.precisions)
    left_out = tuple(name for name in wanted if name not in target.precisions)
    if left_out and asked is not None and not (auto and possible):
        raise BuildError(
            f"{target.name} does not compute in {left_out[0]}",
            where="precision",
            expected=", ".join(target.precisions),
            found=", ".join(wanted),
            fix=f"--precision {','.join(possible) or target.precisions[-1]}, or another --target",
        )
    return possible, left_out


def needs_calibration(precision: str, options: Options) -> BuildError:
    """For what is `Options.uncalibrated`: FP8 always, and INT8 unless the model was trained with quantizers."""
    return BuildError(
        f"{precision.upper()} needs calibration data: real inputs that show the range of every activation",
        where="calibration",
        found="none",
        fix="give some hundred real samples, an .npz with one array per model input (--calibration NPZ), "
        f"or leave it out (--precision {','.join(p for p in options.precisions if p not in QUANTIZED) or 'fp32'})",
    )


def check(options: Options) -> None:
    """Raises BuildError or KerasrtError for what could only fail later."""
    _check_source(options.source, options.signature)
    profile = options.profile
    if not 1 <= profile.minimum <= profile.optimum <= profile.maximum:
        raise BuildError(
            "impossible batch sizes",
            where="profile",
            expected="1 <= minimum <= optimum <= maximum",
            found=f"{profile.minimum}, {profile.optimum}, {profile.maximum}",
            fix="--min-batch 1 --opt-batch 1 --max-batch 8, or others in that order",
        )
    if options.task not in TASKS:
        raise BuildError(
            "unknown task",
            where="task",
            expected=" or ".join(TASKS[1:]),
            found=repr(options.task),
            fix="leave it out where it is neither",
        )
    if options.labels and options.task == "regression":
        raise BuildError(
            "labels name the classes of a classifier, and the task is regression",
            where="labels",
            found=", ".join(options.labels[:5]),
            fix="--task classification, or leave the labels out",
        )
    if "fp8" in options.uncalibrated():
        raise needs_calibration("fp8", options)
    check_method(options.calibration_method)
    asked.check(
        options.repairs,
        options.precisions,
        calibration=options.calibration,
        search=f"budget {options.budget}" if options.budget else "",
        given=options.given.origin if options.given is not None else "",
    )
    if options.budget:
        _check_budget(options)
    _check_calibration(options)
    check_headers(options.sample)
    check_output(options.output)


def _check_calibration(options: Options) -> None:
    """A TensorRT calibration cache as a whole, and of samples the headers."""
    if not is_cache(options.calibration):
        check_headers(options.calibration)
        return
    check_asked(options.calibration, options.precisions, options.calibration_method, options.budget)
    read(options.calibration)
    if options.sample is None:
        raise BuildError(
            "a TensorRT calibration cache holds no inputs, and the golden pairs need some",
            where="calibration",
            found=f"{options.calibration} and no sample",
            fix="give a few real inputs: --sample sample.npz",
        )


def _check_budget(options: Options) -> None:
    from engines.search.budget import parse

    if options.given is not None:
        raise BuildError(
            "a budget chooses the precisions, and the recipe has chosen them",
            where=f"budget {options.budget}",
            found=f"recipe {options.given.origin}",
            fix="leave --budget out, or --recipe",
        )
    parse(options.budget)
    if options.calibration is None:
        raise BuildError(
            "a budget needs real samples to be measured on",
            where=f"budget {options.budget}",
            found="no calibration data",
            fix="give some hundred real samples: --calibration calibration.npz",
        )


def _check_source(source: object, signature: str | None) -> None:
    expected = "a .keras, .h5 or .onnx file, or the folder of a SavedModel"
    if not (is_file(source) or is_keras(source) or is_graph(source)):
        raise BuildError(
            "this is no model that can be built",
            where="source",
            expected=f"{expected}; a keras.Model of Keras 3 or an onnx.ModelProto",
            found=f"{type(source).__module__}.{type(source).__qualname__}",
            fix="save a model of another kind as .h5 or .onnx, and build that file",
        )
    if is_file(source) and not Path(source).exists():
        raise InputError("no such file", where=str(source), expected=expected, fix="check the path")
    if signature is not None and not (is_file(source) and Path(source).is_dir()):
        raise BuildError("only a SavedModel has signatures", where=f"--signature {signature}", fix="leave it out")
