"""Converts the models of other people's packages and compares each with Keras.

python -m benchmarks.packages [--package NAME] [--only MODEL,MODEL] [--limit 300] [-o FILE]

The packages are installed beforehand, as the page tells; they are no part of kerasrt's environment. Models are measured
in one process after another: one that ends its process, or takes more than the limit, costs its own row only. Rows take
the place of older ones in a JSON file beside the table, and the table is written from all rows of that file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
from pathlib import Path
from typing import Any

from benchmarks.packages.table import page
from benchmarks.packages.workers import measured
from deploy.files import replacing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
PACKAGES = {
    "keras_hub": "benchmarks.packages.keras_hub_models",
    "keras_cv_attention_models": "benchmarks.packages.kecam_models",
}
"""Name of a package -> the module with its ``MODELS``, how it is installed (``INSTALL``), and the ``ENVIRONMENT`` that
it needs, if any."""


def main() -> None:
    """Measures what is asked for, puts it into the JSON file and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--package", choices=PACKAGES, help="one package, else all")
    parser.add_argument("--only", default="", metavar="MODEL[,MODEL]", help="models, else all")
    parser.add_argument("--limit", type=int, default=300, help="seconds for each model")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/packages.md"))
    arguments = parser.parse_args()
    kept: Path = arguments.output.with_suffix(".json")
    rows: dict[str, dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    modules = {name: importlib.import_module(module) for name, module in PACKAGES.items()}
    for package in [arguments.package] if arguments.package else PACKAGES:
        only = arguments.only.split(",") if arguments.only else [*modules[package].MODELS]
        names = [name for name in modules[package].MODELS if name in only]
        environment = getattr(modules[package], "ENVIRONMENT", {})
        for name, row in measured(PACKAGES[package], names, arguments.limit, environment):
            print(name, row, flush=True)
            rows.setdefault(package, {})[name] = row
            _write(rows, {name: [*module.MODELS] for name, module in modules.items()}, kept)
            with replacing(arguments.output) as path:
                installed = {name: module.INSTALL for name, module in modules.items()}
                path.write_text(page(rows, installed), encoding="utf-8")


def _write(rows: dict[str, dict[str, Any]], order: dict[str, list[str]], path: Path) -> None:
    """Rows as JSON, a line for each model, in the order of the packages' modules."""
    blocks = []
    for package in (name for name in order if name in rows):
        lines = [f"  {json.dumps(x)}: {json.dumps(rows[package][x])}" for x in order[package] if x in rows[package]]
        blocks.append(f"{json.dumps(package)}: {{\n" + ",\n".join(lines) + "\n}")
    with replacing(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
