"""From a Keras model to a clean ONNX graph: trace, lower, clean, finish."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from converters.arguments import exact_shapes
from converters.loading import in_keras_3
from deploy.errors import ConversionError
from deploy.manifest import LayerOutput

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from converters.report import Report

LAYOUTS = ("nhwc", "nchw")
EXPORTERS = ("auto", "direct", "tf2onnx")


@dataclass(frozen=True)
class Conversion:
    """A converted model: the graph, where each Keras layer's output is in it, and how each layer was converted."""

    model: ir.Model
    layers: tuple[LayerOutput, ...]
    report: Report


def convert(
    model: Any,
    opset: int | None = None,
    input_layout: str = "nhwc",
    exporter: str = "auto",
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> onnx.ModelProto:
    """Converts a Keras model in memory to an ONNX model.

    Args:
        model: a built Keras model, of Keras 3 or tf_keras; it is not changed.
        opset: ONNX opset of the graph, 17 to 24; default: the lowest that it needs, mostly 17. What ONNX has no single
            node for in that opset is spelled out.
        input_layout: ``nhwc``, images as Keras has them, or ``nchw``, channels first for a camera pipeline that gives
            them so.
        exporter: ``auto`` lowers every operation and hands layers that cannot be opened to tf2onnx; ``direct`` refuses
            those; ``tf2onnx`` hands it the whole model.
        shapes: input name -> shape, for inputs with unknown sizes besides the batch.

    Raises:
        ConversionError: a layer cannot be converted; the error names it and says why.
    """
    import onnx_ir as ir

    converted = convert_model(model, opset=opset, input_layout=input_layout, exporter=exporter, shapes=shapes)
    return ir.serde.serialize_model(converted.model)


def convert_model(
    model: Any,
    *,
    opset: int | None = None,
    input_layout: str = "nhwc",
    exporter: str = "auto",
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Conversion:
    """As `convert`, with the layer map and the report beside the graph."""
    model = in_keras_3(model)
    _check_arguments(model, opset, input_layout, exporter)
    from converters.keras_internals import float32_policies
    from converters.tracing.untouched import untouched

    with exact_shapes(model), untouched(model), float32_policies(model), _no_collection():
        return _convert(model, opset, input_layout, exporter, shapes)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection for the length of the block: nearly all that a conversion makes stays, and each of the
    collections that so many new objects set off looks at all of TensorFlow and Keras, a third of the time in all.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _convert(
    model: Any, opset: int | None, input_layout: str, exporter: str, shapes: Mapping[str, Sequence[int | None]] | None
) -> Conversion:
    import onnx_ir as ir

    from converters import fallback, metadata, passes, registry
    from converters import opset as opsets
    from converters.lowering import lower
    from converters.report import report
    from converters.tracing.trace import trace
    from converters.variables import read_once

    start = time.perf_counter()
    if exporter == "tf2onnx":
        return fallback.convert_whole(model, opset or opsets.LOWERED, shapes or {})
    traced = trace(
        model,
        is_leaf=registry.is_lowered,
        is_known=registry.is_known,
        opening_of=registry.opening_of,
        shapes=shapes,
    )
    if exporter == "direct":
        fallback.refuse_unopened(traced)
    version = max(opset, opsets.LOWERED) if opset is not None else opsets.needed(traced.calls)
    with read_once(), metadata.content_hash(model) as content:
        lowered = lower(traced, version, channels_first_inputs=input_layout == "nchw")
    result = ir.Model(
        lowered.graph,
        ir_version=8 if version < 19 else 10,
        producer_name="kerasrt",
        producer_version=importlib.metadata.version("kerasrt") if _installed() else "",
        metadata_props={**metadata.describe(model), "keras_content_hash": content.result()},
    )
    passes.clean(result)
    if opset in (None, opsets.LOWEST):
        opsets.lower_opset(result, required=opset is not None)
    layers = layer_map(result.graph, lowered.layers)
    return Conversion(result, layers, report(traced, result, time.perf_counter() - start))


def layer_map(graph: ir.Graph, lowered: Any) -> tuple[LayerOutput, ...]:
    """The layer map: each Keras layer's output value by name, or None where a pass fused it away."""
    names = {value.name for node in graph for value in node.outputs} | {value.name for value in graph.inputs}
    return tuple(
        LayerOutput(layer.path, layer.name if layer.name in names else None, layer.order, layer.dtype)
        for layer in lowered
    )


def _check_arguments(model: Any, opset: int | None, input_layout: str, exporter: str) -> None:
    import keras

    from converters import opset as opsets

    if not isinstance(model, keras.Model):
        raise ConversionError(
            "this is not a Keras model",
            where="convert",
            expected="a keras.Model of Keras 3 (a file goes to converters.export)",
            found=f"{type(model).__module__}.{type(model).__qualname__}",
            fix="load a file with converters.load",
        )
    for flag, value, allowed in (("input_layout", input_layout, LAYOUTS), ("exporter", exporter, EXPORTERS)):
        if value not in allowed:
            raise ConversionError(
                "unknown value", where=flag, expected=" or ".join(allowed), found=str(value), fix="give one of these"
            )
    if opset is not None and not opsets.LOWEST <= opset <= opsets.HIGHEST:
        raise ConversionError(
            "unsupported opset",
            where="opset",
            expected=f"{opsets.LOWEST} to {opsets.HIGHEST}",
            found=str(opset),
            fix="leave --opset away: the lowest that the graph needs is chosen",
        )


def _installed() -> bool:
    try:
        importlib.metadata.version("kerasrt")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
