"""Layers that cannot be opened go through tf2onnx and are inlined under the layer's name."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import onnx
import onnx_ir as ir
from keras import KerasTensor, tree

from converters import keras_internals, layout
from converters.builder import Builder, Tensor
from converters.fallback.inlining import inline
from converters.registry import Lowering, refusal_of, why_unknown
from converters.tracing.trace import Call, Trace, trace, written_variables
from deploy.errors import ConversionError

if TYPE_CHECKING:
    from converters.convert import Conversion

_LOCK = threading.Lock()


def refuse_unopened(trace: Trace) -> None:
    """Raises for the first layer that neither opens nor has a lowering (``exporter='direct'``)."""
    for call in trace.calls:
        if call.why:
            raise _cannot(call, "it cannot be opened: " + call.why)


def fallback(call: Call) -> Lowering:
    """The lowering of a call that has none: tf2onnx for a layer, an error for an operation.

    Raises ConversionError naming the layer, its configuration and the lines that would lower the operation.
    """
    if not isinstance(call.operation, keras.layers.Layer):
        raise _cannot(call, why_unknown(call.operation))
    if refusal_of(call.operation):
        raise _cannot(call, call.why)
    if keras.backend.backend() != "tensorflow":
        raise _cannot(call, f"it cannot be opened ({call.why}), and tf2onnx needs the TensorFlow backend of Keras")
    return functools.partial(_inline, call.why)


def _inline(why: str, g: Builder, layer: Any, *args: Any, **kwargs: Any) -> list[Tensor]:
    """Exports the layer alone with tf2onnx and copies its nodes into the graph."""
    inputs = [x for x in tree.flatten((args, kwargs)) if isinstance(x, Tensor)]

    def call(*values: Any) -> Any:
        given = iter(values)
        a, k = tree.map_structure(lambda x: next(given) if isinstance(x, Tensor) else x, (args, kwargs))
        return layer(*a, **k)

    specs = [(f"input_{i}", x.shape, str(x.dtype)) for i, x in enumerate(inputs)]
    variables = [*layer.variables, *(getattr(layer, "states", None) or ())]
    where = f"{g.where} ({type(layer).__name__})"
    graph = _from_function(call, variables, specs, g.graph.opset_imports[""], where, why).graph
    if len(graph.inputs) != len(inputs):
        raise ConversionError(
            "tf2onnx leaves out what the layer is called with",
            where=where,
            found=why,
            fix="write it with keras.ops, or register a lowering (docs/extending.md)",
        )
    values = inline(g, graph, [g.identity(x).value for x in inputs])
    results = []
    for found, expected in zip(values, tree.flatten(g.outputs), strict=True):
        found.shape = ir.Shape(_sizes(found, expected, inputs))
        results.append(Tensor(found, layout.identity(len(expected.shape))))
    return results


def _sizes(value: ir.Value, expected: KerasTensor, inputs: Sequence[Tensor]) -> list[Any]:
    """What is known of an output's sizes, by ONNX, by Keras or, for a batch, by the inputs."""
    known: list[Any] = list(value.shape or [ir.SymbolicDim(None)] * len(expected.shape))
    sizes = [
        size if isinstance(size, int) or size.value is not None else wanted
        for size, wanted in zip(known, expected.shape, strict=True)
    ]
    batches = [x.dims[0] for x in inputs if x.rank]
    if sizes and sizes[0] is None and batches and not isinstance(batches[0], int):
        sizes[0] = batches[0]
    return sizes


def convert_whole(model: Any, opset: int, shapes: Mapping[str, Sequence[int | None]]) -> Conversion:
    """The whole model through tf2onnx, with Keras's names of inputs and outputs; no layer map."""
    from converters.convert import Conversion
    from converters.report import Report

    start = time.perf_counter()
    traced = trace(model, is_leaf=lambda layer, *args, **kwargs: layer is not model, shapes=shapes)
    specs = [(name, tuple(x.shape), str(x.dtype)) for name, x in traced.inputs]
    structure = keras_internals.input_structure(model)

    def call(*values: Any) -> Any:
        return model(tree.pack_sequence_as(structure, list(values)), training=False)

    converted = _from_function(call, model.variables, specs, opset, f"model '{model.name}'")
    for value, (name, _) in zip(converted.graph.outputs, traced.outputs, strict=True):
        value.name = name
    operations = dict(Counter(node.op_type for node in converted.graph))
    return Conversion(converted, (), Report((), operations, time.perf_counter() - start))


def _writes(state: Any, variables: Sequence[Any]) -> list[str]:
    """What the code just run in a tf.function would change; the exported graph would silently leave that out."""
    import tensorflow as tf

    written = written_variables(state, variables)
    graph = tf.compat.v1.get_default_graph().as_graph_def(add_shapes=False)
    kinds = {node.op for node in graph.node} | {node.op for f in graph.library.function for node in f.node_def}
    assigning = ("Assign", "ResourceScatter", "ResourceApply")
    random = ("Random", "TruncatedNormal", "ParameterizedTruncatedNormal", "Multinomial")
    return (
        written
        + sorted(f"a tf.Variable ({kind})" for kind in kinds if kind.startswith(assigning))
        + sorted(f"TensorFlow's random state ({kind})" for kind in kinds if kind.startswith(random))
    )


def _constants() -> list[tuple[str, bytes]]:
    """The operations of the graph just written, with the values of its constants."""
    import tensorflow as tf

    nodes = tf.compat.v1.get_default_graph().as_graph_def(add_shapes=False).node
    return [(node.op, node.attr["value"].SerializeToString() if node.op == "Const" else b"") for node in nodes]


def _from_function(
    function: Any, variables: Sequence[Any], specs: list[tuple[str, Any, str]], opset: int, where: str, why: str = ""
) -> ir.Model:
    """Exports a function of tensors with tf2onnx.

    Raises ConversionError where tf2onnx cannot or makes what is not ONNX, where the function writes to ``variables`` or
    to a tf.Variable, draws random numbers, or does not do the same when it is run again.
    """
    import tensorflow as tf
    import tf2onnx

    written: list[str] = []
    seen: list[list[tuple[str, bytes]]] = []
    dtypes: set[str] = set()

    def stateless(*values: Any) -> Any:
        with keras.StatelessScope() as state:
            outputs = function(*values)
        written.extend(_writes(state, variables))
        seen.append(_constants())
        made = tf.compat.v1.get_default_graph().get_operations()
        dtypes.update(x.dtype.base_dtype.name for operation in made for x in operation.outputs)
        return tree.flatten(outputs)

    signature = [tf.TensorSpec(shape, dtype, name=name) for name, shape, dtype in specs]
    failure: Exception | None = None
    try:
        with _quiet():
            model, _ = tf2onnx.convert.from_function(
                tf.function(stateless), input_signature=signature, opset=min(opset, 18)
            )
        tf.function(stateless).get_concrete_function(*signature)
    except Exception as error:  # tf2onnx raises whatever its handlers raise
        failure = error
    if written:
        raise ConversionError(
            "the layer changes its own state at inference, which an engine cannot do",
            where=where,
            found="writes to " + ", ".join(dict.fromkeys(written)),
            fix="set stateful=False, or pass the state in and out",
        )
    if failure is not None:
        raise ConversionError(
            f"tf2onnx cannot convert it ({type(failure).__name__}: {' '.join(str(failure).split())[-300:]})",
            where=where,
            found=why,
            fix="write it with keras.ops, or register a lowering (docs/extending.md)",
        ) from failure
    if seen[0] != seen[-1]:
        raise ConversionError(
            "the layer's code does not do the same at each call, so one call of it would be frozen into the graph",
            where=where,
            fix="keep no state in attributes of a layer, and draw no random numbers at inference",
        )
    assert isinstance(model, onnx.ModelProto)
    converted = ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(model))
    _refuse_foreign(converted, dtypes, where, why)
    return converted


def _refuse_foreign(model: ir.Model, dtypes: set[str], where: str, why: str) -> None:
    """Raises for a node that ONNX does not have: tf2onnx logs that it knows no better, and leaves TensorFlow's."""
    foreign = [node for node in model.graph.all_nodes() if node.domain or not onnx.defs.has(node.op_type)]
    if not foreign:
        return
    kind = next((name for name in dtypes if name == "string" or name.startswith("complex")), "")
    raise ConversionError(
        f"tf2onnx makes a {foreign[0].op_type} of it, which is no ONNX operation"
        + (f": it computes with values of dtype {kind}" if kind else ""),
        where=where,
        found=why,
        fix="give the model numbers: text as tokens, complex values as real and imaginary parts"
        if kind
        else "write it with keras.ops, or register a lowering (docs/extending.md)",
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What tf2onnx logs of a failure, tracebacks too, is said by one error of ours. One conversion at a time."""
    logger = logging.getLogger("tf2onnx")
    with _LOCK:
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def _cannot(call: Call, why: str) -> ConversionError:
    operation = call.operation
    config = _config(operation) or _shapes(call)
    return ConversionError(
        f"{type(operation).__name__} cannot be converted: {why}",
        where=call.where,
        found=str(config)[:500],
        fix=_snippet(type(operation if call.unknown is None else call.unknown)),
    )


def _snippet(cls: type) -> str:
    """The lines that would lower an operation or layer."""
    lines = (
        "register a lowering (docs/extending.md):",
        f"from {cls.__module__} import {cls.__qualname__.partition('.')[0]}",
        f"@converters.lowers({cls.__qualname__})",
        f"def {cls.__name__.lower()}(g, op, x):",
        "    return converters.Tensor(g.op('ONNX operation', x.value), x.order)",
    )
    return "\n    ".join(lines)


def _config(operation: Any) -> dict[str, Any]:
    """A layer's configuration; nothing where it has none: a user's layer need not write get_config, or not rightly."""
    try:
        return operation.get_config() if isinstance(operation, keras.layers.Layer) else {}
    except Exception:  # the user's own code may raise anything
        return {}


def _shapes(call: Call) -> str:
    tensors = [x for x in tree.flatten((call.args, call.kwargs)) if isinstance(x, KerasTensor)]
    return ", ".join(f"{tuple(x.shape)} {x.dtype}" for x in tensors)
