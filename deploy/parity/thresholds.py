"""How close is close enough, per precision, and why.

fp32: relative <= max(1e-5, 10 x sensitivity). 1e-5 is 84 float32 roundings (2^-23) of the output's scale. A sum in
    another order changes a badly conditioned model by more: the sensitivity is Keras's own change under ±2e-7 changes
    of its input, and 10 times that is what Keras's own ONNX export needs too (measured on keras.applications; 5 times
    was too tight for MobileNetV3). Of a model with quantizers it is how far a value between two steps may fall.
fp16: relative <= max(1e-2, 10 x sensitivity). float16 keeps 11 bits: a rounding is 2^-11 = 4.9e-4 of a value, and 1e-2
    leaves room for some twenty of them in a row.
bf16: relative <= max(8e-2, 10 x sensitivity). bfloat16 keeps 8 bits, three fewer than float16: eight times its bound.
int8, fp8: SQNR >= 10 dB, and at most 6 dB below what the simulated recipe reached. Rounding a full range to 8 bits
    alone gives about 50 dB (6.02 dB a bit + 1.76 dB, Bennett 1948); networks lose 20 to 35 dB of it to wide ranges and
    depth. Below 10 dB the noise is a third of the signal: nothing to deploy. 6 dB is twice the simulated error: kernels
    may round differently (up to 5 steps were seen between optimization levels), not compute differently.

The bounds find faults of an engine. Whether a precision is good enough for the task, accuracy on real data says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploy.parity.metrics import Metrics

SENSITIVITY_FACTOR = 10.0
RELATIVE = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 8e-2}
SQNR_FLOOR_DB = 10.0
SQNR_BELOW_SIMULATED_DB = 6.0


@dataclass(frozen=True)
class Threshold:
    """A bound on one metric (a field of Metrics): an upper one, or a lower one where ``minimum``."""

    metric: str
    limit: float
    minimum: bool = False

    def holds(self, metrics: Metrics) -> bool:
        value = float(getattr(metrics, self.metric))
        return value >= self.limit if self.minimum else value <= self.limit


def threshold(
    precision: str | None, sensitivity: float = 0.0, simulated: Mapping[str, float] | None = None
) -> Threshold:
    """The bound for one output.

    ``sensitivity`` is the manifest's for that output, ``simulated`` the metrics of the simulated recipe for it (its
    ``sqnr_db`` is used, for int8 and fp8). A precision without a row here is judged as fp32.
    """
    if precision in ("int8", "fp8"):
        reached = (simulated or {}).get("sqnr_db", SQNR_FLOOR_DB)
        return Threshold("sqnr_db", max(SQNR_FLOOR_DB, reached - SQNR_BELOW_SIMULATED_DB), minimum=True)
    base = RELATIVE.get(precision or "fp32", RELATIVE["fp32"])
    return Threshold("relative", max(base, SENSITIVITY_FACTOR * sensitivity))
