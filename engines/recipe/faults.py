"""Several faults of one thing, reported together: a user mends them in one go, not one a run."""

from __future__ import annotations

from collections.abc import Iterable

from deploy.errors import BuildError


def refuse(faults: Iterable[BuildError], where: str = "") -> None:
    """Raises nothing where there is no fault, the only one itself, or one BuildError that lists them all.

    ``where`` names the file they are in.
    """
    found = list(faults)
    if not found:
        return
    if len(found) == 1:
        one = found[0]
        place = ", ".join(part for part in (where, one.where) if part)
        raise BuildError(one.what, where=place, expected=one.expected, found=one.found, fix=one.fix)
    lines = [f"\n  {fault.where + ': ' if fault.where else ''}{fault.what}{_difference(fault)}" for fault in found]
    fixes = dict.fromkeys(fault.fix for fault in found if fault.fix)
    raise BuildError(f"{len(found)} things are wrong" + "".join(lines), where=where, fix="; or: ".join(fixes))


def _difference(fault: BuildError) -> str:
    parts = [f"{label} {text}" for label, text in (("expected", fault.expected), ("found", fault.found)) if text]
    return f" ({', '.join(parts)})" if parts else ""
