"""Show what a bundle holds: inputs, outputs, files, precisions, targets, versions and layers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deploy.bundle import Bundle, open_bundle
from deploy.cli import add_bundle_argument, run_module
from deploy.manifest import Manifest
from deploy.selection import waiting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_argument(parser)
    parser.add_argument("--layers", action="store_true", help="show where each Keras layer's output went in the graph")
    parser.add_argument("--json", action="store_true", help="print the manifest itself")


def run(arguments: argparse.Namespace) -> int:
    bundle = open_bundle(arguments.bundle)
    bundle.check()
    print(bundle.manifest.to_json().rstrip() if arguments.json else "\n".join(describe(bundle, arguments.layers)))
    return 0


def describe(bundle: Bundle, layers: bool = False) -> list[str]:
    """The lines that `kerasrt inspect` prints."""
    manifest = bundle.manifest
    lines = [f"{manifest.name}  ({bundle.folder})"]
    if manifest.task:
        labels = f", {len(manifest.labels)} labels" if manifest.labels else ""
        lines.append(f"task: {manifest.task}{labels}")
    lines += ["", "inputs and outputs", *_specs(manifest)]
    profile = manifest.profile
    lines.append(f"  engines take batches of {profile.minimum} to {profile.maximum}, tuned for {profile.optimum}")
    idle = {item.artifact.file: item.reason for item in waiting(manifest)}
    rows = [("file", "kind", "precision", "target", "size", "")]
    rows += [
        (a.file, a.kind, a.precision or "-", a.target or "-", _size(a.bytes), idle.get(a.file, ""))
        for a in manifest.artifacts
    ]
    lines += ["", "files (all hashes hold)", *_aligned(rows, right=(4,))]
    for artifact in manifest.artifacts:
        if artifact.details:
            lines += ["", f"{artifact.file}", *_pairs(artifact.details)]
    simulated = {f"{p} {output}": error for p, errors in manifest.simulated.items() for output, error in errors.items()}
    for title, pairs in (
        ("preprocessing", manifest.preprocessing),
        ("sensitivity (Keras's own, relative)", {name: f"{value:.1e}" for name, value in manifest.sensitivity.items()}),
        ("simulated error", simulated),
        ("versions", manifest.versions),
        ("provenance", manifest.provenance),
        ("commands that build the same engines", manifest.commands),
    ):
        if pairs:
            lines += ["", title, *_pairs(pairs)]
    if layers:
        lines += ["", "layers", *_layers(bundle)]
    return lines


def _specs(manifest: Manifest) -> list[str]:
    specs = [("in", spec) for spec in manifest.inputs] + [("out", spec) for spec in manifest.outputs]
    return _aligned([(way, spec.name, f"({', '.join(map(str, spec.shape))})", spec.dtype) for way, spec in specs])


def _layers(bundle: Bundle) -> list[str]:
    rows = [("Keras layer", "value in the graph", "axes", "dtype")]
    for layer in bundle.manifest.layers:
        axes = "as in Keras" if list(layer.order) == sorted(layer.order) else " ".join(map(str, layer.order))
        rows.append((layer.path, layer.value or "(fused away)", axes, layer.dtype))
    return _aligned(rows)


def _pairs(pairs: Mapping[str, Any]) -> list[str]:
    return _aligned([(name, _text(value)) for name, value in pairs.items() if value not in ("", [], {}, None)])


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, dict):
        return "  ".join(f"{name} {_text(item)}" for name, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def _aligned(rows: Iterable[Sequence[str]], right: tuple[int, ...] = ()) -> list[str]:
    rows = list(rows)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    cells = [[c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(row)] for row in rows]
    return ["  " + "  ".join(row).rstrip() for row in cells]


def _size(count: int) -> str:
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"


if __name__ == "__main__":
    run_module(sys.modules[__name__])
