"""Converts models file to file and writes the memory that it takes beyond the imports, beside the weights'.

python -m benchmarks.memory [-o benchmarks/results/memory.md]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
MODELS = ("CBAMResNet50", "ResNet152", "VGG16")


def main() -> None:
    """Measures each model in a process of its own and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/memory.md"))
    arguments = parser.parse_args()
    lines = [
        "# Memory of a conversion, file to file",
        "",
        "`python -m benchmarks.memory`: `converters.export(model.keras, model.onnx)` in a process of its own; the "
        "peak of its resident memory less what it has with everything imported and a small model converted.",
        "",
        "| model | weights MiB | more memory MiB | times the weights |",
        "|---|---|---|---|",
    ]
    processes = multiprocessing.get_context("spawn")
    for name in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.keras")
            with processes.Pool(1) as pool:
                weights = pool.apply(_save, (name, path))
            with processes.Pool(1) as pool:
                more = pool.apply(_export, (path,))
        lines.append(f"| {name} | {weights / 2**20:.0f} | {more / 2**20:.0f} | {more / weights:.2f} |")
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _save(name: str, path: Path) -> int:
    import keras

    from examples.cbam_resnet.model import resnet

    model: Any = (
        resnet(50, attention="cbam") if name == "CBAMResNet50" else getattr(keras.applications, name)(weights=None)
    )
    model.save(path)
    return sum(4 * variable.value.shape.num_elements() for variable in model.variables)


def _export(path: Path) -> int:
    import keras

    import converters

    small = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    small_path = path.with_name("small.keras")
    small.save(small_path)
    converters.export(small_path, path.with_name("small.onnx"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    converters.export(path, path.with_suffix(".onnx"))
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main()
