"""INT8 of this project beside other tools': SQNR of the logits, agreement with FP32, layers that TensorRT-RTX lowers.

python -m benchmarks.peers --modelopt PYTHON --onnxruntime PYTHON [--mct PYTHON] [--models NAME...] [-o FILE]

PYTHON: the interpreter of an environment with that tool (`pip install 'nvidia-modelopt[onnx]'`; `pip install
onnxruntime onnxconverter-common`; `pip install model-compression-toolkit==2.6.0 'tensorflow<2.16'`).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import onnx_ir as ir

from benchmarks.held_out import held_out, held_out_file
from benchmarks.peers import MODELS, ours
from benchmarks.peers.described import describe
from benchmarks.peers.judge import (
    Array,
    Judged,
    agreement,
    judge,
    judge_logits,
    logits_of,
    lowered_as_int8,
    outputs,
    sqnr,
)  # fmt: skip
from benchmarks.peers.tools import INT8, KEPT, run, versions
from deploy.manifest import Profile
from engines.graphs import compute_nodes, products
from engines.recipe import Recipe


@dataclass(frozen=True)
class Compared:
    """One model; ``work``: multiplications of each product by name; ``same``: ours with ModelOpt's INT8 layers.

    ``peers``: by tool; one that failed is what it said.
    """

    model: str
    work: dict[str, float]
    ours: Judged
    same: Judged | None
    peers: dict[str, Judged | str]

    def counted(self, int8: frozenset[str]) -> str:
        """How many of the products are INT8, and of the multiplications where their names are the graph's."""
        text = f"{len(int8)} of {len(self.work)}"
        part = sum(self.work.get(name, 0) for name in int8) / sum(self.work.values())
        return f"{text} ({part:.1%})" if int8 <= self.work.keys() else text

    def judged(self) -> dict[str, Judged]:
        """The peers that gave a graph with an INT8 layer."""
        return {tool: judged for tool, judged in self.peers.items() if isinstance(judged, Judged) and judged.int8}


def main() -> None:
    """Runs what was asked for and writes the tables, after each model anew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("modelopt", "onnxruntime", "mct"):
        parser.add_argument(f"--{name}", type=Path, metavar="PYTHON", help=f"of the environment with {name}")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/peers.md"))
    arguments = parser.parse_args()
    pythons = {name: path for name in ("modelopt", "onnxruntime", "mct") if (path := getattr(arguments, name))}
    KEPT.mkdir(parents=True, exist_ok=True)
    found = []
    for name in arguments.models:
        found.append(_model(name, pythons))
        lines = ["# INT8 beside other tools", "", _introduction(pythons), "", *_table(found), "", *_same_layers(found)]
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(name: str, pythons: dict[str, Path]) -> Compared:
    """Every tool's graph of one model, judged; and ours with ModelOpt's layers."""
    import converters
    from converters.convert import convert_model
    from examples.reference import reference

    entry, path = reference(name), KEPT / f"{name}.onnx"
    keras_model = converters.load(entry.model())
    model = convert_model(keras_model).model
    ir.save(model, path)
    describe(keras_model, path.with_suffix(".keras.npz"))
    with np.load(entry.calibration) as archive:
        calibration = {key: archive[key] for key in archive.files}
    inputs, value = held_out(name), logits_of(model)
    exact = outputs(model.clone(), inputs, value)
    our = _ours(model, ours.default(model, calibration), inputs, exact)
    peers: dict[str, Judged | str] = {}
    for tool in INT8:
        if tool.environment in pythons:
            made = run(tool, pythons[tool.environment], path, entry.calibration, held_out_file(name))
            peers[tool.name] = made if isinstance(made, str) else _peer(made, inputs, exact)
    same = None
    if isinstance(modelopt := peers.get("ModelOpt max"), Judged) and modelopt.int8:
        recipe = ours.same_layers(model, calibration, modelopt.int8)
        same = _ours(model, recipe, inputs, exact, built=False)
    work = {node.name or "": products(node) for node in compute_nodes(model)}
    return Compared(name, work, our, same, peers)


def _peer(made: Path, inputs: Mapping[str, Array], exact: Array) -> Judged:
    if made.suffix != ".onnx":
        return judge_logits(made, exact)
    model = ir.load(made)
    judged = judge(model.clone(), inputs, exact)
    return dataclasses.replace(judged, placed=sqnr(ours.placed(model, inputs), exact))


def _ours(model: ir.Model, recipe: Recipe, inputs: Mapping[str, Array], exact: Array, *, built: bool = True) -> Judged:
    found = ours.simulated(model, recipe, inputs, logits_of(model))
    layers = frozenset(layer.name for layer in recipe.layers if layer.precision == "int8")
    lowered = lowered_as_int8(ours.typed(model, recipe), Profile()) if built else ""
    return Judged(sqnr(found, exact), agreement(found, exact), layers, lowered)


def _introduction(pythons: dict[str, Path]) -> str:
    options = " ".join(f"--{name} PYTHON" for name in pythons)
    packages = "; ".join(versions(python, name) for name, python in pythons.items())
    return (
        f"`python -m benchmarks.peers {options}`: {packages}.\n\n"
        "The same FP32 graphs and calibration data; SQNR of the logits, and how often the largest logit is FP32's, "
        "over 2,000 held-out inputs, every graph run with all optimizations off. Other tools' graphs compute in FP32 "
        "between Q and DQ; ours, and the column *scales in our placement* (the tool's layers and scales read back as a "
        "recipe), round to FP16 there. INT8: Conv, Gemm and MatMul with both operands quantized (and their part of "
        "all multiplications); lowered: as INT8 in "
        "TensorRT-RTX's layer table (SM80 and newer). ONNX Runtime's entropy has 128 bins for 128 steps by default, "
        "and so is its min-max. MCT's steps are powers of two for activations (its default); it has no ONNX graph of "
        "its own here: its Keras model ran, built again in Keras 2.15 with the same weights. "
        "ModelOpt leaves convolutions of few channels alone: where it quantizes additions only, it has no INT8 layer "
        "and is not compared. Read back as a recipe, a layer with a scale that FP16 cannot hold stays FP16 (fer), and "
        "one whose input alone is quantized becomes INT8 (spot of mean_spot_cbam)."
    )


def _table(found: list[Compared]) -> list[str]:
    head = "| model | tool | INT8 layers | lowered | SQNR dB | top-1 agreement | scales in our placement, dB |"
    rows = [_row(each, tool, judged) for each in found for tool, judged in {"ours": each.ours, **each.peers}.items()]
    gains = [each.ours.sqnr - max((j.sqnr for j in each.judged().values()), default=np.nan) for each in found]
    over = f"Ours over the best of the others: {min(gains):+.1f} dB at least, {median(gains):+.1f} dB in the median."
    return [head, "|---" * 7 + "|", *rows, "", over]


def _row(each: Compared, tool: str, judged: Judged | str) -> str:
    if isinstance(judged, str):
        return f"| {each.model} | {tool} | {judged} | | | | |"
    agreed = "" if np.isnan(judged.agreement) else f"{judged.agreement:.2%}"
    placed = "" if judged.placed is None else f"{judged.placed:.1f}"
    counts = f"{each.counted(judged.int8)} | {judged.lowered}"
    return f"| {each.model} | {tool} | {counts} | {judged.sqnr:.1f} | {agreed} | {placed} |"


def _same_layers(found: list[Compared]) -> list[str]:
    rows, gains = [], []
    for each in found:
        modelopt = {tool: j for tool, j in each.judged().items() if tool.startswith("ModelOpt")}
        if each.same is None or not modelopt:
            continue
        better = max(modelopt, key=lambda tool: modelopt[tool].sqnr)
        gains.append(each.same.sqnr - modelopt[better].sqnr)
        figures = f"{each.same.sqnr:.1f} | {modelopt[better].sqnr:.1f} ({better.split()[-1]}) | {gains[-1]:+.1f}"
        rows.append(f"| {each.model} | {each.counted(each.same.int8)} | {figures} |")
    return [
        "## At ModelOpt's set of INT8 layers",
        "",
        "Both in FP32 between Q and DQ.",
        "",
        "| model | INT8 layers | ours dB | better ModelOpt dB | difference |",
        "|---|---|---|---|---|",
        *rows,
        "",
        f"Median of the differences: {median(gains) if gains else np.nan:+.1f} dB.",
    ]


if __name__ == "__main__":
    main()
