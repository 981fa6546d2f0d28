"""The budget: how far the outputs may be from FP32, as a user writes it.

``sqnr=30dB``          signal to quantization noise at each output, at least.
``kl=0.01``            mean Kullback-Leibler divergence from FP32's class probabilities, in nats, at most.
``agreement=99.5%``    share of decisions (the largest class, or each side of a sigmoid) that equal FP32's, at least.
``top1=0.1pp``         accuracy lost, in percentage points, at most; without labels the share of decisions that differ.
Several, separated by commas, hold together.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deploy.errors import BuildError

FORMS = "sqnr=30dB, kl=0.01, agreement=99.5% or top1=0.1pp"
_FORM = re.compile(r"(sqnr|kl|agreement|top1)\s*=\s*([0-9.]+(?:e-?[0-9]+)?)\s*(db|nats?|%|pp)?", re.IGNORECASE)
_UNITS = {"sqnr": ("db", ""), "kl": ("", "nat", "nats"), "agreement": ("%",), "top1": ("pp", "%")}


@dataclass(frozen=True)
class Limit:
    """One bound. ``bound``: dB of sqnr, nats of kl, a share between 0 and 1 of agreement (that *differs*) and top1."""

    metric: str
    bound: float
    text: str


def parse(text: str) -> tuple[Limit, ...]:
    """Reads a budget. Raises BuildError for a form, a unit or a number that none can have."""
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    limits = tuple(_parse(part) for part in parts)
    if not limits or len({limit.metric for limit in limits}) < len(limits):
        raise BuildError(
            "names no bound" if not limits else "names one bound twice",
            where="budget",
            expected=FORMS,
            found=repr(text),
            fix="give each once: --budget top1=0.1pp,sqnr=30dB",
        )
    return limits


def _parse(part: str) -> Limit:
    found = _FORM.fullmatch(part)
    metric, unit = (found.group(1).lower(), (found.group(3) or "").lower()) if found else ("", "")
    number = _number(found.group(2)) if found else None
    if number is None or unit not in _UNITS[metric] or not 0 < number <= (100 if unit in ("%", "pp") else 1e6):
        raise BuildError(
            "is no bound on the error",
            where="budget",
            expected=FORMS,
            found=repr(part),
            fix="write it as one of these, with its unit",
        )
    if metric == "agreement":
        return Limit(metric, max(1 - number / 100, 0.0), f"agreement={number:g}%")
    if metric == "top1":
        return Limit(metric, number / 100, f"top1={number:g}pp")
    return Limit(metric, number, f"sqnr={number:g}dB" if metric == "sqnr" else f"kl={number:g}")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
