"""Times whole processes a user waits for: a second `make engine`, an inference, the import of deploy.

make engine && python -m benchmarks.startup [--runs 7] [-o benchmarks/results/startup.md]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "`make engine`, nothing changed": ["make", "engine"],
    "`python -m deploy.infer input.npz`": [sys.executable, "-m", "deploy.infer", "input.npz"],
    '`python -c "import deploy"`': [sys.executable, "-c", "import deploy"],
    '`python -c "import numpy"`, for comparison': [sys.executable, "-c", "import numpy"],
}


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command, after one to warm up")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/startup.md"))
    arguments = parser.parse_args()
    rows = []
    for label, command in COMMANDS.items():
        times = [_seconds(command) for _ in range(arguments.runs + 1)][1:]
        rows.append(f"| {label} | {statistics.median(times):.3f} | {min(times):.3f} | {max(times):.3f} |")
    lines = [
        "# Whole processes",
        "",
        f"`python -m benchmarks.startup --runs {arguments.runs}` on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, with build/current made by `make engine`.",
        "",
        "| command | median s | min s | max s |",
        "|---|---|---|---|",
        *rows,
    ]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
