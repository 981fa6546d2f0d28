"""Runs cases in worker processes, so that one that ends its process costs one case."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.conformance.cases import Case
from benchmarks.conformance.running import CRASHED, NO_CASE, Outcome, work

SECONDS = 120
"""What one case may take."""


def run_all(cases: Sequence[Case], jobs: int = 1, done: Callable[[int], None] = lambda count: None) -> list[Outcome]:
    """The outcomes in the order of the cases, with ``jobs`` processes."""
    outcomes: list[Outcome | None] = [None] * len(cases)
    numbers = iter(range(len(cases)))
    lock = threading.Lock()

    def feed() -> None:
        worker = _Worker()
        while True:
            with lock:
                index = next(numbers, None)
            if index is None:
                break
            outcomes[index] = worker.run(cases[index])
            done(index + 1)
        worker.close()

    threads = [threading.Thread(target=feed) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for outcome in outcomes if outcome is not None]


class _Worker:
    """A process that is started anew when a case ended it."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None

    def run(self, case: Case) -> Outcome:
        if self._process is None:
            self._connection, theirs = self._context.Pipe()
            self._process = self._context.Process(target=work, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        self._connection.send(case)
        begun = False
        try:
            while self._connection.poll(SECONDS):
                if (answer := self._connection.recv()) is not None:
                    return answer
                begun = True
            reason = f"still running after {SECONDS} s"
            self._process.kill()
        except EOFError:
            self._process.join()
            reason = f"the process ended with code {self._process.exitcode}"
        self._process = None
        print(case, reason, flush=True)
        return Outcome(case, CRASHED if begun else NO_CASE, reason)

    def close(self) -> None:
        if self._process is not None:
            self._connection.send(None)
            self._process.join()
