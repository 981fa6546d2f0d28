"""The one logger that a process gives to TensorRT, and to TensorRT-RTX.

TensorRT keeps the first logger it gets and ignores all others, so there is one for builds and runs, and it lives as
long as the process. A failed call only returns None or False: its reason is in here alone.
"""

from __future__ import annotations

from collections import deque
from typing import Any

_LOGGERS: dict[str, Any] = {}


def logger_of(trt: Any) -> Any:
    """The process's logger for a module (`tensorrt` or `tensorrt_rtx`). It prints nothing.

    ``messages`` holds (severity, text) of what is a warning or worse, and the builder's table of realised layers, whose
    message begins with ``Layers:``; ``reason()`` gives the last few errors among them.
    """
    if trt.__name__ not in _LOGGERS:

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)
                self.messages: deque[tuple[int, str]] = deque(maxlen=1000)

            def log(self, severity: Any, message: str) -> None:
                if int(severity) <= int(trt.ILogger.Severity.WARNING) or message.startswith("Layers:"):
                    self.messages.append((int(severity), message.strip()))

            def reason(self) -> str:
                errors = [text for severity, text in self.messages if severity <= int(trt.ILogger.Severity.ERROR)]
                return "; ".join(list(dict.fromkeys(errors))[-5:]) or f"{trt.__name__} gave no reason"

        _LOGGERS[trt.__name__] = Logger()
    return _LOGGERS[trt.__name__]
