"""What a build says while it runs: one line a step, and a table at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any


class Progress:
    """Prints with rich, or nothing at all when ``quiet``; ``aside``: to stderr, where stdout has another result."""

    def __init__(self, quiet: bool = False, aside: bool = False) -> None:
        self.console: Any = None
        if not quiet:
            from rich.console import Console

            self.console = Console(highlight=False, soft_wrap=True, stderr=aside)
            if not self.console.is_terminal:
                self.console.width = 120

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """One step. What is put into the yielded list is printed behind its name, with the seconds it took."""
        notes: list[str] = []
        start = time.perf_counter()
        with self.console.status(name) if self.console is not None else nullcontext():
            yield notes
        self.say(f"[bold]{name:<10}[/]", ", ".join(notes), f"{time.perf_counter() - start:6.1f} s")

    @contextmanager
    def bar(self, name: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar over samples, gone at the end; what is yielded moves it on. ``total`` is None where nobody knows it."""
        if self.console is None or not self.console.is_terminal:
            yield lambda count: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(name, total=total)
            yield lambda count: bars.advance(task, count)

    def say(self, *parts: str) -> None:
        """One line; the last of three parts is dim."""
        if self.console is not None:
            head, *rest = parts
            text = "  ".join([head, *(part.replace("[", "\\[") for part in rest)])
            self.console.print(text)

    def part(self, name: str, text: str) -> None:
        """What was done within a step, while it goes on."""
        self.say(f"[bold]{name:<10}[/]", text)

    def warn(self, text: str) -> None:
        """A line that should not be overlooked."""
        if self.console is not None:
            self.console.print("[yellow]note[/]       " + text.replace("[", "\\["))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table; columns of figures to the right."""
        if self.console is None or not rows:
            return
        from rich.table import Table

        table = Table(box=None, pad_edge=False, header_style="bold")
        for head in heads:
            table.add_column(head, justify="right" if head in ("size", "seconds", "layers") else "left", no_wrap=True)
        for row in rows:
            table.add_row(*row)
        self.console.print(table)
