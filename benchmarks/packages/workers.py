"""Measures models in a process of their own, which is started anew after a model that ended it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

from benchmarks.packages.entry import Entry
from benchmarks.packages.measuring import measure


def measured(
    module: str, names: Sequence[str], limit: int, environment: Mapping[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each model's row, in order; ``limit`` is the seconds that one may take, ``environment`` what the process gets."""
    context = multiprocessing.get_context("spawn")
    left = list(names)
    while left:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, module, left), daemon=True)
        with mock.patch.dict(os.environ, environment):  # from its start: libraries read it when they are imported
            process.start()
        theirs.close()
        while left:
            try:
                row = ours.recv() if ours.poll(limit) else {"failure": f"over {limit} s"}
            except EOFError:
                process.join()
                row = {"failure": f"the process ended with code {process.exitcode}"}
            yield left.pop(0), row
            if "over " in row.get("failure", "") or not process.is_alive():
                break
        process.kill()
        process.join()


def _work(connection: Any, module: str, names: Sequence[str]) -> None:
    """A process that measures: sends one row for each name."""
    import keras

    entries: dict[str, Entry] = importlib.import_module(module).MODELS
    for name in names:
        connection.send(measure(entries[name]))
        keras.backend.clear_session()
