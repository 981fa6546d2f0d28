"""Proves that a bundle's outputs equal Keras's: `verify`, and `python -m deploy.verify`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploy.bundle import Bundle
from deploy.errors import InputError
from deploy.golden import Golden, origin, read_golden
from deploy.inputs import load_inputs
from deploy.parity.compare import Parity, compare_layers, compare_outputs, run_in_slices
from deploy.runtime import Runtime


def verify(
    bundle: Bundle | Path | str | None = None,
    reference: Any = None,
    layers: bool = False,
    *,
    inputs: Path | str | None = None,
    backend: str = "auto",
    precision: str | None = None,
    custom_objects: Mapping[str, Any] | None = None,
) -> Parity:
    """Runs a bundle and compares it with Keras's outputs; ``result.passed``, ``.metrics``, ``.layers``.

    Without ``reference`` the golden pairs are replayed: what Keras gave at export. With ``reference`` (a `.keras` or
    `.h5` file, or a keras.Model) Keras is run here, on the golden inputs or those of the `.npz` ``inputs``.
    ``layers`` also compares Keras's layers with the FP32 graph's values (on ONNX Runtime's CPU) and so finds the
    first one that diverges.

    Raises BundleError where the bundle is broken or its hashes do not hold, InputError for an unusable reference or
    inputs, BackendError where nothing can run what was asked for. A failed comparison is no exception: see ``passed``.
    """
    with Runtime.load(bundle, backend, precision) as runtime:
        runtime.bundle.check()
        expected, source = _expected(runtime, reference, layers, inputs, custom_objects)
        actual = run_in_slices(runtime, expected.inputs, runtime.batch)
        compared = compare_outputs(runtime.bundle.manifest, runtime.precision, expected.outputs, actual)
        parity = Parity(compared, source, expected.batch, runtime.backend, runtime.precision)
        if not layers:
            return parity
        from deploy.parity.graph_layers import graph_layers

        found = graph_layers(runtime.bundle, expected.inputs, expected.layers)
        return dataclasses.replace(parity, layers=compare_layers(runtime.bundle.manifest, expected.layers, found))


def _expected(
    runtime: Runtime,
    reference: Any,
    layers: bool,
    inputs: Path | str | None,
    custom_objects: Mapping[str, Any] | None,
) -> tuple[Golden, str]:
    """Inputs with the outputs (and layers) to be expected for them, and where these come from in words."""
    golden = read_golden(runtime.bundle, layers=layers and reference is None)
    if reference is None:
        if inputs is not None:
            fix = "add --reference model.keras, or leave the inputs out to replay the golden pairs"
            raise InputError("other inputs than the golden ones need a reference", where=str(inputs), fix=fix)
        if golden is None:
            fix = "name the Keras model: --reference model.keras --input input.npz"
            raise InputError(
                "the bundle holds no golden pairs to compare with", where=str(runtime.bundle.folder), fix=fix
            )
        return golden, origin(runtime.bundle.manifest)
    from deploy.parity.keras_reference import keras_outputs, load_reference

    if inputs is not None:
        arrays: Mapping[str, Any] = load_inputs(inputs, runtime.inputs).arrays
    elif golden is not None:
        arrays = {spec.name: golden.inputs[spec.name] for spec in runtime.inputs}
    else:
        fix = "give inputs: --input input.npz"
        raise InputError("the bundle holds no golden inputs", where=str(runtime.bundle.folder), fix=fix)
    model = load_reference(reference, custom_objects)
    outputs, recorded = keras_outputs(model, arrays, [spec.name for spec in runtime.outputs], layers)
    return Golden(arrays, outputs, recorded), "Keras, run here"
