"""What `kerasrt recipe` makes of a model, and what it refuses to: the same search as a build's, without the build."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from converters.arguments import parse_shapes
from deploy.errors import BuildError
from engines.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir
    from rich.console import Console

    from engines.calibration.ranges import Ranges
    from engines.search.within import Found


def check(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The repairs to try. Raises BuildError for a budget or repairs where no recipe is made, or beside --pareto."""
    from engines.ptq.asked import check, parse

    given = "a bundle" if arguments.source is None else ""
    if arguments.source is not None and Path(arguments.source).suffix == ".json":
        given = arguments.source
    search = "--pareto" if arguments.pareto else ""
    if arguments.budget is not None:
        _check_budget(arguments.budget, given, search)
        search = f"budget {arguments.budget}"
    wanted = parse(arguments.repairs, search)
    check(wanted, (arguments.precision or "int8",), calibration=arguments.calibration, search=search, given=given)
    return wanted


def _check_budget(budget: str, given: str, search: str) -> None:
    from engines.search.budget import parse

    if given:
        raise BuildError(
            "a budget chooses the precisions, and the recipe has chosen them",
            where=f"budget {budget}",
            found=given,
            fix="give a model, or leave --budget out",
        )
    if search:
        raise BuildError(
            "--pareto shows the recipe of every budget",
            where=f"budget {budget}",
            found=search,
            fix="leave one of the two out",
        )
    parse(budget)


def make(arguments: argparse.Namespace, repairs: tuple[str, ...], console: Console) -> tuple[Recipe, onnx_ir.Model]:
    """The recipe of a model file, written where --output says; and the model's FP32 graph."""
    from engines.build.data import few, unchanging
    from engines.build.progress import Progress
    from engines.calibration.listener import Listener, seen
    from engines.recipe import QUANTIZED, check_precision
    from engines.recipe.file import write_recipe
    from engines.recipe.rules import decide
    from engines.search.decide import decide_within
    from engines.sessions import input_specs

    precision, method = arguments.precision or "int8", arguments.calibration_method
    check_precision(precision)
    model = graph_of(arguments, arguments.source)
    progress = Progress(aside=True)

    def calibrated(ranges: Ranges, said: list[str]) -> None:
        progress.part("calibrate", seen(ranges, said))
        notes = (few(ranges.samples) if precision in QUANTIZED else "", unchanging(ranges, input_specs(model)))
        for note in filter(None, notes):
            progress.warn(note)

    listener = Listener(
        pass_done=calibrated,
        kept=lambda text: progress.part(precision, text),
        tried=lambda text: progress.part("repairs", text),
        bar=lambda: progress.bar("calibrate", None),
    )
    if arguments.budget is None:
        made = decide(model, precision, arguments.calibration, method, repairs=repairs, listener=listener)
    else:
        found = decide_within(model, precision, arguments.calibration, method, arguments.budget, repairs, listener)
        made = found.recipe
        if not arguments.json:
            _say(arguments.budget, found, console)
    if arguments.output:
        write_recipe(made, arguments.output)
    return made, model


def _say(budget: str, found: Found, console: Console) -> None:
    """What a build within a budget says."""
    from rich.text import Text

    console.print(Text(f"budget {budget}: {found.summary()}"))
    for note in found.notes:
        console.print(Text(f"note   {note}"))


def graph_of(arguments: argparse.Namespace, path: str) -> onnx_ir.Model:
    """The FP32 graph of a model file."""
    from engines import graphs

    if Path(path).suffix == ".onnx" and arguments.signature is None:
        return graphs.load(path)
    from converters.convert import convert_model
    from converters.loading import load

    model = load(path, arguments.custom_objects, trust_lambda=arguments.trust_lambda, signature=arguments.signature)
    return graphs.load(convert_model(model, shapes=parse_shapes(arguments.shapes)).model)
