"""A verdict in words."""

from __future__ import annotations

from deploy.parity.compare import Comparison, Parity
from deploy.parity.thresholds import Threshold


def verdict(parity: Parity) -> str:
    """One line: passed or failed, the output that is nearest to its bound (or beyond), the bound, and the reference."""
    worst = max(parity.outputs, key=_strain)
    name = f"{worst.name}: " if len(parity.outputs) > 1 else ""
    word = "passed" if parity.passed else "FAILED"
    text = f"{word}  {name}{_measured(worst)}, {bound(worst.threshold)} ({samples(parity)}, {parity.reference})"
    constant = ", ".join(comparison.name for comparison in parity.outputs if comparison.constant)
    return text + (f"; proves little: {constant} is the same for every sample" if constant else "")


def samples(parity: Parity) -> str:
    return "1 sample" if parity.samples == 1 else f"{parity.samples} samples"


def table(comparisons: tuple[Comparison, ...]) -> list[str]:
    """Aligned lines, one a comparison, with a heading."""
    head = ("", "max abs", "relative", "rmse", "cosine", "SQNR dB", "top-1", "bound", "")
    rows = [head] + [_row(comparison) for comparison in comparisons]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    last = len(head) - 2
    return ["  ".join(_aligned(cell, widths[i], i in (0, last)) for i, cell in enumerate(row)).rstrip() for row in rows]


def bound(threshold: Threshold) -> str:
    if threshold.metric == "sqnr_db":
        return f"at least {threshold.limit:.1f} dB"
    return f"threshold {threshold.limit:.1e}"


def _row(comparison: Comparison) -> tuple[str, ...]:
    metrics = comparison.metrics
    return (
        comparison.name,
        f"{metrics.max_abs:.2e}",
        f"{metrics.relative:.2e}",
        f"{metrics.rmse:.2e}",
        f"{metrics.cosine:.6f}",
        f"{metrics.sqnr_db:.1f}",
        "" if metrics.top1 is None else f"{100 * metrics.top1:.1f}%",
        bound(comparison.threshold),
        "passed" if comparison.passed else "FAILED",
    )


def _aligned(cell: str, width: int, left: bool) -> str:
    return cell.ljust(width) if left else cell.rjust(width)


def _measured(comparison: Comparison) -> str:
    if comparison.threshold.metric == "sqnr_db":
        return f"SQNR {comparison.metrics.sqnr_db:.1f} dB"
    return f"max error {comparison.metrics.relative:.1e} of the output's scale"


def _strain(comparison: Comparison) -> float:
    """How far towards its bound a comparison is: beyond 0 it fails. Comparable between outputs of one precision."""
    value = float(getattr(comparison.metrics, comparison.threshold.metric))
    return comparison.threshold.limit - value if comparison.threshold.minimum else value - comparison.threshold.limit
