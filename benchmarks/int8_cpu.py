"""Times INT8 against FP32 on ONNX Runtime's CPU, for the reference models, as the target ``onnxruntime`` does.

python -m benchmarks.int8_cpu [NAME ...] [-o benchmarks/results/int8_cpu.md]

Also with ``session.x64quantprecision`` set, which processors without VNNI need (`deploy.backends.saturation`).
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from unittest import mock

import numpy as np

import converters
import engines
from deploy.backends import saturation
from engines.calibration.collect import collect
from engines.targets.onnxruntime import WORTH
from engines.targets.timing import latencies
from examples.reference import reference

NAMES = ("mean_spot_cbam", "mean_spot", "digits", "speech", "fer", "resnet50", "cbam_resnet50")


def main() -> None:
    """Times every model and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/int8_cpu.md"))
    arguments = parser.parse_args()
    lines = [
        "# INT8 on ONNX Runtime's CPU",
        "",
        f"`python -m benchmarks.int8_cpu` on {_processor()}, {os.cpu_count()} cores: medians of interleaved runs, "
        f"batch 1, one thread that never spins. INT8 is built by default where it is {WORTH} times faster. The "
        "last column is INT8 with u8 weights, as processors without VNNI get them.",
        "",
        "| model | FP32 ms | INT8 ms | times faster | by default | INT8 with u8 weights, ms |",
        "|---|---|---|---|---|---|",
    ]
    for name in arguments.names:
        lines.append(_row(name))
        print(lines[-1], flush=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str) -> str:
    entry = reference(name)
    model = converters.convert(converters.load(entry.model()))
    recipe = engines.recipe(model, "int8", collect(model, entry.calibration), calibration_method="minmax")
    with np.load(entry.sample) as archive:
        inputs = {key: archive[key][:1] for key in archive.files}
    graphs = model.SerializeToString(), engines.apply(recipe, model, "onnxruntime").SerializeToString()
    measured = latencies(*graphs, inputs)
    with mock.patch.object(saturation, "_saturates", return_value=True):
        unsigned = latencies(*graphs, inputs).second
    default = "yes" if measured.gain >= WORTH else "no"
    times = f"{measured.first:.3g} | {measured.second:.3g} | {measured.gain:.2f}"
    return f"| {name} | {times} | {default} | {unsigned:.3g} |"


def _processor() -> str:
    """The processor, and whether it has VNNI, where Linux tells."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return "an unknown processor"
    name = next(
        (line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "x86_64"
    )
    return f"{name} ({'with' if 'vnni' in text else 'without'} VNNI)"


if __name__ == "__main__":
    main()
