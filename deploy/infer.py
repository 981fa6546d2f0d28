"""Run a bundle on the arrays of an .npz, and say what ran, how long it took and whether it equals Keras."""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
from pathlib import Path

import numpy as np

from deploy.benchmark import latencies
from deploy.bundle import bundle_around
from deploy.cli import add_backend_arguments, add_bundle_argument, run_module
from deploy.errors import InputError
from deploy.inputs import load_inputs
from deploy.manifest import Manifest, TensorSpec
from deploy.npz import Array, write_npz
from deploy.parity.report import verdict
from deploy.runtime import Runtime

SAMPLES_SHOWN = 8
VALUES_SHOWN = 6
TOP = 5
TIMED_RUNS, TIMED_SECONDS = 50, 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="input.npz", help="one array for each input of the model, batch first")
    parser.add_argument("-o", "--output", metavar="output.npz", help="write the outputs there, by name")
    add_bundle_argument(parser)
    add_backend_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.output is not None:
        check_output(arguments.output, arguments.input, arguments.bundle)
    with Runtime.load(arguments.bundle, arguments.backend, arguments.precision) as runtime:
        runtime.bundle.check()
        given = load_inputs(arguments.input, runtime.inputs, runtime.batch)
        outputs = runtime(given.arrays)
        measured = latencies(lambda: runtime(given.arrays), TIMED_RUNS, TIMED_SECONDS, warmup=0)
        parity = runtime.selftest()
        passed = parity is None or parity.passed
        if arguments.output is not None and passed:
            write_npz(arguments.output, outputs)
        print(_heading(runtime))
        for spec in runtime.outputs:
            print("\n".join(describe(spec, outputs[spec.name], runtime.bundle.manifest)))
        batch = len(next(iter(given.arrays.values())))
        print(f"time     {_milliseconds(measured)}, batch {batch}, loading not counted")
        print(f"parity   {verdict(parity) if parity else 'not checked: no golden pairs (an .onnx file has none)'}")
        if arguments.output is not None:
            print(f"output   {arguments.output}" if passed else "output   not written, as parity failed")
        for line in _notes(runtime, given.ignored):
            print(line)
    return 0 if passed else 1


def check_output(output: str, given: str, model: str | None) -> None:
    """Raises InputError, before anything runs, for an -o that cannot be written or would replace what is no output.

    ``given`` is the input file, ``model`` the bundle or `.onnx` file that was named.
    """
    where, fix, path = f"-o {output}", "choose another -o, such as output.npz", Path(output)
    if not output:
        raise InputError("names no file", where="-o ''", fix=fix)
    for other, what in ((given, "input"), (model, "model")):
        if other and path.resolve() == Path(other).resolve():
            raise InputError(f"the output would replace the {what}", where=where, fix=fix)
    if path.is_dir():
        raise InputError("is a folder", where=where, fix=f"name a file in it: -o {path / 'output.npz'}")
    if path.exists() and not path.is_file():
        raise InputError("is no regular file", where=where, fix=fix)
    bundle = bundle_around(path.parent)
    if bundle is not None:
        raise InputError("lies in a bundle, which holds only what was built", where=where, found=str(bundle), fix=fix)
    if not path.parent.is_dir():
        fix = f"make it first (mkdir -p {path.parent}), or choose another -o"
        raise InputError("there is no such folder", where=where, found=str(path.parent), fix=fix)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError("you may not write to its folder", where=where, found=str(path.parent.resolve()), fix=fix)


def describe(spec: TensorSpec, array: Array, manifest: Manifest) -> list[str]:
    """Lines for one output: its shape and dtype, then its largest classes or its first values, sample by sample."""
    lines = [f"{spec.name}  {array.shape} {array.dtype}{_range(array)}"]
    classes = manifest.task == "classification" and array.ndim == 2 and array.shape[1] > 1
    labels = manifest.labels
    if classes and labels and len(labels) != array.shape[1]:
        lines.append(f"  {len(labels)} labels for {array.shape[1]} classes: their numbers are shown instead")
        labels = ()
    rows = array if array.ndim else array.reshape(1)
    for index, row in enumerate(rows[:SAMPLES_SHOWN]):
        text = _top(row, labels) if classes else _values(np.atleast_1d(row))
        lines.append(f"  [{index}]  {text}")
    if len(rows) > SAMPLES_SHOWN:
        lines.append(f"  ... and {len(rows) - SAMPLES_SHOWN} more samples")
    return lines


def _heading(runtime: Runtime) -> str:
    return f"{runtime.bundle.manifest.name}: {runtime.precision} {runtime.artifact.kind} on {runtime.backend}"


def _range(array: Array) -> str:
    if array.dtype.kind not in "fiu":
        return ""
    broken = int(np.count_nonzero(~np.isfinite(array)))
    if broken:
        return f"  WARNING: {broken} values are NaN or infinite"
    wide = array.astype(np.float64)
    return f"  min {wide.min():.6g}  mean {wide.mean():.6g}  max {wide.max():.6g}"


def _top(row: Array, labels: tuple[str, ...]) -> str:
    best = np.argsort(-row, kind="stable")[:TOP]
    return "  ".join(f"{labels[i] if labels else i} {row[i]:.4g}" for i in best)


def _values(row: Array) -> str:
    flat = row.ravel()
    text = "  ".join(f"{value:.6g}" for value in flat[:VALUES_SHOWN])
    return text + (f"  ... ({flat.size} values)" if flat.size > VALUES_SHOWN else "")


def _milliseconds(measured: list[float]) -> str:
    median = statistics.median(measured)
    digits = max(0, 2 - math.floor(math.log10(median))) if median > 0 else 3
    return f"{median:.{digits}f} ms a run (median of {len(measured)})"


def _notes(runtime: Runtime, ignored: tuple[str, ...]) -> list[str]:
    lines = []
    for item in runtime.waiting:
        lines.append(f"waiting  the {item.artifact.precision} engine for {item.artifact.target}: {item.reason}")
    if ignored:
        lines.append(f"note     not an input, so not used: {', '.join(ignored)}")
    return lines


if __name__ == "__main__":
    run_module(sys.modules[__name__])
