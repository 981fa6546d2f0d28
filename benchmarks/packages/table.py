"""The page of benchmarks.packages, made of nothing but the rows it measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from benchmarks.packages.measuring import BATCHES, COUNTED

Row = Mapping[str, Any]
OUTCOMES = ("equal", "equal with --shapes", "refused", "different", "failed")


def outcome(row: Row) -> str:
    """One of OUTCOMES."""
    if "failure" in row:
        return "failed"
    if "error" not in row:
        return "refused"
    if row["error"] > row["bound"]:
        return "different"
    return "equal with --shapes" if row.get("sizes") else "equal"


def page(rows: Mapping[str, Mapping[str, Row]], installed: Mapping[str, str]) -> str:
    """What the columns are; for each package how it is installed, its outcomes, a row for each model, what failed."""
    first, second = BATCHES
    lines = [
        "# Models of other people's packages",
        "",
        "`python -m benchmarks.packages` on a machine without a GPU: small configurations with random weights (no bias "
        f"at zero, BatchNormalization statistics of one training-mode pass), the direct path, batches of {first} and "
        f"{second} compared with Keras. The error is that of the worst output, relative to its largest number; the "
        "bound is max(1e-5, 10x Keras's own sensitivity to ±2e-7 changes of the inputs, or of the weights where all "
        "inputs are integers). Seconds are of processor time and rise with the machine's load. Models keep the unknown "
        "sizes that they come with (images, text); 'with --shapes' says that one is converted with its sizes given, "
        "and below the table what it was refused with without.",
    ]
    for package, found in rows.items():
        counts = Counter(outcome(row) for row in found.values())
        lines += [
            "",
            f"## {package}",
            "",
            f"`{installed[package]}`",
            "",
            f"{len(found)} models: " + ", ".join(f"{counts[name]} {name}" for name in OUTCOMES if counts[name]) + ".",
            "",
            f"| model | outcome | nodes | {' | '.join(COUNTED)} | seconds | error | bound |",
            "|" + "---|" * (6 + len(COUNTED)),
            *(_line(name, row) for name, row in found.items()),
        ]
        reasons = [(name, row.get("failure") or row.get("refused")) for name, row in found.items()]
        if any(reason for _, reason in reasons):
            lines += ["", *(f"- {name}: {reason}" for name, reason in reasons if reason)]
    return "\n".join(lines) + "\n"


def _line(name: str, row: Row) -> str:
    counts = row.get("counts", {})
    cells = [row.get("nodes", "-"), *(counts.get(op) or "-" for op in COUNTED)]
    numbers = [f"{row[key]:{form}}" if key in row else "-" for key, form in FORMS.items()]
    return f"| {name} | {outcome(row)} | {' | '.join(map(str, [*cells, *numbers]))} |"


FORMS = {"seconds": ".2f", "error": ".1e", "bound": ".1e"}
