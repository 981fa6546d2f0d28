"""The model that a build starts from: its FP32 graph, and where known Keras's own outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deploy.errors import BuildError, KerasrtError
from deploy.files import sha256
from deploy.manifest import LayerOutput, TensorSpec
from deploy.npz import Array

if TYPE_CHECKING:
    import onnx_ir

    from engines.build.options import Options

Reference = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True)
class Source:
    """An FP32 graph and where it came from.

    ``keras`` is the Keras model, None for a graph that was given as such: ONNX Runtime then is the reference.
    """

    model: onnx_ir.Model
    keras: Any
    layers: tuple[LayerOutput, ...]
    provenance: dict[str, Any]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        from engines.sessions import input_specs

        return input_specs(self.model)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        from engines.sessions import output_specs

        return output_specs(self.model)

    def reference(self, inputs: Mapping[str, Array], layers: bool = False) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name and, with ``layers`` and a Keras model, layer outputs by path."""
        names = [spec.name for spec in self.outputs]
        if self.keras is None:
            return run_graph(self.model, inputs), {}
        from deploy.parity.keras_reference import keras_outputs

        return keras_outputs(self.keras, inputs, names, layers)


def run_graph(model: onnx_ir.Model, inputs: Mapping[str, Array], extra: Sequence[str] = ()) -> dict[str, Array]:
    """Outputs of an FP32 graph on ONNX Runtime, with all its optimizations; ``extra`` inner values too, by name."""
    import onnx_ir

    from deploy.parity.graph_layers import with_outputs
    from engines.sessions import output_specs, run_bytes

    graph = with_outputs(onnx_ir.to_proto(model).SerializeToString(), extra)
    return run_bytes(graph, inputs, [*(spec.name for spec in output_specs(model)), *extra])


def load(options: Options) -> Source:
    """Loads and converts the model of a build. Raises ConversionError or BuildError."""
    source = options.source
    if isinstance(source, str | Path) and Path(source).suffix != ".onnx":
        from converters.loading import load as load_model

        path = Path(source)
        model = load_model(path, options.custom_objects, trust_lambda=options.trust_lambda)
        hashed = {"sha256": sha256(path)} if path.is_file() else {}
        return _from_keras(model, options, {"source": path.name, **hashed})
    if isinstance(source, str | Path):
        if not Path(source).is_file():
            raise BuildError("no such file", where=str(source), expected="an .onnx, .keras or .h5 file")
        return _from_graph(options, {"source": Path(source).name, "sha256": sha256(Path(source))})
    if hasattr(source, "SerializeToString"):
        return _from_graph(options, {"source": "an ONNX graph in memory"})
    return _from_keras(source, options, {"source": "a Keras model in memory"})


def _from_keras(model: Any, options: Options, provenance: dict[str, Any]) -> Source:
    from converters.convert import convert_model

    conversion = convert_model(model, shapes=options.shapes)
    _require_fp32(conversion.model)
    found = {**provenance, **conversion.model.metadata_props, "reference": "keras"}
    return Source(conversion.model, model, conversion.layers, found)


def _require_fp32(model: onnx_ir.Model) -> None:
    """A recipe is written into an FP32 graph. Raises BuildError for a model whose Keras dtype policy is a lower one."""
    for node in model.graph:
        for value in node.outputs:
            if node.op_type != "Cast" and value.dtype is not None and value.dtype.name in ("FLOAT16", "BFLOAT16"):
                raise BuildError(
                    "the model computes below FP32 by its Keras dtype policy",
                    where=f"layer '{node.name}'",
                    expected="float32 layers: the recipe decides what the engine computes in",
                    found=value.dtype.name.lower(),
                    fix="build the model again under keras.config.set_dtype_policy('float32') and load its weights",
                )


def _from_graph(options: Options, provenance: dict[str, Any]) -> Source:
    from engines import graphs

    if options.shapes is not None:
        raise BuildError("shapes can only be set for a Keras model", where="shapes", fix="set them in the ONNX graph")
    return Source(graphs.load(options.source), None, (), {**provenance, "reference": "onnxruntime"})


def sensitivity(source: Source, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> dict[str, float]:
    """Per output, the largest change under three random elementwise ±2e-7 relative changes of the inputs.

    Relative to the output's largest magnitude; computed by the reference itself, so it is the model's conditioning and
    not an error of the conversion.
    """
    from deploy.parity.metrics import measure

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
