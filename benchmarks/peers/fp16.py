"""Casts of FP16 graphs, and what the graphs are worth: this project's beside other tools' on the same FP32 graphs.

python -m benchmarks.peers.fp16 --modelopt PYTHON --onnxruntime PYTHON [--models NAME...] [-o FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import engines
from benchmarks.held_out import held_out, held_out_file
from benchmarks.peers import MODELS
from benchmarks.peers.fp16_nets import NETS, made
from benchmarks.peers.judge import sqnr
from benchmarks.peers.ours import typed
from benchmarks.peers.rounded import rounded
from benchmarks.peers.tools import FP16, KEPT, Tool, run, versions
from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.apply.io_types import parse, resolve, retype
from engines.graphs import COMPUTE
from engines.sessions import input_specs, output_specs, session

Samples = Mapping[str, NDArray[Any]]
BATCH = 256
CAPABILITY = "SM86"
USEFUL = 20.0
"""SQNR in dB below which a graph is called wrong: the error is a tenth of the outputs."""


@dataclass(frozen=True)
class Case:
    """One FP32 graph, its calibration data (in a file too) and the inputs that the results are judged on."""

    name: str
    model: ir.Model
    file: Path
    calibration: Path
    inputs: Samples
    inputs_file: Path


@dataclass(frozen=True)
class Judged:
    """``casts``, and with FP16 inputs and outputs; ``fp16``: products that compute in it, in words.

    ``said``: why the graph is of no use, else empty; ``sqnr`` in dB at the worst output, ``agreement`` of decisions;
    ``margin``: where they differ, how far apart FP32 has the two likeliest classes at most.
    """

    casts: int
    casts_io: int | None
    fp16: str
    said: str
    sqnr: float = float("nan")
    agreement: float = float("nan")
    margin: float = 0.0


def main() -> None:
    """Runs every tool on every graph and writes the table, after each graph anew."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("modelopt", "onnxruntime"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="PYTHON", required=True, help=f"of its environment ({name})"
        )
    names = (*MODELS, *NETS)
    parser.add_argument("--models", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/fp16.md"))
    arguments = parser.parse_args()
    pythons = {name: getattr(arguments, name) for name in ("modelopt", "onnxruntime")}
    KEPT.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, Judged | str]] = {}
    for name in arguments.models:
        found[name] = _all(_reference(name) if name in MODELS else _net(name), pythons)
        arguments.output.write_text("\n".join(_page(found, pythons)) + "\n", encoding="utf-8")


def _reference(name: str) -> Case:
    import converters
    from converters.convert import convert_model
    from examples.reference import reference

    entry, path = reference(name), KEPT / f"{name}.onnx"
    model = convert_model(converters.load(entry.model())).model
    ir.save(model, path)
    return Case(name, model, path, entry.calibration, held_out(name), held_out_file(name))


def _net(name: str) -> Case:
    from converters.convert import convert_model

    keras_model, samples = made(name)
    model, path, data = convert_model(keras_model).model, KEPT / f"{name}.onnx", KEPT / f"{name}.npz"
    ir.save(model, path)
    np.savez(data, **samples)  # type: ignore[arg-type]  # numpy's stub takes the second argument for allow_pickle
    return Case(name, model, path, data, samples, data)


def _all(case: Case, pythons: Mapping[str, Path]) -> dict[str, Judged | str]:
    exact = _outputs(case.model.clone(), case.inputs)
    results: dict[str, Judged | str] = {"ours": _judged(*_ours(case), case, exact)}
    for tool in FP16:
        kept, both = (_run(one, pythons, case) for one in (tool, dataclasses.replace(tool, method=f"{tool.method}-io")))
        if isinstance(kept, str):
            results[tool.name] = kept
        else:
            results[tool.name] = _judged(kept, None if isinstance(both, str) else both, case, exact)
    return results


def _ours(case: Case) -> tuple[ir.Model, ir.Model]:
    with np.load(case.calibration) as archive:
        calibration = {key: archive[key] for key in archive.files}
    recipe = engines.recipe(ir.to_proto(case.model), "fp16", calibration=calibration)
    kept, both = typed(case.model, recipe), typed(case.model, recipe)
    retype(both, resolve(parse("fp16"), input_specs(case.model), output_specs(case.model)))
    return kept, both


def _run(tool: Tool, pythons: Mapping[str, Path], case: Case) -> ir.Model | str:
    result = run(tool, pythons[tool.environment], case.file, case.calibration, case.inputs_file)
    return result if isinstance(result, str) else ir.load(result)


def _judged(kept: ir.Model, both: ir.Model | None, case: Case, exact: list[NDArray[Any]]) -> Judged:
    counts = [None if graph is None else _casts(graph) for graph in (kept, both)]
    products = [node for node in kept.graph.all_nodes() if node.op_type in COMPUTE]
    fp16 = f"{sum(_in_fp16(node) for node in products)} of {len(products)}"
    judged = Judged(counts[0] or 0, counts[1], fp16, "")
    try:
        found = _outputs(rounded(kept), case.inputs)
    except Exception as error:  # the graph's types contradict one another
        return dataclasses.replace(judged, said=f"invalid: {_first(error)}")
    if not all(np.isfinite(one).all() for one in found):
        return dataclasses.replace(judged, said="NaN or infinite")
    decisions = [(e, f) for e, f in zip(exact, found, strict=True) if e.ndim == 2 and e.shape[1] > 1]
    agreed = min((float((e.argmax(-1) == f.argmax(-1)).mean()) for e, f in decisions), default=float("nan"))
    worst = min(sqnr(f.astype(np.float64), e.astype(np.float64)) for e, f in zip(exact, found, strict=True))
    said = _refused(kept) if worst >= USEFUL else "wrong"
    margin = max((_margin(e, f) for e, f in decisions), default=0.0)
    return dataclasses.replace(judged, said=said, sqnr=worst, agreement=agreed, margin=margin)


def _margin(exact: NDArray[Any], found: NDArray[Any]) -> float:
    """The largest distance between the two likeliest classes where the decisions differ."""
    best = np.sort(exact[exact.argmax(-1) != found.argmax(-1)], axis=-1)
    return float((best[:, -1] - best[:, -2]).max(initial=0.0))


def _outputs(model: ir.Model, inputs: Samples) -> list[NDArray[Any]]:
    run, count = session(model, optimize=False), len(next(iter(inputs.values())))
    parts = [run.run(None, {n: a[i : i + BATCH] for n, a in inputs.items()}) for i in range(0, count, BATCH)]
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _refused(graph: ir.Model) -> str:
    """What TensorRT-RTX says where it does not build the graph."""
    import tensorrt_rtx

    from engines.targets import nvidia

    try:
        nvidia.build(tensorrt_rtx, ir.to_proto(graph).SerializeToString(), Profile(), [CAPABILITY])
    except (BuildError, nvidia.Failure) as error:
        return f"not built: {_first(error)}"
    return ""


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:120].replace("|", "/")


def _casts(graph: ir.Model) -> int:
    return sum(node.op_type == "Cast" for node in graph.graph.all_nodes())


def _in_fp16(node: ir.Node) -> bool:
    """Whether its weight is FP16, or cast to it."""
    weight = node.inputs[1]
    assert weight is not None
    producer = weight.producer()
    if producer is not None and producer.op_type == "Cast":
        return producer.attributes.get_int("to") == ir.DataType.FLOAT16
    return weight.dtype == ir.DataType.FLOAT16


def _page(found: Mapping[str, Mapping[str, Judged | str]], pythons: Mapping[str, Path]) -> list[str]:
    packages = "; ".join(versions(python, name) for name, python in pythons.items())
    return [
        "# Casts of FP16 graphs",
        "",
        f"`python -m benchmarks.peers.fp16 --modelopt PYTHON --onnxruntime PYTHON`: {packages}.",
        "",
        "The same FP32 graphs; every tool has its defaults, and ModelOpt AutoCast and ours have the calibration data. "
        "*Casts*: in the final graph, with inputs and outputs kept FP32 and with both FP16. *FP16*: Conv, Gemm and "
        "MatMul that compute in it. SQNR (worst output) and top-1 agreement with FP32 are of the typed graph with "
        "every rounding to FP16 written out (`benchmarks.peers.rounded`), for all three alike: of the trained models "
        "on 2,000 held-out inputs, of the small nets (`benchmarks.peers.fp16_nets`, random weights) on their 64 "
        f"samples. Where TensorRT-RTX does not build a graph ({CAPABILITY}) it is said.",
        "",
        "| graph | tool | Casts | with FP16 borders | FP16 | SQNR dB | top-1 agreement | |",
        "|---" * 8 + "|",
        *(_row(name, tool, one) for name, tools in found.items() for tool, one in tools.items()),
        "",
        *(_compared(found, tool.name) for tool in FP16),
        *_ties(found),
    ]


def _ties(found: Mapping[str, Mapping[str, Judged | str]]) -> list[str]:
    """How close a call our decisions that differ are, on the graph with most of them."""
    ours = {name: one for name, tools in found.items() if isinstance(one := tools["ours"], Judged)}
    name, worst = min(ours.items(), key=lambda item: np.nan_to_num(item[1].agreement, nan=1.0))
    if not worst.margin:
        return []
    return [
        f"- Decisions that differ are ties: on {name}, with most of them, FP32 has the two likeliest classes of each "
        f"within {worst.margin:.1e} of each other."
    ]


def _row(name: str, tool: str, judged: Judged | str) -> str:
    if isinstance(judged, str):
        return f"| {name} | {tool} | | | | | | {judged} |"
    figures = "" if np.isnan(judged.sqnr) else f"{judged.sqnr:.1f}"
    agreed = "" if np.isnan(judged.agreement) else f"{judged.agreement:.2%}"
    both = "" if judged.casts_io is None else judged.casts_io
    return f"| {name} | {tool} | {judged.casts} | {both} | {judged.fp16} | {figures} | {agreed} | {judged.said} |"


def _compared(found: Mapping[str, Mapping[str, Judged | str]], tool: str) -> str:
    """Ours against one tool, on the graphs that it makes and that are of use."""
    pairs = {
        name: (ours.casts, other.casts)
        for name, tools in found.items()
        if isinstance(ours := tools["ours"], Judged) and isinstance(other := tools[tool], Judged) and not other.said
    }
    fewer = [name for name, (ours, other) in pairs.items() if ours < other]
    more = [name for name, (ours, other) in pairs.items() if ours > other]
    useless = [name for name in found if name not in pairs]
    text = f"- Against {tool}: fewer Casts on {_list(fewer)}; as many on {len(pairs) - len(fewer) - len(more)} graphs; "
    return text + f"more on {_list(more)}; its graph is of no use (the last column says why) on {_list(useless)}."


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"


if __name__ == "__main__":
    main()
