"""INT8 of this project beside other tools': SQNR of the logits, agreement with FP32, layers that TensorRT-RTX lowers.

python -m benchmarks.peers --modelopt PYTHON --onnxruntime PYTHON [--mct PYTHON] [--models NAME...] [-o FILE]

PYTHON: the interpreter of an environment with that tool (`pip install 'nvidia-modelopt[onnx]'`; `pip install onnxruntime
onnxconverter-common`; `pip install model-compression-toolkit==2.6.0 'tensorflow<2.16' onnx`).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

import numpy as np
import onnx_ir as ir

from benchmarks.held_out import held_out, held_out_file
from benchmarks.peers import ours
from benchmarks.peers.described import describe
from benchmarks.peers.judge import Judged, agreement, judge, judge_logits, logits_of, lowered_as_int8, outputs, sqnr
from benchmarks.peers.tools import INT8, KEPT, run, versions
from deploy.manifest import Profile
from engines.graphs import compute_nodes

MODELS = ("digits", "digits_mobilenet", "digits_efficientnet", "fer", "mean_spot_cbam", "speech")


def main() -> None:
    """Runs what was asked for and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("modelopt", "onnxruntime", "mct"):
        parser.add_argument(f"--{name}", type=Path, metavar="PYTHON", help=f"of the environment with {name}")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/peers.md"))
    arguments = parser.parse_args()
    pythons = {
        name: getattr(arguments, name) for name in ("modelopt", "onnxruntime", "mct") if getattr(arguments, name)
    }
    KEPT.mkdir(parents=True, exist_ok=True)
    rows, same, gains, least = [], [], [], []
    for name in arguments.models:
        found, layers = _model(name, pythons)
        peers = {tool: j for tool, j in found.items() if isinstance(j, Judged) and tool not in ("ours", "same")}
        rows += [_row(name, tool, j, layers) for tool, j in found.items() if tool != "same"]
        best = max((j.sqnr for j in peers.values()), default=float("nan"))
        least.append(found["ours"].sqnr - best)
        modelopt = {tool: j for tool, j in peers.items() if tool.startswith("ModelOpt")}
        if "same" in found and modelopt:
            better = max(modelopt, key=lambda tool: modelopt[tool].sqnr)
            gains.append(found["same"].sqnr - modelopt[better].sqnr)
            same.append(
                f"| {name} | {len(modelopt[better].int8)} of {layers} | {found['same'].sqnr:.1f} "
                f"| {modelopt[better].sqnr:.1f} ({better.split()[-1]}) | {gains[-1]:+.1f} |"
            )
        print("\n".join(rows[-len(found) :]), flush=True)
    lines = [
        "# INT8 beside other tools",
        "",
        "`python -m benchmarks.peers "
        + " ".join(f"--{name} PYTHON" for name in pythons)
        + "`: "
        + "; ".join(versions(python, name) for name, python in pythons.items())
        + ". The same FP32 graphs and calibration data; SQNR of the logits and agreement of the largest logit with FP32 "
        "over 2,000 held-out inputs, every graph run with all optimizations off, in FP32 between Q and DQ (ours with "
        "FP16's rounding there too). INT8: Conv, Gemm and MatMul with both operands quantized; lowered: as INT8 in "
        "TensorRT-RTX's layer table (SM80 and newer).",
        "",
        "| model | tool | INT8 layers | lowered | SQNR dB | top-1 agreement |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        f"Ours over the best of the others: {min(least):+.1f} dB at least, {median(least):+.1f} dB in the median.",
        "",
        "## At ModelOpt's set of INT8 layers",
        "",
        "| model | INT8 layers | ours dB | better ModelOpt dB | difference |",
        "|---|---|---|---|---|",
        *same,
        "",
        f"Median of the differences: {median(gains) if gains else float('nan'):+.1f} dB.",
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(name: str, pythons: dict[str, Path]) -> tuple[dict[str, Judged | str], int]:
    """What each tool's graph is judged as, and how many products the graph has. "same": ours with ModelOpt's layers."""
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
    found: dict[str, Judged | str] = {"ours": _ours(model, ours.default(model, calibration), inputs, exact)}
    for tool in INT8:
        if tool.environment not in pythons:
            continue
        made = run(tool, pythons[tool.environment], path, entry.calibration, held_out_file(name))
        if isinstance(made, str):
            found[tool.name] = made
        else:
            found[tool.name] = (
                judge(ir.load(made), inputs, exact) if made.suffix == ".onnx" else judge_logits(made, exact)
            )
        if tool.name == "ModelOpt max" and isinstance(j := found[tool.name], Judged):
            found["same"] = _ours(model, ours.same_layers(model, calibration, j.int8), inputs, exact, built=False)
    return found, sum(1 for _ in compute_nodes(model))


def _ours(model: ir.Model, recipe: ours.Recipe, inputs: dict, exact: np.ndarray, built: bool = True) -> Judged:
    found = ours.simulated(model, recipe, inputs, logits_of(model))
    layers = frozenset(layer.name for layer in recipe.layers if layer.precision == "int8")
    lowered = lowered_as_int8(ours.typed(model, recipe), Profile()) if built else ""
    return Judged(sqnr(found, exact), agreement(found, exact), layers, lowered)


def _row(model: str, tool: str, judged: Judged | str, layers: int) -> str:
    if isinstance(judged, str):
        return f"| {model} | {tool} | {judged} | | | |"
    return (
        f"| {model} | {tool} | {len(judged.int8)} of {layers} | {judged.lowered} | {judged.sqnr:.1f} "
        f"| {'' if np.isnan(judged.agreement) else f'{judged.agreement:.2%}'} |"
    )


if __name__ == "__main__":
    main()
