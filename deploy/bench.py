"""Measure a bundle's latency: percentiles of single calls, host to host."""

from __future__ import annotations

import argparse
import sys

from deploy.cli import add_backend_arguments, add_bundle_argument, run_module
from deploy.errors import InputError
from deploy.runtime import Runtime


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_argument(parser)
    add_backend_arguments(parser)
    parser.add_argument(
        "--batch", type=int, nargs="+", metavar="N", help="batch sizes (default: the smallest, mostly 1)"
    )
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="calls a batch size (default: 1000)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="longest time a batch size (default: 5)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of ONNX Runtime (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    for flag, values in (
        ("--batch", arguments.batch or [1]),
        ("--runs", [arguments.runs]),
        ("--threads", [arguments.threads]),
    ):
        if min(values) < 1:
            raise InputError("must be 1 or more", where=flag, found=str(min(values)), fix=f"for example {flag} 1")
    if not arguments.seconds > 0:
        raise InputError("must be more than 0", where="--seconds", found=str(arguments.seconds), fix="for example 5")
    with Runtime.load(arguments.bundle, arguments.backend, arguments.precision, arguments.threads) as runtime:
        batches = arguments.batch or [smallest_batch(runtime)]
        for batch in batches:
            runtime.sample(batch)  # refuses one beyond the profile before anything is measured
        print(f"{runtime.bundle.manifest.name}: {runtime.precision} on {runtime.backend}, milliseconds a call")
        print("batch      min   median     mean      p90      p99      max   samples/s   calls")
        for batch in batches:
            b = runtime.benchmark(batch, arguments.runs, arguments.seconds)
            times = " ".join(f"{t:8.3f}" for t in (b.minimum, b.median, b.mean, b.p90, b.p99, b.maximum))
            print(f"{batch:5d} {times} {b.throughput:11.1f} {b.runs:7d}")
    return 0


def smallest_batch(runtime: Runtime) -> int:
    """The batch that the model's shapes fix, else the smallest of its profile, else 1."""
    size = next(iter(runtime.inputs[0].shape), 1)
    return size if isinstance(size, int) else runtime.batch[0] if runtime.batch else 1


if __name__ == "__main__":
    run_module(sys.modules[__name__])
