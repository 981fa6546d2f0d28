"""Whether 8 bits are worth it on a target: what the builder made of them beside what it made of FP16.

By the clock where this machine has a GPU that runs both, else by the layer tables.
"""

from __future__ import annotations

from dataclasses import dataclass

from engines.layer_table import LayerTable
from engines.search.cost import moved, total
from engines.targets.timing import Latencies


@dataclass(frozen=True)
class Verdict:
    """``cheaper``: whether 8 bits are; ``text``: by which figures."""

    cheaper: bool
    text: str


def compare(precision: str, low: LayerTable, base: str, high: LayerTable, batch: int = 1) -> Verdict:
    """Weighs two builds of one model by their realised layer tables (`engines.search.cost`), for batches of a size."""
    cheaper = total(low, batch) < total(high, batch)
    figures = " against ".join(f"{len(t.rows)} kernels moving {moved(t, batch) / 2**20:.2f} MiB" for t in (low, high))
    return Verdict(cheaper, f"{precision} is {'' if cheaper else 'not '}cheaper than {base} here: {figures}")


def clocked(precision: str, base: str, measured: Latencies, batch: int) -> Verdict:
    """Weighs two engines by the time of a run: ``measured.first`` is the base's, ``second`` that of 8 bits."""
    cheaper = measured.gain > 1
    figures = f"{measured.second:.3g} ms against {measured.first:.3g} ms, batch {batch}, on this machine's GPU"
    return Verdict(cheaper, f"{precision} is {'' if cheaper else 'not '}faster than {base} here: {figures}")
