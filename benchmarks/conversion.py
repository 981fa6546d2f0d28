"""Converts CBAM-ResNet50 at 224x224x3 and writes how long it took beside Keras's own export, in one process.

python -m benchmarks.conversion [--runs 3] [-o benchmarks/results/conversion.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
DEBRIS = ("Shape", "Gather", "Cast")


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="conversions of ours to take the median of")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/conversion.md"))
    arguments = parser.parse_args()

    import keras
    import onnx

    import converters
    from examples.cbam_resnet.model import resnet

    model = resnet(50, attention="cbam")
    model(keras.ops.zeros((1, *model.input_shape[1:])))  # Keras's export refuses a model that never ran
    times = []
    for _ in range(arguments.runs):
        seconds, graph = _timed(lambda: converters.convert(model))
        times.append(seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/keras.onnx"
        theirs, _ = _timed(lambda: model.export(path, format="onnx", verbose=False))
        exported = onnx.load(path)
    ours = statistics.median(times)
    rows = [
        ("kerasrt, first conversion of the process", times[0], graph),
        (f"kerasrt, median of {arguments.runs}", ours, graph),
        (f"Keras {keras.__version__} `model.export(format='onnx')`", theirs, exported),
    ]
    lines = [
        "# Converting CBAM-ResNet50 (224x224x3)",
        "",
        f"`python -m benchmarks.conversion --runs {arguments.runs}` on {os.cpu_count()} cores ({platform.machine()}), "
        "no GPU, all in one process.",
        "",
        "| exporter | seconds | nodes | Transpose | Shape, Gather, Cast |",
        "|---|---|---|---|---|",
        *(_row(*row) for row in rows),
        "",
        f"Keras's export takes {theirs / ours:.0f} times as long as the median conversion, "
        f"{theirs / times[0]:.0f} times as long as the first.",
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _row(name: str, seconds: float, model: Any) -> str:
    count = Counter(node.op_type for node in model.graph.node)
    debris = " + ".join(str(count[op_type]) for op_type in DEBRIS)
    return f"| {name} | {seconds:.2f} | {sum(count.values())} | {count['Transpose']} | {debris} |"


if __name__ == "__main__":
    main()
