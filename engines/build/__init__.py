"""Builds a bundle from a Keras model.

The FP32 graph, recipes, engines, golden pairs, and the manifest that binds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.bundle import CURRENT, Bundle, open_bundle, set_current
from deploy.manifest import Profile
from engines.apply import io_types
from engines.build import given as given_recipe
from engines.build import options as checked
from engines.build.options import AUTO, Options
from engines.build.output import output_folder
from engines.recipe import QUANTIZED, Recipe

if TYPE_CHECKING:
    from deploy.golden import Golden
    from engines.build.data import Data
    from engines.build.progress import Progress
    from engines.build.source import Source
    from engines.build.steps import Made
    from engines.targets.base import Target


def build(
    source: Any,
    output: Path | str,
    precision: str | Sequence[str] | None = None,
    target: str = "auto",
    calibration: Any = None,
    sample: Any = None,
    profile: Profile = Profile(),  # noqa: B008  (frozen)
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    name: str | None = None,
    labels: Sequence[str] = (),
    task: str = "",
    *,
    custom_objects: Any = None,
    trust_lambda: bool = False,
    signature: str | None = None,
    calibration_method: str = "auto",
    recipe: Recipe | Path | str | None = None,
    io_dtype: str | Mapping[str, str] | None = None,
    budget: str | None = None,
    repairs: str | Sequence[str] = (),
    force: bool = False,
    quiet: bool = False,
) -> Bundle:
    """Builds a bundle into the folder ``output``, whole or not at all, and opens it.

    Args:
        source: a .keras, .h5 or .onnx file, a SavedModel folder, a keras.Model or an `onnx.ModelProto`.
        output: the bundle's folder; an older bundle there is replaced at the end. In a folder ``build``, ``current``
            beside it is made to name it.
        precision: fp32, fp16, bf16, int8, fp8: which engines to build beside the FP32 graph, which is always there;
            fp16 and int8 when None, as far as the target computes in them (INT8 on ONNX Runtime's CPU if it is timed to
            be worth it). ``auto``: of FP16 and, where there is a budget, INT8 within it, the one that costs less on the
            target by its builder's layer table, or on ONNX Runtime by the clock.
        target: tensorrt, tensorrt-rtx, onnxruntime, or ``auto``: the first of them that this machine can build for.
        calibration: real samples for INT8 and FP8: an .npz path or a folder of such, arrays by input name, or an
            iterable of such; or for INT8 the path of a TensorRT calibration cache, whose scales are then taken. INT8 of
            a model trained with quantizers needs none.
        sample: real inputs (an .npz path or arrays by input name) for the golden pairs; else calibration samples.
        profile: batch sizes of the engines.
        shapes: sizes that Keras leaves open, by input name.
        name: the model's name in the manifest; that of the folder when None.
        labels: names of the classes, for a classifier.
        task: classification or regression, where known.
        custom_objects: the model's own classes: name -> class, or ``module:Class`` names.
        trust_lambda: load Lambda layers, which runs code in the file.
        signature: which one of a SavedModel; by default its serving signature, or the only one.
        calibration_method: minmax, percentile, entropy, mse, or output (the error behind the layers that read a
            value); auto compares them at the model's outputs, for INT8.
        recipe: a recipe, or the file of one (perhaps edited by hand), that is followed for its precision; other
            precisions are decided as ever. Scales that it lacks are computed.
        budget: how far from FP32 the outputs may be (`engines.search.budget`: ``top1=0.1pp``, ``sqnr=30dB``, …), with
            labels beside the calibration samples where there are any (`engines.search.samples`).
        repairs: some of ``equalize``, ``rounding``, ``biases``, or ``auto`` for all: what to try on the INT8 recipe
            (`engines.ptq`), kept where it lowers the error on calibration samples held out.
        io_dtype: ``fp16`` (all float inputs and outputs), or by name, as ``image=uint8,scores=fp16``: the types that
            every file of the bundle takes and gives; FP32 by default. Samples for uint8 are bytes too.
        force: build even where the bundle is up to date, and use nothing that an earlier calibration kept.
        quiet: print nothing.

    Raises:
        ConversionError, BuildError, InputError: what cannot be converted, built or read.
        ParityError: the FP32 graph does not equal Keras; nothing is written.
    """
    from engines.build import cache
    from engines.build.progress import Progress
    from engines.ptq.asked import parse
    from engines.targets.base import find

    chosen, given = find(target), given_recipe.read(recipe)
    auto = precision == AUTO
    weighed = calibration is not None and budget is not None
    names = checked.candidates(chosen, weighed) if auto else given_recipe.precisions(precision, given)
    wanted, left_out = checked.precisions(names, chosen, auto=target == "auto")
    folder = output_folder(output)
    asked = Options(
        source=source,
        output=folder,
        precisions=wanted,
        target=chosen.name,
        calibration=calibration,
        sample=sample,
        profile=profile,
        shapes=shapes,
        name=name or folder.name,
        labels=tuple(labels),
        task=task,
        custom_objects=custom_objects,
        trust_lambda=trust_lambda,
        signature=signature,
        calibration_method=calibration_method,
        given=given,
        io_dtype=io_types.parse(io_dtype),
        budget=budget or "",
        repairs=parse(repairs, f"budget {budget}" if budget else ""),
        auto=auto,
        force=force,
        by_default=given is None and (precision is None or auto),
    )
    checked.check(asked)
    data = {"calibration": calibration, "sample": sample}
    key = cache.key(source, data, asked.content(), asked.modules(), asked.classes())
    bundle = None if force else cache.up_to_date(asked.output, key)
    if bundle is None:
        progress = Progress(quiet)
        progress.say(f"[bold]{asked.name}[/] -> {asked.output}", f"for {chosen.name} {chosen.version()}")
        for left in left_out:
            progress.warn(f"{left} is left out: {chosen.name} does not compute in it")
        if auto and len(wanted) == 1:
            progress.warn("auto weighs INT8 only within a budget (--budget top1=0.1pp --calibration NPZ)")
        bundle = _build(asked, chosen, key, progress)
    elif not quiet:
        print(f"{asked.output} is up to date")
    _name_current(asked.output)
    return bundle


def _build(asked: Options, target: Target, key: str, progress: Progress) -> Bundle:
    """Everything is made first and written last, so that a failure or Ctrl-C leaves no trace."""
    from engines.build.precisions import every
    from engines.build.write import write

    source, data = _converted(asked, target, progress)
    golden, changes = _compared(source, data, progress)
    made = every(asked, target, source, golden, data, progress)
    with progress.step("write") as notes:
        manifest = write(asked, target, source, golden, data.origin, changes, made, key)
        notes.append(f"{len(manifest.artifacts)} files, {sum(a.bytes for a in manifest.artifacts) / (1 << 20):.1f} MiB")
    _summary(made, progress)
    return open_bundle(asked.output)


def _converted(asked: Options, target: Target, progress: Progress) -> tuple[Source, Data]:
    """The FP32 graph, and the real inputs: these are held against the model before it is converted."""
    from engines.build.border import bordered
    from engines.build.data import few, read
    from engines.build.source import check_labels, convert, load, require_calibration, require_sizes
    from engines.calibration.tensorrt_cache import is_cache

    with progress.step("convert") as notes:
        opened = load(asked)
        samples = None if is_cache(asked.calibration) else asked.calibration
        data = read(io_types.early(asked.io_dtype, opened.inputs), asked.sample, samples)
        if not target.open_sizes or data.origin == "random":
            require_sizes(opened, {} if data.origin == "random" else data.golden, asked, target)
        source = convert(opened, asked)
        source, data = bordered(source, data, asked.io_dtype)
        check_labels(asked.labels, source.outputs)
        require_calibration(asked, source.model)
        notes.append(f"{len(source.model.graph)} nodes")
        if asked.given is not None:
            asked.given.check(source.model, target)
    for name in (name for name in source.io.changed if source.io.is_bytes(name)):
        progress.warn(f"{name} takes bytes, and the model gets 0 to 255 of them: it must normalize them itself")
    if data.origin == "random":
        progress.warn("no sample, no calibration data: the golden inputs are random and prove little (--sample NPZ)")
    if not set(QUANTIZED).isdisjoint(asked.precisions) and (note := few(data.count)):
        progress.warn(note)
    return source, data


def _compared(source: Source, data: Data, progress: Progress) -> tuple[Golden, dict[str, float]]:
    """The golden pairs, and per output the sensitivity of the reference, once the FP32 graph was found equal to it."""
    from engines.build import golden as pairs
    from engines.build import parity

    with progress.step("reference") as notes:
        outputs, layers = source.reference(data.golden, layers=True)
        parity.require_finite(outputs)
        golden = pairs.keep(source.layers, data.golden, outputs, layers)
        changes = parity.sensitivity(source, data.golden, outputs)
        notes += [f"{golden.batch} samples from {data.origin}", f"{len(golden.layers)} layers kept"]
    with progress.step("parity") as notes:
        errors = parity.check(source, golden, changes)
        notes.append(f"FP32 graph equals {source.provenance['reference']} within {max(errors.values()):.1e}")
    return golden, changes


def _name_current(output: Path) -> None:
    """`build/current` names the bundle built last. Elsewhere than in a folder ``build`` no link is made."""
    if output.absolute().parent.name == CURRENT.parent.name:
        set_current(output)


def _summary(made: list[Made], progress: Progress) -> None:
    from engines.build.steps import worst

    rows = []
    for one in made:
        asked = sum(layer.asked == layer.found for layer in one.built.layers)
        counted = f"{asked} of {len(one.built.layers)}" if one.built.layers else "-"
        precision = one.recipe.precision
        low = sum(layer.precision == precision for layer in one.recipe.layers)
        counted += f" ({low} {precision})" if precision in QUANTIZED else ""
        size = f"{len(one.built.data) / (1 << 20):.1f} MiB"
        rows.append((one.recipe.precision, one.built.kind, size, counted, worst(one.simulated), f"{one.seconds:.1f}"))
    progress.table(("precision", "kind", "size", "layers", "simulated error", "seconds"), rows)
