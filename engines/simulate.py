"""Runs a recipe's simulation: what the precision does to the outputs, without the hardware that computes in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from deploy.inputs import check_inputs
from engines.recipe import Recipe


def simulate(recipe: Recipe, source: object, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[Any]]:
    """Outputs {name: array} of an FP32 graph under the recipe, for inputs {name: (batch, …) array}.

    Every optimization of ONNX Runtime is off: an optimizer may drop what looks redundant. What overflows
    FP16 is infinite (or NaN, further on) in the outputs, as on the device; nothing is hidden. Raises InputError for
    inputs of other names, shapes or dtypes than the graph's.
    """
    from engines.apply import applied
    from engines.sessions import input_specs, session

    model = applied(recipe, source, "simulate")
    feeds = check_inputs(inputs, input_specs(model))
    names = [value.name or "" for value in model.graph.outputs]
    arrays = session(model, optimize=False).run(names, feeds)
    return dict(zip(names, arrays, strict=True))


def first_overflow(recipe: Recipe, source: object, inputs: Mapping[str, npt.ArrayLike]) -> str:
    """The name of the first simulated value that is NaN or infinite for these inputs, or nothing."""
    import onnx_ir as ir

    from engines.apply import applied
    from engines.graphs import is_float
    from engines.sessions import input_specs, session

    model = applied(recipe, source, "simulate")
    values = [
        value
        for node in model.graph
        for value in node.outputs
        if is_float(value) and value.name and value.dtype != ir.DataType.BFLOAT16  # which numpy does not have
    ]
    outputs = set(model.graph.outputs)
    model.graph.outputs.extend(value for value in values if value not in outputs)
    feeds = check_inputs(inputs, input_specs(model))
    names = [value.name or "" for value in values]
    for name, array in zip(names, session(model, optimize=False).run(names, feeds), strict=True):
        if not np.isfinite(array).all():
            return name.removesuffix("/f16").removesuffix("/bf16").removesuffix("/exact")
    return ""
