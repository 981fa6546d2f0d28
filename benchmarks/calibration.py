"""Calibrates MEAN_Spot with ever more samples: the memory must not grow with them, and the time in proportion.

python -m benchmarks.calibration [--samples 1000 10000 100000] [-o FILE]

Each count runs in a process of its own, on samples made as they are read: the shipped ones with noise.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    """Runs every count and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--graph", type=Path, default=Path("build/mean_spot/model.onnx"))
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/calibration.md"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)  # a process that measures
    arguments = parser.parse_args()
    if arguments.one:
        print(*measure(arguments.graph, arguments.one))
        return
    rows = []
    for count in arguments.samples:
        command = [sys.executable, "-m", "benchmarks.calibration", "--graph", str(arguments.graph), "--one", str(count)]
        seconds, mebibytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        rows.append(f"| {count:,} | {float(seconds):.1f} | {float(seconds) / count * 1e6:.0f} | {mebibytes} |")
    lines = [
        "# Calibrating MEAN_Spot",
        "",
        f"`python -m examples.build mean_spot && python -m benchmarks.calibration` on {os.cpu_count()} cores "
        f"({platform.machine()}), no GPU; min-max and histograms in one pass.",
        "",
        "| samples | seconds | µs a sample | process's peak memory MiB |",
        "|---|---|---|---|",
        *rows,
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def measure(graph: Path, count: int) -> tuple[float, int]:
    """Seconds of one calibration, and the process's peak memory in MiB."""
    from engines.calibration.collect import collect

    start = time.perf_counter()
    collect(graph, samples(count))
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def samples(count: int) -> Iterator[dict[str, Any]]:
    """The calibration samples of the example, over and over, with noise of a tenth of their deviation."""
    with np.load("examples/mean_spot/calibration.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    rng = np.random.default_rng(0)
    size = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        taken = min(size, count - start)
        yield {
            name: (a[:taken] + rng.normal(0, a.std() / 10, a[:taken].shape)).astype(a.dtype)
            for name, a in arrays.items()
        }


if __name__ == "__main__":
    main()
