"""What becomes of every operation class of Keras: lowered, opened to other operations, or refused with a reason.

``python -m converters.coverage`` prints the table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from converters import keras_internals, registry
from converters.tracing import substitutes


@dataclass(frozen=True)
class Coverage:
    """One operation class: ``way`` is lowered, opened, refused or missing; ``reason`` says why it is refused."""

    operation: type
    way: str
    reason: str = ""


def coverage() -> list[Coverage]:
    """All operation classes of the installed Keras, by module and name."""
    ways = registry.ways()
    ways.update({cls: ("opened", "") for cls in substitutes.RULES if ways.get(cls, ("", ""))[0] != "lowered"})
    return [Coverage(cls, *ways.get(cls, ("missing", ""))) for cls in keras_internals.operation_classes()]


def main() -> None:
    """Prints the table and how many went which way."""
    rows = coverage()
    for row in rows:
        print(f"{row.operation.__module__.rpartition('.')[2]}.{row.operation.__name__}: {row.way} {row.reason}".strip())
    print(", ".join(f"{count} {way}" for way, count in Counter(row.way for row in rows).items()))


if __name__ == "__main__":
    main()
