"""The model that a build starts from: its FP32 graph, and where known Keras's own outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.errors import BuildError
from deploy.files import sha256
from deploy.manifest import BATCH, LayerOutput, TensorSpec
from deploy.npz import Array
from engines.apply.io_types import KEPT, IoTypes
from engines.build.user_code import code_names, layer_code
from engines.kinds import is_file, is_graph

if TYPE_CHECKING:
    import onnx_ir

    from engines.build.options import Options
    from engines.targets.base import Target

Reference = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclass(frozen=True)
class Opened:
    """A model that was read and not yet converted: what it takes is known already.

    ``model`` is a keras.Model (``is_keras``) or the FP32 graph that was given.
    """

    model: Any
    is_keras: bool
    inputs: tuple[TensorSpec, ...]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Source:
    """An FP32 graph and where it came from.

    ``keras`` is the Keras model, None for a graph that was given as such: ONNX Runtime then is the reference. ``io``:
    the types that its inputs and outputs have at the border of every file of the bundle.
    """

    model: onnx_ir.Model
    keras: Any
    layers: tuple[LayerOutput, ...]
    provenance: dict[str, Any]
    io: IoTypes = KEPT

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
    return run_bytes(graph, inputs, [*(spec.name for spec in output_specs(model)), *extra], fp32=True)


def load(options: Options) -> Opened:
    """Reads the model of a build. Raises ConversionError or BuildError."""
    source = options.source
    path = Path(source) if is_file(source) else None
    hashed: dict[str, Any] = {"sha256": sha256(path)} if path is not None and path.is_file() else {}
    if is_graph(source) or (path is not None and path.suffix == ".onnx"):
        called = path.name if path is not None else "an ONNX graph in memory"
        return _open_graph(options, {"source": called, **hashed, "reference": "onnxruntime"})
    if path is None:
        from converters.loading import in_keras_3

        return _open_keras(in_keras_3(source), options, {"source": "a Keras model in memory", "reference": "keras"})
    from converters.loading import load as load_model

    model = load_model(path, options.custom_objects, trust_lambda=options.trust_lambda, signature=options.signature)
    found = {"source": path.name, **hashed, "code": code_names(layer_code(model)), "reference": "keras"}
    return _open_keras(model, options, found)


def _open_keras(model: Any, options: Options, provenance: dict[str, Any]) -> Opened:
    import keras

    from converters.tracing.trace import input_tensors

    tensors = keras.tree.flatten(input_tensors(model, options.shapes))
    return Opened(model, True, tuple(_spec(tensor) for tensor in tensors), provenance)


def _spec(tensor: Any) -> TensorSpec:
    """A Keras input in the terms of graphs: an open size has a name."""
    sizes = [f"{tensor.name}_{axis}" if size is None else int(size) for axis, size in enumerate(tensor.shape)]
    return TensorSpec(tensor.name, (BATCH if tensor.shape[0] is None else sizes[0], *sizes[1:]), str(tensor.dtype))


def _open_graph(options: Options, provenance: dict[str, Any]) -> Opened:
    from engines import graphs
    from engines.lint import require_unquantized
    from engines.recipe.trained import separate
    from engines.sessions import input_specs

    if options.shapes is not None:
        raise BuildError("shapes can only be set for a Keras model", where="shapes", fix="set them in the ONNX graph")
    model = graphs.load(options.source)
    separated = graphs.load(model)
    separate(separated)
    require_unquantized(separated, str(provenance["source"]))
    return Opened(model, False, input_specs(model), provenance)


def require_sizes(opened: Opened, samples: Mapping[str, Array], options: Options, target: Target) -> None:
    """Raises BuildError where a size other than the batch is open, with the argument that closes it.

    An engine's optimization profile spans batches alone, and no random input can be made up for an open size.
    ``samples``: inputs by name whose sizes are proposed; empty where none were given.
    """
    unknown = [spec for spec in opened.inputs if any(isinstance(size, str) for size in spec.shape[1:])]
    if not unknown:
        return
    shapes = {spec.name: _proposed(spec, samples) for spec in unknown}
    fix = f"--shapes '{json.dumps(shapes)}'" + (" (the sizes of your samples)" if samples else " (with your own sizes)")
    if not opened.is_keras:
        size = next(size for size in unknown[0].shape[1:] if isinstance(size, str))
        line = f"python -m onnxruntime.tools.make_dynamic_shape_fixed --dim_param {size} --dim_value N"
        fix = f"{line} {options.source if is_file(options.source) else 'model.onnx'} fixed.onnx"
    raise BuildError(
        "has a size that is not known, other than the batch",
        where=f"input {unknown[0].name}",
        expected=f"known sizes, {'or a sample that shows them' if target.open_sizes else f'for {target.name}'}",
        found="(" + ", ".join("?" if isinstance(size, str) else str(size) for size in unknown[0].shape) + ")",
        fix=fix,
    )


def _proposed(spec: TensorSpec, samples: Mapping[str, Array]) -> list[int | None]:
    """A shape for ``--shapes``: the samples' own sizes, or 224, that of ImageNet's models."""
    found = samples[spec.name].shape if spec.name in samples else (224,) * len(spec.shape)
    batch = spec.shape[0] if isinstance(spec.shape[0], int) else None
    return [batch, *(size if isinstance(size, int) else found[axis] for axis, size in enumerate(spec.shape[1:], 1))]


def convert(opened: Opened, options: Options) -> Source:
    """The FP32 graph of the model. Raises ConversionError or BuildError."""
    if not opened.is_keras:
        return Source(opened.model, None, (), opened.provenance)
    from converters.convert import convert_model

    conversion = convert_model(opened.model, shapes=options.shapes)
    _require_fp32(conversion.model)
    provenance = {**opened.provenance, **conversion.model.metadata_props}
    return Source(conversion.model, opened.model, conversion.layers, provenance)


def _require_fp32(model: onnx_ir.Model) -> None:
    """A recipe is written into an FP32 graph. Raises BuildError for a model that casts to a lower type by itself."""
    for node in model.graph:
        for value in node.outputs:
            if node.op_type != "Cast" and value.dtype is not None and value.dtype.name in ("FLOAT16", "BFLOAT16"):
                raise BuildError(
                    "the model computes below FP32 by casts of its own",
                    where=f"layer '{node.name}'",
                    expected="float32 layers: the recipe decides what the engine computes in",
                    found=value.dtype.name.lower(),
                    fix="leave the casts out; a dtype policy, mixed_float16 say, does no harm",
                )


def require_calibration(options: Options, model: onnx_ir.Model) -> None:
    """Raises BuildError for INT8 without calibration data, unless the model has the scales that it was trained with."""
    from engines.build.options import needs_calibration
    from engines.graphs import load as copied
    from engines.recipe.trained import separate

    if options.uncalibrated() and not separate(copied(model)):
        raise needs_calibration("int8", options)


def check_labels(labels: Sequence[str], outputs: tuple[TensorSpec, ...]) -> None:
    """Raises BuildError where there are labels and no output has as many classes."""
    classes = {spec.name: spec.shape[-1] for spec in outputs if len(spec.shape) > 1}
    if labels and len(labels) not in classes.values():
        raise BuildError(
            "there are not as many labels as classes",
            where="labels",
            expected=", ".join(f"{size} for output {name}" for name, size in classes.items()) or "no labels",
            found=str(len(labels)),
            fix="name every class once, in the order of the output",
        )
