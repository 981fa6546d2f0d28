"""Who is told what happens while a recipe is made: a build, a command, or nobody."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import onnx_ir as ir

from engines.calibration.kept import calibrated
from engines.calibration.ranges import Ranges


def _nobody(*_: object) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """``pass_done``: the ranges of a pass over the samples, and what it said; ``kept``: where something of an earlier
    build was used; ``tried``: each repair and what it gave; ``bar``: gives what is called with the number of samples of
    each batch.
    """

    pass_done: Callable[[Ranges, list[str]], None] = _nobody
    kept: Callable[[str], None] = _nobody
    tried: Callable[[str], None] = _nobody
    bar: Callable[[], AbstractContextManager[Callable[[int], None]]] = lambda: nullcontext(_nobody)

    def calibrated(self, model: ir.Model, samples: object, repairs: bool) -> Ranges:
        """`engines.calibration.kept.calibrated`, or ``samples`` where they are ranges already."""
        if isinstance(samples, Ranges):
            return samples
        said: list[str] = []
        with self.bar() as advance:
            ranges = calibrated(model, samples, advance, said.append, repairs)
        self.pass_done(ranges, said)
        return ranges


NOBODY = Listener()


def seen(ranges: Ranges, said: list[str]) -> str:
    """What a pass saw, and what it said of it."""
    return ", ".join([f"{ranges.samples} samples, range of {len(ranges.minimum)} values", *said])
