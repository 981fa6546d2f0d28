"""Tabulates the bundles of the reference models: FP32 parity, simulated FP16 and INT8, layers as asked, sizes.

make engines && python -m benchmarks.reference_models [-o benchmarks/results/reference_models.md]
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

import deploy
from deploy.manifest import Manifest
from examples.reference import REFERENCES

BUILD = Path("build")


def main() -> None:
    """Replays each bundle's golden pairs and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/reference_models.md"))
    arguments = parser.parse_args()
    rows = [_row(name) for name in REFERENCES if (BUILD / name).is_dir()]
    lines = [
        "# Reference models",
        "",
        f"`make engines && python -m benchmarks.reference_models` on {os.cpu_count()} cores ({platform.machine()}), "
        "no GPU. Errors are the largest of each model's golden pairs, relative to the output's scale; FP32 on ONNX "
        "Runtime's CPU, FP16 and INT8 by the simulated recipe. Layers: Conv, Gemm and MatMul lowered as INT8, of all "
        "that came out as the recipe asks (the rest, gates for the most part, in FP16), in TensorRT-RTX's layer table.",
        "",
        "| model | FP32 against Keras | bound | FP16 | INT8 | INT8 SQNR dB | layers INT8 | engines FP16, INT8 MiB |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _row(name: str) -> str:
    with deploy.Runtime.load(BUILD / name, backend="onnxruntime-cpu") as runtime:
        parity = runtime.selftest()
        assert parity is not None
        manifest = runtime.bundle.manifest
    worst = max(parity.outputs, key=lambda output: output.metrics.relative)
    simulated = {precision: list(manifest.simulated[precision].values()) for precision in ("fp16", "int8")}
    fp16, int8 = (max(output["relative"] for output in simulated[p]) for p in ("fp16", "int8"))
    sqnr = min(output["sqnr_db"] for output in simulated["int8"])
    engine = manifest.find("engine", "int8")
    layers = engine.details["layers"] if engine is not None else {}
    sizes = ", ".join(f"{_mebibytes(manifest, precision):.1f}" for precision in ("fp16", "int8"))
    return (
        f"| {name} | {worst.metrics.relative:.1e} | {worst.threshold.limit:.1e} | {fp16:.1e} | {int8:.1e} | {sqnr:.0f} "
        f"| {layers.get('int8', 0)} of {sum(layers.values())} | {sizes} |"
    )


def _mebibytes(manifest: Manifest, precision: str) -> float:
    engine = manifest.find("engine", precision)
    return engine.bytes / 2**20 if engine is not None else float("nan")


if __name__ == "__main__":
    main()
