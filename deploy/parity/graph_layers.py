"""What the Keras layers of a bundle's FP32 graph give, in Keras's own layout, on ONNX Runtime's CPU.

The graph gets its inner values as further outputs without any ONNX package: in protobuf's encoding, a second occurrence
of a message field is merged into the first, and of a repeated field appended to it. So a ModelProto that holds a graph
with nothing but outputs, written behind a model's bytes, adds those outputs to the model's graph.
(https://protobuf.dev/programming-guides/encoding/#last-one-wins; field numbers from onnx.proto.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from deploy.backends.onnxruntime import OnnxRuntimeBackend
from deploy.bundle import Bundle
from deploy.errors import REBUILD, BackendError, BundleError
from deploy.npz import Array
from deploy.parity.compare import run_in_slices

_MODEL_GRAPH, _GRAPH_OUTPUT, _VALUE_NAME = 7, 12, 1


def graph_layers(bundle: Bundle, inputs: Mapping[str, Array], paths: Iterable[str]) -> dict[str, Array]:
    """Outputs by Keras layer path, for those of ``paths`` that the graph still has as values.

    Raises BackendError where the bundle has no FP32 graph, BundleError where the layer map does not fit the graph.
    """
    artifact = next((a for a in bundle.manifest.artifacts if a.kind == "graph" and a.target is None), None)
    if artifact is None:
        fix = "leave --layers out, or build the bundle again"
        raise BackendError("has no FP32 graph, so layers cannot be compared", where=str(bundle.folder), fix=fix)
    wanted = set(paths)
    layers = [layer for layer in bundle.manifest.layers if layer.path in wanted and layer.value is not None]
    outputs = {spec.name for spec in bundle.manifest.outputs}
    inner = list(dict.fromkeys(str(layer.value) for layer in layers if layer.value not in outputs))
    graph = with_outputs(bundle.read(artifact), inner)
    backend = OnnxRuntimeBackend(graph, "onnxruntime-cpu", str(bundle.path(artifact)), fp32=True)
    try:
        values = run_in_slices(backend.run, inputs, bundle.manifest.batch)
    finally:
        backend.close()
    found: dict[str, Array] = {}
    for layer in layers:
        value = values[str(layer.value)]
        if sorted(layer.order) != list(range(value.ndim)):
            raise BundleError(
                "the layer map does not fit the graph",
                where=layer.path,
                expected=f"an order of {value.ndim} axes",
                found=str(layer.order),
                fix=REBUILD,
            )
        found[layer.path] = value.transpose(np.argsort(layer.order))
    return found


def with_outputs(graph: bytes, names: Iterable[str]) -> bytes:
    """A serialized ONNX model with those of its values as further outputs, behind its own."""
    outputs = b"".join(_field(_GRAPH_OUTPUT, _field(_VALUE_NAME, name.encode())) for name in names)
    return graph + _field(_MODEL_GRAPH, outputs) if outputs else graph


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited protobuf field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    groups = []
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
