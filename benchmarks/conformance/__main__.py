"""Runs the cases and writes docs/conformance.md; with -k only some, printing the failures.

python -m benchmarks.conformance [-k PATTERN] [-j 1] [-o docs/conformance.md]
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def main() -> None:
    """Exits with 1 when a case gives wrong numbers or a graph that does not run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-k", metavar="PATTERN", help="only cases that match; nothing is written")
    parser.add_argument("-j", type=int, default=1, help="processes")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/conformance.md"))
    arguments = parser.parse_args()

    from benchmarks.conformance import report, tables
    from benchmarks.conformance.running import CRASHED, EQUAL, NO_CASE, WRONG
    from benchmarks.conformance.workers import run_all

    cases = [case for case in tables.everything() if re.search(arguments.k or "", str(case))]
    start = time.monotonic()
    outcomes = run_all(cases, arguments.j, progress)
    counts = Counter(outcome.status for outcome in outcomes)
    if arguments.k:
        for outcome in outcomes:
            if outcome.status not in (EQUAL, NO_CASE):
                print(f"{outcome.status}: {outcome.case}: {outcome.reason}")
    else:
        arguments.output.write_text(report.write(outcomes), encoding="utf-8")
    print(f"{dict(counts)} in {time.monotonic() - start:.0f} s")
    sys.exit(1 if counts[WRONG] or counts[CRASHED] else 0)


def progress(count: int) -> None:
    """A line now and then."""
    if count % 500 == 0:
        print(count, flush=True)


if __name__ == "__main__":
    main()
