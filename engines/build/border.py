"""The real inputs of a build, which have the types of the border, in those of the model behind it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from deploy.errors import BuildError
from engines.apply.io_types import resolve
from engines.build.data import Data
from engines.build.source import Source
from engines.calibration.data import Widened


def bordered(source: Source, data: Data, asked: Mapping[str, str]) -> tuple[Source, Data]:
    """The source with its types at the border, and the samples as the model sees them.

    So the reference, the FP32 graph and the simulation get the numbers that the engine gets: bytes exactly, what
    becomes FP16 rounded. Raises BuildError where a type cannot be had.
    """
    io = resolve(asked, source.inputs, source.outputs)
    calibration = data.calibration
    if calibration is not None and any(io.is_bytes(spec.name) for spec in source.inputs):
        calibration = Widened(calibration, io.given(source.inputs), source.inputs)
    golden = io.inner(data.golden, source.inputs)
    for name, array in golden.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BuildError(
                f"the samples of {name} reach {np.abs(data.golden[name]).max():.5g}, and FP16 ends at 65504",
                where=f"--io-dtype {name}",
                fix=f"--io-dtype {name}=fp32",
            )
    return dataclasses.replace(source, io=io), dataclasses.replace(data, golden=golden, calibration=calibration)
