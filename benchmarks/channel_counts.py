"""Which channel counts TensorRT-RTX lowers in INT8 and FP8, read from its builder's layer table; no GPU is needed.

python -m benchmarks.channel_counts > benchmarks/results/channel_counts.md
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import tensorrt_rtx

import engines
from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.apply import applied
from engines.calibration.collect import collect
from engines.graphs import load
from engines.layer_table import lowered, read_builder
from engines.recipe import Recipe
from engines.recipe.completion import complete
from engines.targets import nvidia
from engines.targets.rtx import CAPABILITIES, UNSUITED
from tests.engines.graphs import Graph

COUNTS = (1, 2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33, 64)
KINDS = ("Conv 3x3", "Conv 1x1", "Gemm")
DEPTHWISE = "depthwise Conv 3x3"


def graph(kind: str, inputs: int) -> Any:
    """A product of ``inputs`` channels for each count of output channels, each with an input of its own."""
    g = Graph()
    size = 1 if kind == "Conv 1x1" else 3
    for outputs in COUNTS:
        if kind == "Gemm":
            g.gemm(f"x{outputs}", f"y{outputs}", inputs, outputs)
        elif kind == DEPTHWISE:
            g.conv(f"x{outputs}", f"y{outputs}", (outputs, 1, size, size), group=outputs)
        else:
            g.conv(f"x{outputs}", f"y{outputs}", (outputs, inputs, size, size))
    for constant in g.constants:  # no scale is so small that the recipe keeps its layer high
        array = onnx.numpy_helper.to_array(constant)
        constant.CopyFrom(onnx.numpy_helper.from_array(np.copysign(np.abs(array) + 0.5, array), constant.name))
    return g.model({f"x{n}": list(shape(kind, inputs, n)) for n in COUNTS}, [f"y{n}" for n in COUNTS])


def shape(kind: str, inputs: int, outputs: int, batch: Any = "batch") -> tuple[Any, ...]:
    """Of the input of one product."""
    if kind == "Gemm":
        return (batch, inputs)
    return (batch, outputs if kind == DEPTHWISE else inputs, 16, 16)


def asked(proto: Any, precision: str, samples: dict[str, Any]) -> Recipe:
    """All products in that precision, whatever the rules would keep high."""
    recipe = engines.recipe(proto, "fp16")
    layers = tuple(dataclasses.replace(layer, precision=precision) for layer in recipe.layers)
    model = load(proto)
    return complete(dataclasses.replace(recipe, precision=precision, layers=layers), model, collect(model, samples))


def found(kind: str, inputs: int, precision: str, capabilities: list[str]) -> dict[int, str]:
    """By output channels, what the layer was lowered as, or the builder's words."""
    proto = graph(kind, inputs)
    random = np.random.default_rng(0)
    samples = {f"x{n}": random.normal(size=shape(kind, inputs, n, 4)).astype(np.float32) for n in COUNTS}
    recipe = asked(proto, precision, samples)
    typed = ir.to_proto(applied(recipe, proto, "tensorrt-rtx")).SerializeToString()
    try:
        built = nvidia.build(tensorrt_rtx, typed, Profile(), capabilities)
    except (nvidia.Failure, BuildError) as error:
        return dict.fromkeys(COUNTS, str(error))
    operator = "Gemm" if kind == "Gemm" else "Conv"
    rows = lowered(read_builder(built.layers), recipe, {f"y{n}": operator for n in COUNTS})
    return {int(row.name[1:]): row.found or "no kernel" for row in rows}


def table(kind: str, precision: str, capabilities: list[str]) -> Iterator[str]:
    yield f"\n### {kind} in {precision.upper()}, for {', '.join(capabilities)}\n"
    rows = []
    for inputs in (1,) if kind == DEPTHWISE else COUNTS:
        other: dict[str, list[str]] = {}
        for outputs, what in found(kind, inputs, precision, capabilities).items():
            if what != precision:
                other.setdefault(what, []).append(str(outputs))
        rows += [f"| {inputs} | {', '.join(outputs)} | {what} |" for what, outputs in other.items()]
    if rows:
        rows = ["| input channels (of a group) | output channels | lowered as |", "|---|---|---|", *rows]
    yield from rows or ["Every pair is lowered as asked."]


def main() -> None:
    print(f"`{(__doc__ or '').splitlines()[2]}`\n")
    print("# Channel counts in INT8 and FP8\n")
    counts = ", ".join(map(str, COUNTS))
    print(
        f"TensorRT-RTX {metadata.version('tensorrt_rtx_cu13')}, built on a machine without a GPU. Products of every\n"
        f"pair of {counts} input and output channels,\n"
        f"{len(COUNTS)} of them in one engine, convolutions of 16x16 values; depthwise ones of as many channels.\n"
        "What each was lowered as is read from the builder's layer table."
    )
    for precision in ("int8", "fp8"):
        able = [name for name in CAPABILITIES if name not in UNSUITED[precision]]
        for kind in (*KINDS, DEPTHWISE):
            print("\n".join(table(kind, precision, able)), flush=True)


if __name__ == "__main__":
    main()
