"""Repairs of INT8 recipes on inputs held out: what each does alone, and what `--repairs auto` keeps.

python -m benchmarks.repairs [-o benchmarks/results/repairs.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import converters
from benchmarks.held_out import Inputs, held_out
from engines.apply import applied
from engines.calibration.collect import collect
from engines.calibration.ranges import Ranges
from engines.graphs import load
from engines.logits import logits, return_values
from engines.ptq.asked import REPAIRS
from engines.ptq.repair import EXPONENTS, FITS, Pipeline, Plan, repaired
from engines.recipe import Recipe
from engines.recipe.rules import decide
from engines.sessions import session
from examples.reference import reference

MODELS = ("digits", "digits_mobilenet", "digits_efficientnet", "fer", "mean_spot_cbam", "mean_spot", "speech")
BATCH = 100


def main() -> None:
    """Measures each model and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/repairs.md"))
    arguments = parser.parse_args()
    plans = (*(Plan(exponent) for exponent in EXPONENTS), *(Plan(fit=name) for name in FITS))
    heads = ("model", "inputs", "plain", *(str(plan) for plan in plans), "auto", "kept", "samples", "seconds", "+ auto")
    lines = [
        "# Repairs of INT8 recipes",
        "",
        f"`python -m benchmarks.repairs` on {os.cpu_count()} cores ({platform.machine()}), no GPU. SQNR in dB of the "
        "simulated INT8 recipe against FP32, at the logits, on inputs that neither training nor calibration has seen: "
        "plain, with each repair made of all calibration samples whether it helps or not, and with what "
        "`--repairs auto` keeps by two-fold cross-validation on the calibration samples. Seconds of processor time: of "
        "the plain recipe, and how many more `auto` takes.",
        "",
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
    ]
    for name in MODELS:
        lines.append(_row(name, plans))
        print(lines[-1], flush=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str, plans: tuple[Plan, ...]) -> str:
    """One model."""
    entry, inputs = reference(name), held_out(name)
    model = load(converters.convert(converters.load(entry.model())))
    start = time.process_time()
    ranges = collect(model, entry.calibration, repairs=True)
    plain = _decide(model, ranges)
    middle = time.process_time()
    auto = repaired(model, plain, ranges, _decide, REPAIRS)
    end = time.process_time()
    pipeline = Pipeline(model, _decide)
    recipes = [plain, *(pipeline.make(plan, ranges) for plan in plans), auto]
    exact = _outputs(load(model), model, inputs, optimize=True)
    found = [_sqnr(exact, _outputs(applied(one, model, "simulate"), model, inputs)) for one in recipes]
    kept = auto.calibration["repairs"].partition(" kept")[0]
    count = len(next(iter(inputs.values())))
    cells = [name, f"{count:,}", *(f"{value:.1f}" for value in found), kept, ranges.samples]
    return f"| {' | '.join(map(str, cells))} | {middle - start:.1f} | {end - middle:.1f} |"


def _decide(model: ir.Model, ranges: Ranges) -> Recipe:
    return decide(model, "int8", ranges)


def _outputs(graph: ir.Model, model: ir.Model, inputs: Inputs, optimize: bool = False) -> list[NDArray[np.float64]]:
    """The logits of a graph made of ``model``."""
    return_values(graph, [logits(value).value for value in model.graph.outputs])
    run = session(graph, optimize=optimize)
    count = len(next(iter(inputs.values())))
    batches = ({name: array[i : i + BATCH] for name, array in inputs.items()} for i in range(0, count, BATCH))
    found = [run.run(None, batch) for batch in batches]
    return [np.concatenate(arrays).astype(np.float64) for arrays in zip(*found, strict=True)]


def _sqnr(exact: list[NDArray[np.float64]], found: list[NDArray[np.float64]]) -> float:
    """Of the worst output, in dB."""
    pairs = zip(exact, found, strict=True)
    return min(float(10 * np.log10((one**2).sum() / ((other - one) ** 2).sum())) for one, other in pairs)


if __name__ == "__main__":
    main()
