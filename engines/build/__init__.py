"""Builds a bundle from a Keras model.

The FP32 graph, recipes, engines, golden pairs, and the manifest that binds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.bundle import CURRENT, Bundle, artifact, open_bundle, set_current, write_manifest
from deploy.files import replacing_folder
from deploy.manifest import Manifest, Profile
from engines.build import options as checked
from engines.build.options import Options

if TYPE_CHECKING:
    from deploy.golden import Golden
    from engines.build.progress import Progress
    from engines.build.source import Source
    from engines.build.steps import Made
    from engines.targets.base import Target


def build(
    source: Any,
    output: Path | str,
    precision: str | Sequence[str] = "fp16,int8",
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
    force: bool = False,
    quiet: bool = False,
) -> Bundle:
    """Builds a bundle into the folder ``output``, whole or not at all, and opens it.

    Args:
        source: a .keras, .h5 or .onnx file, a SavedModel folder, a keras.Model or an `onnx.ModelProto`.
        output: the bundle's folder; an older bundle there is replaced at the end. In a folder ``build``, ``current``
            beside it is made to name it.
        precision: fp32, fp16, int8: which engines to build beside the FP32 graph, which is always there.
        target: tensorrt, tensorrt-rtx, onnxruntime, or ``auto``: the first of them that this machine can build for.
        calibration: real samples for INT8: an .npz path, arrays by input name, or an iterable of such.
        sample: real inputs (an .npz path or arrays by input name) for the golden pairs; else calibration samples.
        profile: batch sizes of the engines.
        shapes: sizes that Keras leaves open, by input name.
        name: the model's name in the manifest; that of the folder when None.
        labels: names of the classes, for a classifier.
        task: classification or regression, where known.
        custom_objects: the model's own classes: name -> class, or ``module:Class`` names.
        trust_lambda: load Lambda layers, which runs code in the file.
        force: build even where the bundle is up to date.
        quiet: print nothing.

    Raises:
        ConversionError, BuildError, InputError: what cannot be converted, built or read.
        ParityError: the FP32 graph does not equal Keras; nothing is written.
    """
    from engines import cache
    from engines.build.progress import Progress
    from engines.targets.base import find

    output = checked.output_folder(output)
    chosen = find(target)
    wanted = checked.precisions(precision)
    left_out = [p for p in wanted if target == "auto" and chosen.name == "onnxruntime" and p == "fp16"]
    asked = Options(
        source=source,
        output=output,
        precisions=tuple(p for p in wanted if p not in left_out),
        target=chosen.name,
        calibration=calibration,
        sample=sample,
        profile=profile,
        shapes=shapes,
        name=name or output.name,
        labels=tuple(labels),
        task=task,
        custom_objects=custom_objects,
        trust_lambda=trust_lambda,
    )
    checked.check(asked)
    data = {"calibration": calibration, "sample": sample}
    key = cache.key(source, data, asked.content(), asked.modules(), asked.classes())
    bundle = None if force else cache.up_to_date(output, key)
    if bundle is not None:
        if not quiet:
            print(f"{output} is up to date")
        _name_current(output)
        return bundle
    progress = Progress(quiet)
    progress.say(f"[bold]{asked.name}[/] -> {output}", f"for {chosen.name} {chosen.version()}")
    for left in left_out:
        progress.warn(f"{left} is left out: ONNX Runtime's CPU does not compute in it (pip install 'kerasrt[rtx]')")
    _build(asked, chosen, key, progress)
    _name_current(output)
    return open_bundle(output)


def _build(asked: Options, target: Target, key: str, progress: Progress) -> None:
    """Everything is made first and written last, so that a failure or Ctrl-C leaves no trace."""
    from engines.build import golden as pairs
    from engines.build import parity
    from engines.build.source import load, require_finite, sensitivity

    with progress.step("convert") as notes:
        source = load(asked)
        notes.append(f"{len(source.model.graph)} nodes")
    with progress.step("reference") as notes:
        given, origin, calibration = pairs.inputs(source.inputs, asked.sample, asked.calibration)
        outputs, layers = source.reference(given, layers=True)
        require_finite(outputs)
        golden = pairs.keep(source.layers, given, outputs, layers)
        changes = sensitivity(source, given, outputs)
        notes += [f"{golden.batch} samples from {origin}", f"{len(golden.layers)} layers kept"]
    if origin == "random":
        progress.warn("no sample, no calibration data: the golden inputs are random and prove little (--sample NPZ)")
    with progress.step("parity") as notes:
        errors = parity.check(source, golden, changes)
        notes.append(f"FP32 graph equals {source.provenance['reference']} within {max(errors.values()):.1e}")
    made = _precisions(asked, target, source, golden, calibration, progress)
    with progress.step("write") as notes:
        manifest = _write(asked, target, source, golden, origin, changes, made, key)
        notes.append(f"{len(manifest.artifacts)} files, {sum(a.bytes for a in manifest.artifacts) / (1 << 20):.1f} MiB")
    _summary(made, progress)


def _precisions(
    asked: Options, target: Target, source: Source, golden: Golden, calibration: Any, progress: Progress
) -> list[Made]:
    from engines.build.steps import make, worst
    from engines.calibration.collect import collect
    from engines.rules import decide

    ranges = None
    if calibration is not None or "fp16" in asked.precisions:
        with progress.step("calibrate") as notes:
            ranges = collect(source.model, golden.inputs if calibration is None else calibration)
            notes.append(f"{ranges.samples} samples, range of {len(ranges.minimum)} values")
    made = []
    for precision in asked.precisions:
        with progress.step(precision) as notes:
            recipe = decide(source.model, precision, ranges)
            made.append(make(recipe, source.model, target, asked.profile, golden, source.inputs))
            notes.append(f"simulated error {worst(made[-1].simulated)}")
        for note in made[-1].built.details.get("notes", ()):
            progress.warn(note)
    return made


def _write(
    asked: Options,
    target: Target,
    source: Source,
    golden: Golden,
    origin: str,
    changes: dict[str, float],
    made: list[Made],
    key: str,
) -> Manifest:
    """Writes the bundle into a folder beside the output, and puts it in its place when it is whole."""
    import onnx_ir

    from deploy.golden import FILE, write_golden
    from engines.build.steps import File
    from engines.cache import versions

    graph = onnx_ir.to_proto(source.model).SerializeToString()
    files = [File("model.onnx", graph, "graph", "fp32"), *(file for one in made for file in one.files)]
    with replacing_folder(asked.output) as folder:
        for file in files:
            (folder / file.name).write_bytes(file.data)
        write_golden(folder, golden)
        artifacts = [artifact(folder, f.name, f.kind, f.precision, f.target, details=f.details) for f in files]
        manifest = Manifest(
            name=asked.name,
            inputs=source.inputs,
            outputs=source.outputs,
            artifacts=(*artifacts, artifact(folder, FILE, "golden")),
            layers=source.layers,
            profile=asked.profile,
            task=asked.task,
            labels=asked.labels,
            sensitivity=changes,
            simulated={one.recipe.precision: one.simulated for one in made},
            versions=versions(),
            provenance={**source.provenance, "golden": origin, "target": f"{target.name} {target.version()}"},
            commands={one.recipe.precision: one.command for one in made if one.command},
            key=key,
        )
        write_manifest(folder, manifest)
    return manifest


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
        low = sum(layer.precision == "int8" for layer in one.recipe.layers)
        counted += f" ({low} int8)" if one.recipe.precision == "int8" else ""
        size = f"{len(one.built.data) / (1 << 20):.1f} MiB"
        rows.append((one.recipe.precision, one.built.kind, size, counted, worst(one.simulated), f"{one.seconds:.1f}"))
    progress.table(("precision", "kind", "size", "layers", "simulated error", "seconds"), rows)
