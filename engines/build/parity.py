"""The parity check of a build: the FP32 graph against Keras, before anything is written, and Keras against itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from deploy.errors import KerasrtError, ParityError
from deploy.golden import Golden
from deploy.npz import Array
from deploy.parity.metrics import measure
from deploy.parity.thresholds import threshold
from engines.build.source import Source, run_graph


def check(source: Source, golden: Golden, sensitivity: Mapping[str, float]) -> dict[str, float]:
    """Runs the FP32 graph on the golden inputs; returns the relative error of each output.

    Raises ParityError, with the first Keras layer that diverges, where an output is beyond max(1e-5, 10 x its
    sensitivity).
    """
    outputs = run_graph(source.model, golden.inputs)
    errors: dict[str, float] = {}
    for name, expected in golden.outputs.items():
        metrics = measure(expected, outputs[name])
        bound = threshold("fp32", sensitivity.get(name, 0.0))
        errors[name] = metrics.relative
        if not bound.holds(metrics):
            layer = _first_diverging(source, golden, max(sensitivity.values(), default=0.0))
            raise ParityError(
                "the FP32 graph does not equal the Keras model",
                where=f"output {name}",
                expected=f"relative error of at most {bound.limit:.2g}",
                found=f"{metrics.relative:.2g}" + (f"; the first layer that differs is {layer}" if layer else ""),
                fix="nothing was written; please report this model",
            )
    return errors


def _first_diverging(source: Source, golden: Golden, sensitivity: float) -> str:
    """The first of the golden layers that the graph computes otherwise, or nothing."""
    layers = [layer for layer in source.layers if layer.path in golden.layers and layer.value is not None]
    names = {str(layer.value) for layer in layers} - set(golden.outputs)
    values = run_graph(source.model, golden.inputs, sorted(names))
    bound = threshold("fp32", sensitivity)
    for layer in layers:
        found = values[str(layer.value)].transpose(np.argsort(layer.order))
        if not bound.holds(measure(golden.layers[layer.path], found)):
            return layer.path
    return ""


def sensitivity(source: Source, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, float]:
    """Per output, the largest change under three random elementwise ±2e-7 relative changes of the inputs.

    Relative to the output's largest magnitude; computed by the reference itself, so it is the model's conditioning and
    not an error of the conversion.
    """
    found = dict.fromkeys(outputs, 0.0)
    for seed in range(3):
        random = np.random.default_rng(seed)
        changed = {name: _perturbed(array, random) for name, array in inputs.items()}
        for name, array in source.reference(changed)[0].items():
            found[name] = max(found[name], measure(outputs[name], array).relative)
    return found


def _perturbed(array: Array, random: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    factor = 1 + 2e-7 * random.choice([-1.0, 1.0], size=array.shape)
    return np.asarray(array * factor, array.dtype)


def require_finite(outputs: Mapping[str, Array]) -> None:
    """Raises KerasrtError where the reference itself gives NaN or infinity: nothing could be compared with it."""
    for name, array in outputs.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise KerasrtError(
                f"output {name} of the Keras model is NaN or infinite on the sample inputs",
                where="golden pairs",
                fix="give a sample input on which the model works, or mend its weights",
            )
