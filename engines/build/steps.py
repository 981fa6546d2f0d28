"""One precision of a build: its recipe, its simulated error, its engine, and the files they become."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.errors import BuildError
from deploy.golden import Golden
from deploy.manifest import Profile, TensorSpec
from deploy.parity.metrics import measure
from engines.apply.io_types import KEPT, IoTypes, retype
from engines.build.given import Given
from engines.build.given import details as recipe_details
from engines.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir

    from engines.targets.base import Built, Target


@dataclass(frozen=True)
class File:
    """A file of the bundle to be: its name, bytes, and what the manifest will say of it."""

    name: str
    data: bytes
    kind: str
    precision: str | None = None
    target: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Made:
    """Everything made for one precision."""

    recipe: Recipe
    built: Built
    simulated: dict[str, dict[str, float]]
    files: tuple[File, ...]
    command: str
    seconds: float


def errors(
    recipe: Recipe, model: onnx_ir.Model, built: Built, golden: Golden, io: IoTypes = KEPT
) -> dict[str, dict[str, float]]:
    """Per output the metrics on the golden inputs, against the golden outputs.

    Of an engine, which may not run here, by simulating its recipe; of a graph for ONNX Runtime by running that graph.
    Raises BuildError where an output overflows: the engine would give infinity or NaN on these very inputs.
    """
    from engines.sessions import run_bytes
    from engines.simulate import first_overflow, simulate

    if built.kind == "graph":
        outputs = run_bytes(built.data, io.border(golden.inputs), list(golden.outputs))
    else:
        outputs = io.border(simulate(recipe, model, golden.inputs))
    found: dict[str, dict[str, float]] = {}
    for name, expected in golden.outputs.items():
        if outputs[name].dtype.kind == "f" and not np.isfinite(outputs[name]).all():
            where = first_overflow(recipe, model, golden.inputs)
            raise BuildError(
                f"{recipe.precision} overflows: output {name} becomes NaN or infinite on the golden inputs",
                where=f"layer {where}" if where else "",
                fix="give calibration data (--calibration), so that what overflows is kept in FP32; of a loop, "
                "whose steps it does not see, write fp32 for that layer in the recipe (--recipe)",
            )
        metrics = measure(expected, outputs[name])
        values = {name: getattr(metrics, name) for name in ("max_abs", "relative", "rmse", "cosine", "sqnr_db", "top1")}
        found[name] = {name: float(value) for name, value in values.items() if value is not None}
    return found


def make(
    recipe: Recipe,
    model: onnx_ir.Model,
    target: Target,
    profile: Profile,
    golden: Golden,
    inputs: tuple[TensorSpec, ...],
    given: Given | None = None,
    io: IoTypes = KEPT,
) -> Made:
    """Builds one precision for a target and lays out its files."""
    import onnx_ir

    from engines.apply import applied

    start = time.perf_counter()
    precision = recipe.precision
    built = target.build(model, recipe, profile, io)
    recipe = built.recipe
    simulated = errors(recipe, model, built, golden, io)
    name = f"{precision}{built.suffix}" if built.kind == "engine" else f"model.{precision}{built.suffix}"
    details = {**built.details, "layers": layer_counts(built)} if built.layers else built.details
    said = recipe_details(recipe, given)
    files = [File(f"recipe.{precision}.json", recipe.to_json().encode(), "recipe", precision, details=said)]
    command = ""
    if built.kind == "engine":
        graph = f"model.{precision}.onnx"
        typed = applied(recipe, model, target.name)
        retype(typed, io)
        data = onnx_ir.to_proto(typed).SerializeToString()
        files.append(File(graph, data, "graph", precision, target.name))
        command = command_line(target.name, graph, name, inputs, profile)
    files.append(File(name, built.data, built.kind, precision, target.name, details))
    if built.table is not None:
        files.append(File(f"layers.{precision}.json", built.table.to_json().encode(), "layers", precision, target.name))
    return Made(recipe, built, simulated, tuple(files), command, time.perf_counter() - start)


def layer_counts(built: Built) -> dict[str, int]:
    """How many Conv, Gemm and MatMul layers were lowered in each precision."""
    found = [layer.found for layer in built.layers]
    return {precision: found.count(precision) for precision in sorted(set(found))}


def command_line(target: str, graph: str, engine: str, inputs: tuple[TensorSpec, ...], profile: Profile) -> str:
    """The line of NVIDIA's own tool that builds the same engine, run in the bundle's folder."""
    parts = ["tensorrt_rtx"] if target == "tensorrt-rtx" else ["trtexec", "--stronglyTyped", "--skipInference"]
    parts += [f"--onnx={graph}", "--noTF32"]
    if any(isinstance(spec.shape[0], str) for spec in inputs):
        for flag, batch in (("min", profile.minimum), ("opt", profile.optimum), ("max", profile.maximum)):
            shapes = ",".join(f"{s.name}:{'x'.join(map(str, (batch, *s.shape[1:])))}" for s in inputs)
            parts.append(f"--{flag}Shapes={shapes}")
    return " ".join([*parts, f"--saveEngine={engine}"])


def worst(simulated: Mapping[str, Mapping[str, float]]) -> str:
    """The largest simulated error over the outputs, in words."""
    relative = max(metrics["relative"] for metrics in simulated.values())
    sqnr = min(metrics["sqnr_db"] for metrics in simulated.values())
    return f"{relative:.1e} relative, {sqnr:.0f} dB"
