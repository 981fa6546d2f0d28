"""Show a precision recipe, make one of a model without building, or check one that was edited."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.arguments import add_model_arguments
from deploy.errors import BuildError
from engines.recipe import Recipe, making

if TYPE_CHECKING:
    import onnx_ir
    from rich.console import Console

WHOLE_LINES = 1000
"""Width of what is no terminal: a line that another program reads is not broken."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `kerasrt recipe`."""
    add = parser.add_argument
    add("source", nargs="?", help="a recipe.json, or a model to make one of (.keras, .h5, .onnx, a SavedModel folder)")
    add("--bundle", metavar="FOLDER", help="show the recipes of a bundle (default: build/current)")
    add("--precision", help="fp32, fp16, bf16, int8, fp8: which to make (default: int8), or to show of a bundle")
    add(
        "--calibration",
        metavar="NPZ",
        help="to make one: real samples, one array per input; a folder of such files; or a TensorRT calibration cache",
    )
    add(
        "--calibration-method",
        default="auto",
        metavar="METHOD",
        help="minmax, percentile, entropy, mse, output (default: auto)",
    )
    add(
        "--repairs",
        default="",
        metavar="NAMES",
        help="to make one: equalize, rounding, biases, or auto: kept where they lower the held-out error of INT8",
    )
    add(
        "--budget",
        metavar="LIMIT",
        help="how far from FP32 the outputs may be, as for kerasrt build: top1=0.1pp, agreement=99.5%%, kl=0.01, "
        "sqnr=30dB; searched without building",
    )
    add("-o", "--output", metavar="FILE", help="write the recipe that was made; with --model, the completed one")
    add("--model", metavar="FILE", help="check the recipe against this model, and for the targets")
    add(
        "--pareto",
        action="store_true",
        help="show what 8 bits save against what they do to the outputs, by samples of "
        "--calibration, in place of the layers",
    )
    add(
        "--target",
        metavar="NAME",
        help="check for this target alone (default: each that this machine can build for); with --pareto, build each "
        "point for it and show what the builder made of it",
    )
    add_model_arguments(parser)
    add("--json", action="store_true", help="print what the table shows as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Shows what there is, after making or checking it."""
    source = arguments.source
    repairs = making.check(arguments)
    if source is None:
        shown = _of_bundle(arguments)
    elif Path(source).suffix == ".json":
        shown = [_of_file(arguments)]
    else:
        shown = [making.make(arguments, repairs, _console())]
    if arguments.pareto:
        from engines.recipe.curves import show

        show(shown, arguments.calibration, _console(), arguments.json, arguments.target)
        return 0
    if arguments.json:
        from engines.recipe.table import as_json

        found = [as_json(recipe, model) for recipe, model in shown]
        print(json.dumps(found[0] if len(found) == 1 else found, indent=1))
        return 0
    for recipe, model in shown:
        _show(recipe, model)
    return 0


Shown = tuple[Recipe, "onnx_ir.Model | None"]


def _of_bundle(arguments: argparse.Namespace) -> list[Shown]:
    from deploy.bundle import open_bundle
    from engines.recipe.file import read_recipe

    bundle = open_bundle(arguments.bundle)
    found = [artifact for artifact in bundle.manifest.artifacts if artifact.kind == "recipe"]
    wanted = [artifact for artifact in found if arguments.precision in (None, artifact.precision)]
    if not wanted:
        raise BuildError(
            f"has no recipe of {arguments.precision}" if arguments.precision else "has no recipe",
            where=str(bundle.folder),
            expected=", ".join(str(artifact.precision) for artifact in found),
            fix="name one of these, or build the bundle with that precision",
        )
    for artifact in wanted:
        bundle.read(artifact)
    model = _graph_of(bundle)
    return [(read_recipe(bundle.path(artifact)), model) for artifact in wanted]


def _graph_of(bundle: Any) -> onnx_ir.Model | None:
    """The FP32 graph of a bundle."""
    import onnx

    from engines.graphs import load

    graph = bundle.manifest.find("graph", "fp32")
    return None if graph is None else load(onnx.load_from_string(bundle.read(graph)))


def _of_file(arguments: argparse.Namespace) -> Shown:
    """The recipe of a file, with the model it is checked against, or that of the bundle it lies in."""
    from deploy.bundle import bundle_around, open_bundle
    from engines.recipe.file import read_recipe, write_recipe

    recipe = read_recipe(arguments.source)
    if arguments.model is not None:
        model = making.graph_of(arguments, arguments.model)
        recipe = _checked(recipe, model, arguments)
        if arguments.output:
            write_recipe(recipe, arguments.output)
        return recipe, model
    folder = bundle_around(Path(arguments.source))
    return recipe, None if folder is None else _graph_of(open_bundle(folder))


def _checked(recipe: Recipe, model: onnx_ir.Model, arguments: argparse.Namespace) -> Recipe:
    """The recipe with what can be computed. Raises BuildError with all that is wrong for the model and the targets."""
    from engines.calibration.kept import calibrated
    from engines.calibration.tensorrt_cache import is_cache, read
    from engines.recipe.cached import cached
    from engines.recipe.check import of_targets
    from engines.recipe.completion import complete, missing_scales
    from engines.recipe.faults import refuse
    from engines.recipe.validation import of_model

    refuse(of_model(recipe, model), arguments.source)
    ranges = None
    if arguments.calibration is not None and missing_scales(recipe, model):
        cache = read(arguments.calibration) if is_cache(arguments.calibration) else None
        ranges = calibrated(model, arguments.calibration) if cache is None else cached(model, cache).ranges()
    recipe = complete(recipe, model, ranges)
    refuse(of_targets(recipe, model, arguments.target), arguments.source)
    return recipe


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = WHOLE_LINES
    return console


def _show(recipe: Recipe, model: onnx_ir.Model | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from engines.recipe.table import HEADS, rows, shares, summary

    console = _console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    cells = list(rows(recipe, model))
    filled = [index for index in range(len(HEADS)) if any(row[index] for row in cells)]
    for index in filled:
        table.add_column(HEADS[index], no_wrap=HEADS[index] != "why", overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[index]) for index in filled))
    console.print(table)
    console.print(Text(summary(recipe, shares(recipe, model)), style="bold"))
    for name, value in recipe.calibration.items():
        said = json.dumps(value) if isinstance(value, dict | list) else str(value)
        console.print(Text(f"calibration {name}: {said}"))
