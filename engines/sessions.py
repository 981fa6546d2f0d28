"""ONNX Runtime sessions on the CPU, for calibration, simulation and checks while building."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from deploy.backends.saturation import keep_exact
from deploy.errors import BuildError
from deploy.manifest import BATCH, TensorSpec
from deploy.npz import Array
from engines.graphs import first_line


def session(model: ir.Model | bytes, optimize: bool, *, fp32: bool = False) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU, of a graph or its serialized form.

    ``optimize=False`` turns off every graph optimization: what runs is the graph as written, which a simulation needs,
    since an optimizer may drop what looks redundant. ``fp32``: quantizers in the graph (of training) are arithmetic,
    and no integer kernel takes their place. Raises BuildError where ONNX Runtime refuses the graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    keep_exact(options)
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    if fp32 or not optimize:
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    graph = model if isinstance(model, bytes) else ir.to_proto(model).SerializeToString()
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise BuildError(
            f"ONNX Runtime does not take the graph ({first_line(error)})",
            where="graph",
            fix="check the graph with onnx.checker.check_model(path, full_check=True), and export it again",
        ) from error


def run_bytes(
    graph: bytes, inputs: Mapping[str, Array], names: Sequence[str], *, fp32: bool = False
) -> dict[str, Array]:
    """Values {name: array} of a serialized graph for one batch, every optimization on; ``fp32``: see `session`."""
    values = session(graph, optimize=True, fp32=fp32).run(list(names), dict(inputs))
    return dict(zip(names, values, strict=True))


def input_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's inputs; an unknown size has the name of its dimension, the first one `BATCH`."""
    return tuple(_spec(value) for value in model.graph.inputs)


def output_specs(model: ir.Model) -> tuple[TensorSpec, ...]:
    """The graph's outputs, in the same terms."""
    return tuple(_spec(value) for value in model.graph.outputs)


def _spec(value: ir.Value) -> TensorSpec:
    if value.shape is None or value.dtype is None:
        raise BuildError(
            "has no shape or type", where=f"graph value {value.name}", fix="run onnx.shape_inference on it"
        )
    shape: list[int | str] = []
    for axis, size in enumerate(value.shape):
        if isinstance(size, int):
            shape.append(size)
        else:
            shape.append(BATCH if axis == 0 else str(size.value or f"axis{axis}"))
    return TensorSpec(value.name or "", tuple(shape), str(np.dtype(value.dtype.numpy())))
