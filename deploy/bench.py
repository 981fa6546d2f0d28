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
    parser.add_argument("--batch", type=int, nargs="+", default=[1], metavar="N", help="batch sizes (default: 1)")
    parser.add_argument("--runs", type=int, default=1000, metavar="N", help="calls a batch size (default: 1000)")
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="longest time a batch size (default: 5)"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of ONNX Runtime (default: 1)")


def run(arguments: argparse.Namespace) -> int:
    for flag, values in (
        ("--batch", arguments.batch),
        ("--runs", [arguments.runs]),
        ("--threads", [arguments.threads]),
    ):
        if min(values) < 1:
            raise InputError("must be 1 or more", where=flag, found=str(min(values)), fix=f"for example {flag} 1")
    if not arguments.seconds > 0:
        raise InputError("must be more than 0", where="--seconds", found=str(arguments.seconds), fix="for example 5")
    with Runtime.load(arguments.bundle, arguments.backend, arguments.precision, arguments.threads) as runtime:
        for batch in arguments.batch:
            runtime.sample(batch)  # refuses one beyond the profile before anything is measured
        print(f"{runtime.bundle.manifest.name}: {runtime.precision} on {runtime.backend}, milliseconds a call")
        print("batch      min   median     mean      p90      p99      max   samples/s   calls")
        for batch in arguments.batch:
            b = runtime.benchmark(batch, arguments.runs, arguments.seconds)
            times = " ".join(f"{t:8.3f}" for t in (b.minimum, b.median, b.mean, b.p90, b.p99, b.maximum))
            print(f"{batch:5d} {times} {b.throughput:11.1f} {b.runs:7d}")
    return 0


if __name__ == "__main__":
    run_module(sys.modules[__name__])
