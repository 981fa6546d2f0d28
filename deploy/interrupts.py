"""Ctrl-C and SIGTERM in a command: what was begun is undone, then one line and exit code 130 or 143; no traceback.

Python raises KeyboardInterrupt wherever it happens to be, and not every place lets it through: a C extension that is
being imported turns it into an ImportError, a callback from C++ drops it. So the signal is remembered as well. Only
signals that still do what they do by default are taken over: one that was ignored from the start, as in a background
job, stays ignored.

This is the first that a command imports, and it imports next to nothing: Ctrl-C before it is Python's own.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from contextlib import contextmanager

TYPE_CHECKING = False  # as in typing, without its import
if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from typing import Any

PACKAGES = ("converters", "deploy", "engines", "examples")
"""Whose modules are this project's commands."""

_received: list[int] = []
"""The signals that came since a command began."""


def quit_while_loading() -> None:
    """In a process that was started for a command of this project: until it begins, Ctrl-C ends the process at once.

    Nothing has to be undone by then. In any other process nothing happens.
    """
    if _is_own_command():
        _take_over(signal.SIGINT, _quit)


@contextmanager
def unwinding() -> Iterator[list[int]]:
    """While it lasts, Ctrl-C and SIGTERM raise KeyboardInterrupt, so that every ``finally`` runs.

    Yields the list that the signals which came are put into.
    """
    global _received  # noqa: PLW0603
    _received = []
    before = {number: _take_over(number, _unwind) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield _received
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
        _received = []


@contextmanager
def deferred() -> Iterator[threading.Event]:
    """While it lasts, Ctrl-C sets the event instead of raising, and so does SIGTERM in a command.

    Only the main thread can arrange that; in others the event is never set.
    """
    import threading

    event = threading.Event()

    def remember(number: int, frame: object) -> None:
        if before[number] is _unwind:
            _received.append(number)
        event.set()

    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    before = {number: handler for number, handler in before.items() if callable(handler)}
    for number in before:
        signal.signal(number, remember)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def import_module(name: str) -> Any:
    """As `importlib.import_module`, but an import that Ctrl-C broke off raises KeyboardInterrupt, never ImportError."""
    try:
        return importlib.import_module(name)
    except ImportError:
        if _received:
            raise KeyboardInterrupt from None
        raise


def _is_own_command() -> bool:
    """Whether the process is `kerasrt` or ``python -m`` of a module here (python says "-m" while it finds that)."""
    if sys.argv[:1] == ["-m"]:
        return sys.orig_argv[-len(sys.argv)].split(".")[0] in PACKAGES
    return os.path.basename(sys.argv[0] if sys.argv else "") == "kerasrt"


def _take_over(number: signal.Signals, handler: Callable[[int, object], None]) -> Any:
    """Sets the handler and returns the one before; None where that is not the default one, and is left."""
    before = signal.getsignal(number)
    if before not in (signal.SIG_DFL, signal.default_int_handler, _quit):
        return None
    signal.signal(number, handler)
    return before


def _quit(number: int, frame: object) -> None:
    os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _unwind(number: int, frame: object) -> None:
    _received.append(number)
    raise KeyboardInterrupt
