"""The parity check of a build: the FP32 graph against Keras, before anything is written, and Keras against itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from deploy.errors import KerasrtError, ParityError
from deploy.golden import Golden
from deploy.npz import Array
from deploy.parity.metrics import measure
from deploy.parity.thresholds import threshold
from engines.build.source import Source, run_graph

if TYPE_CHECKING:
    import onnx_ir as ir

DRAWS = 3
CHANGE = 2e-7


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
    """Per output, the largest change under `DRAWS` random elementwise ±2e-7 relative changes of the inputs.

    Relative to the output's largest magnitude; computed by the reference itself, so it is the model's conditioning and
    not an error of the conversion. Of a model with quantizers (of training) the first would swallow such a change, and
    one behind it meets values halfway between two steps all the same: there it is the graph's too, under such changes
    of what each quantizer divides by.
    """
    found = dict.fromkeys(outputs, 0.0)
    for seed in range(DRAWS):
        random = np.random.default_rng(seed)
        changed = {name: _perturbed(array, random) for name, array in inputs.items()}
        for name, array in source.reference(changed)[0].items():
            found[name] = max(found[name], measure(outputs[name], array).relative)
    if any(node.op_type == "QuantizeLinear" for node in source.model.graph):
        exact = run_graph(source.model, inputs)
        for seed in range(DRAWS):
            for name, array in run_graph(_other_steps(source.model, seed), inputs).items():
                found[name] = max(found[name], measure(exact[name], array).relative)
    return found


def _other_steps(model: ir.Model, seed: int) -> ir.Model:
    """The graph with a little change of the scale of each quantizer, but not of what dequantizes."""
    from engines.apply.placement import initializer
    from engines.graphs import constant, load

    random, changed = np.random.default_rng(seed), load(model)
    for node in changed.graph:
        scale = constant(node.inputs[1]) if node.op_type == "QuantizeLinear" else None
        if scale is not None:
            other = np.asarray(scale * (1 + CHANGE * random.choice([-1.0, 1.0])), scale.dtype)
            node.replace_input_with(1, initializer(changed, f"{node.name}/other_step", other))
    return changed


def _perturbed(array: Array, random: np.random.Generator) -> Array:
    if array.dtype.kind != "f":
        return array
    factor = 1 + CHANGE * random.choice([-1.0, 1.0], size=array.shape)
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
