"""Compares what a runtime gives with what Keras gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from deploy.errors import BundleError
from deploy.manifest import Manifest
from deploy.npz import Array
from deploy.parity.metrics import Metrics, measure
from deploy.parity.thresholds import Threshold, threshold

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass(frozen=True)
class Comparison:
    """One output, or one Keras layer's output, against its reference.

    ``constant``: the reference is the same for every one of several samples, so that agreement proves little.
    """

    name: str
    metrics: Metrics
    threshold: Threshold
    constant: bool = False

    @property
    def passed(self) -> bool:
        return self.threshold.holds(self.metrics)


@dataclass(frozen=True)
class Parity:
    """The verdict: every output within its threshold.

    ``outputs`` follows the model's outputs, ``layers`` the order of computation (empty unless layers were asked for).
    Layers are a diagnosis and do not change ``passed``; they are compared on the FP32 graph, where they have names.
    ``reference`` says what the expected values come from, ``samples`` how many there were.
    """

    outputs: tuple[Comparison, ...]
    reference: str
    samples: int
    backend: str
    precision: str
    layers: tuple[Comparison, ...] = ()

    @property
    def passed(self) -> bool:
        return all(comparison.passed for comparison in self.outputs)

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Metrics by output name."""
        return {comparison.name: comparison.metrics for comparison in self.outputs}

    @property
    def first_diverging(self) -> Comparison | None:
        """The first compared layer, in order of computation, that is not within its threshold."""
        return next((comparison for comparison in self.layers if not comparison.passed), None)


def compare_outputs(
    manifest: Manifest, precision: str | None, reference: Mapping[str, Array], actual: Mapping[str, Array]
) -> tuple[Comparison, ...]:
    """Holds every output against its reference. Raises BundleError where one is missing or of another shape.

    An output that the bundle gives in float16 is rounded to it, whatever was computed in: it is judged as FP16.
    """
    simulated = manifest.simulated.get(precision or "", {})
    compared = []
    for spec in manifest.outputs:
        judged = "fp16" if spec.dtype == "float16" and precision in ("fp32", None) else precision
        bound = threshold(judged, manifest.sensitivity.get(spec.name, 0.0), simulated.get(spec.name))
        compared.append(_compare(spec.name, reference, actual, bound))
    return tuple(compared)


def compare_layers(
    manifest: Manifest, reference: Mapping[str, Array], actual: Mapping[str, Array]
) -> tuple[Comparison, ...]:
    """Holds Keras layers (by path, in Keras's layout) against the FP32 graph's, in the manifest's order.

    One whose output the bundle gives in float16 is judged as FP16, as `compare_outputs` does.
    """
    sensitivity = max(manifest.sensitivity.values(), default=0.0)
    paths = [layer.path for layer in manifest.layers if layer.path in reference and layer.path in actual]
    judged = {path: "fp16" if actual[path].dtype == np.float16 else "fp32" for path in paths}
    return tuple(_compare(path, reference, actual, threshold(judged[path], sensitivity)) for path in paths)


def run_in_slices(run: Run, inputs: Mapping[str, Array], limits: tuple[int, int] | None) -> dict[str, Array]:
    """Runs a batch in slices that ``limits`` (smallest and largest batch) allow; joins the outputs along axis 0.

    What is left for the last slice may be fewer than the smallest batch: it is filled up with the last sample, and the
    outputs of that are dropped.
    """
    batch = len(next(iter(inputs.values())))
    if limits is None or limits[0] <= batch <= limits[1]:
        return dict(run(inputs))
    smallest, largest = limits
    parts = []
    for start in range(0, batch, largest):
        size = min(largest, batch - start)
        index = np.minimum(np.arange(start, start + max(size, smallest)), batch - 1)
        outputs = run({name: array[index] for name, array in inputs.items()})
        parts.append({name: array[:size] for name, array in outputs.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _compare(name: str, reference: Mapping[str, Array], actual: Mapping[str, Array], bound: Threshold) -> Comparison:
    try:
        wanted = reference[name]
        constant = wanted.ndim > 0 and len(wanted) > 1 and bool((wanted == wanted[:1]).all())
        return Comparison(name, measure(wanted, actual[name]), bound, constant)
    except (KeyError, ValueError) as error:
        found = f"nothing named {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(
            "cannot be compared with its reference",
            where=name,
            expected="values of the reference's shape",
            found=found,
            fix="the reference belongs to another model; build the bundle again, or name the right one",
        ) from error
