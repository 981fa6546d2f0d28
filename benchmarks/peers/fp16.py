"""Casts of FP16 graphs: this project's beside other tools' on the same FP32 graphs, inputs and outputs FP32.

python -m benchmarks.peers.fp16 --modelopt PYTHON --onnxruntime PYTHON [-o FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import onnx_ir as ir

import engines
from benchmarks.held_out import held_out_file
from benchmarks.peers import MODELS
from benchmarks.peers.ours import typed
from benchmarks.peers.tools import FP16, KEPT, run, versions
from engines.graphs import COMPUTE


def main() -> None:
    """Runs every tool on every model and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("modelopt", "onnxruntime"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="PYTHON", required=True, help=f"of its environment ({name})"
        )
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/fp16.md"))
    arguments = parser.parse_args()
    pythons = {name: getattr(arguments, name) for name in ("modelopt", "onnxruntime")}
    KEPT.mkdir(parents=True, exist_ok=True)
    rows = [row for name in MODELS for row in _rows(name, pythons)]
    lines = [
        "# Casts of FP16 graphs",
        "",
        "`python -m benchmarks.peers.fp16 --modelopt PYTHON --onnxruntime PYTHON`: "
        + "; ".join(versions(python, name) for name, python in pythons.items())
        + ".\n\nThe same FP32 graphs, FP32 inputs and outputs kept; every tool has its defaults, and ModelOpt AutoCast "
        "and ours have the calibration data. FP16: Conv, Gemm and MatMul that compute in it.",
        "",
        "| model | tool | Cast nodes | FP16 |",
        "|---|---|---|---|",
        *rows,
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(name: str, pythons: dict[str, Path]) -> list[str]:
    import converters
    from converters.convert import convert_model
    from examples.reference import reference

    entry, path = reference(name), KEPT / f"{name}.onnx"
    model = convert_model(converters.load(entry.model())).model
    ir.save(model, path)
    with np.load(entry.calibration) as archive:
        calibration = {key: archive[key] for key in archive.files}
    recipe = engines.recipe(ir.to_proto(model), "fp16", calibration=calibration)
    made: dict[str, ir.Model | str] = {"ours": typed(model, recipe)}
    for tool in FP16:
        result = run(tool, pythons[tool.environment], path, entry.calibration, held_out_file(name))
        made[tool.name] = result if isinstance(result, str) else ir.load(result)
    return [f"| {name} | {tool} | {_counted(graph)} |" for tool, graph in made.items()]


def _counted(graph: ir.Model | str) -> str:
    if isinstance(graph, str):
        return f"{graph} | "
    casts = sum(node.op_type == "Cast" for node in graph.graph.all_nodes())
    products = [node for node in graph.graph.all_nodes() if node.op_type in COMPUTE]
    return f"{casts} | {sum(_in_fp16(node) for node in products)} of {len(products)}"


def _in_fp16(node: ir.Node) -> bool:
    """Whether its weight is FP16, or cast to it."""
    weight = node.inputs[1]
    assert weight is not None
    producer = weight.producer()
    if producer is not None and producer.op_type == "Cast":
        return producer.attributes.get_int("to") == ir.DataType.FLOAT16
    array = weight.const_value
    return array is not None and array.dtype == ir.DataType.FLOAT16


if __name__ == "__main__":
    main()
