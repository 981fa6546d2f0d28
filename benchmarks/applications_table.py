"""The table of benchmarks.applications, made of nothing but the rows it measured.

Rows lie in a JSON file: for each model, for ``prepare`` and for each exporter, what was measured last. Everything in
the table and below it is derived from them: failures, what was never measured, totals and ratios.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deploy.files import replacing

EXPORTERS = ("kerasrt", "keras", "tf2onnx")
TITLES = {"kerasrt": "kerasrt", "keras": "Keras's export", "tf2onnx": "tf2onnx"}
ATTENTION = ("MobileNetV3Small", "MobileNetV3Large", "EfficientNetB0", "CBAMResNet50", "SEResNet50", "ECAResNet50")
Rows = dict[tuple[str, str], dict[str, Any]]
"""(model, ``prepare`` or an exporter) to what was measured."""


def read(path: Path) -> Rows:
    """The rows of a JSON file; none when there is no such file."""
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {(model, step): row for model, steps in kept.items() for step, row in steps.items()}


def write(rows: Rows, models: Sequence[str], path: Path) -> None:
    """Rows as JSON, in the order of the models, a line for each row."""
    blocks = []
    for model in models:
        lines = [
            f"  {json.dumps(step)}: {json.dumps(rows[model, step])}"
            for step in ("prepare", *EXPORTERS)
            if (model, step) in rows
        ]
        if lines:
            blocks.append(f"{json.dumps(model)}: {{\n" + ",\n".join(lines) + "\n}")
    with replacing(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")


def table(rows: Rows, models: Sequence[str]) -> str:
    """The whole page: what the columns are, a row for each model, what follows from them, failures and gaps."""
    lines = [
        "# keras.applications, and ResNet50 with attention",
        "",
        "`python -m benchmarks.applications` on a shared machine without a GPU; each conversion in a process of its "
        "own, in memory to a file. Random weights, calibrated statistics, no zero biases: errors are the largest over"
        " the logits of two images, relative to the largest logit; the bound is max(1e-5, 10x Keras's own sensitivity"
        " to ±2e-7 changes of the input). Nodes, with Transposes in brackets; for the peers also what onnxslim "
        "leaves. Seconds are of processor time, without imports, and rise with the machine's load. Memory is what the"
        " conversion adds to the resident model, at its peak. Rows may be of different days, and a peer's error then "
        "of other random weights than ours and the bound.",
        "",
        "| model | weights MiB | nodes | Keras, slimmed | tf2onnx, slimmed | seconds | Keras | tf2onnx | memory MiB | "
        "Keras | tf2onnx | error | bound | Keras | tf2onnx |",
        "|" + "---|" * 15,
    ]
    for name in models:
        prepared, ours = rows.get((name, "prepare")), rows.get((name, "kerasrt"))
        if prepared and ours:
            lines.append(_row(name, prepared, ours, [rows.get((name, exporter), {}) for exporter in EXPORTERS[1:]]))
    failures = [
        f"- {name}, {exporter}: {row['failure']}"
        for name in models
        for exporter in EXPORTERS
        if "failure" in (row := rows.get((name, exporter), {}))
    ]
    summary = [line for line in (attention_total(rows), median_ratio(rows, models)) if line]
    gaps = _gaps(rows, models)
    parts = [lines, summary, ["What failed:", "", *(failures or ["- nothing"])], gaps]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def attention_total(rows: Rows) -> str:
    """Our nodes over the models with attention beside tf2onnx + onnxslim; empty while one of them is missing."""
    try:
        ours = sum(rows[name, "kerasrt"]["nodes"] for name in ATTENTION)
        theirs = sum(rows[name, "tf2onnx"]["slimmed"] for name in ATTENTION)
    except KeyError:
        return ""
    return (
        f"- Nodes over the models with attention ({', '.join(ATTENTION)}): {ours}, tf2onnx slimmed {theirs}: "
        f"{100 * (1 - ours / theirs):.1f} % fewer."
    )


def median_ratio(rows: Rows, models: Sequence[str]) -> str:
    """The median over the models of Keras's seconds over ours; empty where no model has both.

    Only rows of one run are compared: processor time rises with what else the machine does. Rows from before runs were
    noted count as one run.
    """
    pairs = [(rows.get((name, "keras"), {}), rows.get((name, "kerasrt"), {})) for name in models]
    ratios = [
        theirs["cpu_seconds"] / ours["cpu_seconds"]
        for theirs, ours in pairs
        if "cpu_seconds" in theirs and "cpu_seconds" in ours and theirs.get("run") == ours.get("run")
    ]
    if not ratios:
        return ""
    return (
        f"- Seconds of Keras's export over ours: {statistics.median(ratios):.1f} in the median of the {len(ratios)} "
        f"models with both from one run, {min(ratios):.1f} to {max(ratios):.1f}."
    )


def _gaps(rows: Rows, models: Sequence[str]) -> list[str]:
    """Whose seconds are missing though it was measured, and what was never measured."""
    lines = []
    for exporter in EXPORTERS:
        taken = {name: rows[name, exporter] for name in models if (name, exporter) in rows}
        untimed = [name for name, row in taken.items() if "nodes" in row and "cpu_seconds" not in row]
        missing = [name for name in models if name not in taken]
        if untimed:
            lines.append(
                f"- {TITLES[exporter]}, only wall-clock time was taken, on a busy machine: {', '.join(untimed)}."
            )
        if missing:
            lines.append(f"- {TITLES[exporter]}, not measured: {', '.join(missing)}.")
    return ["What is missing:", "", *lines] if lines else []


def _row(name: str, prepared: dict[str, Any], ours: dict[str, Any], peers: list[dict[str, Any]]) -> str:
    def each(key: str, form: Callable[[Any], str]) -> list[str]:
        return [form(row[key]) if key in row else "-" for row in peers]

    def graph(row: dict[str, Any]) -> str:
        if "nodes" not in row:
            return "-"
        slimmed = f", {row['slimmed']} ({row['slimmed_transposes']})" if "slimmed" in row else ", -"
        return f"{row['nodes']} ({row['transposes']}){slimmed}"

    error = f"{ours['error']:.1e}" if "error" in ours else "-"
    bound = max(1e-5, 10 * prepared.get("sensitivity", 0.0))
    cells = [
        name,
        f"{prepared.get('weights_mib', 0):.0f}",
        f"{ours.get('nodes', '-')} ({ours.get('transposes', '-')})",
        *(graph(row) for row in peers),
        f"{ours['cpu_seconds']:.2f}" if "cpu_seconds" in ours else "-",
        *each("cpu_seconds", "{:.1f}".format),
        f"{ours['memory_mib']:.0f}" if "memory_mib" in ours else "-",
        *each("memory_mib", "{:.0f}".format),
        error,
        f"{bound:.1e}",
        *each("error", "{:.1e}".format),
    ]
    return "| " + " | ".join(cells) + " |"
