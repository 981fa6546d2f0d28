"""One model of a package: random weights, the direct path, and the graph's outputs beside Keras's."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from benchmarks.packages.entry import Array, Entry
from converters.convert import convert_model
from converters.tracing.trace import input_tensors
from deploy.errors import ConversionError

BATCHES = (1, 3)
COUNTED = ("Transpose", "Shape", "Gather", "Cast", "Expand")


def measure(entry: Entry) -> dict[str, Any]:
    """A row: what the graph consists of, seconds, the largest error of any output, its bound; or what went wrong.

    A model that is refused with unknown sizes is converted with those of the entry, and the row says so.
    """
    import keras

    keras.utils.set_random_seed(0)
    try:
        model = entry.build()
        specs = keras.tree.flatten(input_tensors(model))  # of the inputs' names in the graph
        batches = [_inputs(entry, specs, batch) for batch in BATCHES]
        randomize(model, batches[-1])
    except Exception as error:  # what a package's own code says
        return {"failure": f"cannot be built: {_text(error)}"}
    row: dict[str, Any] = {}
    start = time.process_time()
    try:
        try:
            converted = convert_model(model, exporter="direct")
        except ConversionError as error:
            row["refused"] = _text(error)
            shapes = _shapes(specs, batches[0])
            if not shapes:
                return row
            start = time.process_time()
            converted = convert_model(model, exporter="direct", shapes=shapes)
            row["sizes"] = True
        row["seconds"] = time.process_time() - start
        nodes = Counter(node.op_type for node in converted.model.graph.all_nodes())
        row.update(nodes=sum(nodes.values()), counts={name: nodes[name] for name in COUNTED})
        row.update(_compare(model, ir.serde.serialize_model(converted.model), batches))
    except ConversionError as error:
        row["refused"] = _text(error)
    except Exception as error:  # a fault of the converter, or what the runtime says of a graph
        row["failure"] = _text(error)
    return row


def randomize(model: Any, inputs: list[Array]) -> None:
    """Gives scales, biases and statistics random values, then statistics of one training-mode pass."""
    import keras

    rng = np.random.default_rng(0)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name.endswith(("variance", "gamma", "scale")):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif variable.name.endswith(("bias", "beta", "mean")):
            variable.assign(rng.normal(0.0, 0.1, shape))
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization) and x.trainable]
    before = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(_packed(model, inputs), training=True)
    for layer, momentum in zip(norms, before, strict=True):
        layer.momentum = momentum


def _inputs(entry: Entry, specs: Sequence[Any], batch: int) -> list[Array]:
    rng = np.random.default_rng(batch)
    return [entry.array(x.name, (batch, *entry.shape(x.name, tuple(x.shape))), str(x.dtype), rng) for x in specs]


def _shapes(specs: Sequence[Any], inputs: Sequence[Array]) -> dict[str, tuple[int | None, ...]]:
    """The sizes of the inputs that have unknown ones besides the batch."""
    pairs = zip(specs, inputs, strict=True)
    return {x.name: (None, *array.shape[1:]) for x, array in pairs if None in tuple(x.shape)[1:]}


def _packed(model: Any, inputs: Sequence[Array]) -> Any:
    import keras

    return keras.tree.pack_sequence_as(input_tensors(model), list(inputs))


def _compare(model: Any, proto: Any, batches: Sequence[list[Array]]) -> dict[str, Any]:
    """The output with the largest error against its bound, max(1e-5, 10x Keras's sensitivity), over the batches."""
    import keras

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [x.name for x in keras.tree.flatten(input_tensors(model))]
    given = {x.name for x in session.get_inputs()}
    worst = {"error": 0.0, "bound": 1e-5}
    for inputs in batches:
        feeds = {name: array for name, array in zip(names, inputs, strict=True) if name in given}
        found, wanted = session.run(None, feeds), _outputs(model, inputs)
        slack = _sensitivity(model, inputs, wanted)
        for got, expected, change in zip(found, wanted, slack, strict=True):
            if got.shape != expected.shape or got.dtype != expected.dtype:
                raise ValueError(f"the graph gives {got.dtype} {got.shape}, Keras {expected.dtype} {expected.shape}")
            if not np.array_equal(np.isfinite(got), np.isfinite(expected)):
                raise ValueError("the graph and Keras differ in what is finite")
            error, bound = _error(got, expected), max(1e-5, 10 * change)
            if error / bound > worst["error"] / worst["bound"]:
                worst = {"error": error, "bound": bound}
    return worst


def _outputs(model: Any, inputs: Sequence[Array]) -> list[Array]:
    import keras

    return [keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(model(_packed(model, inputs), training=False))]


def _sensitivity(model: Any, inputs: Sequence[Array], outputs: Sequence[Array]) -> list[float]:
    """Of each output, the largest change under three random changes by 2e-7 of the float inputs, or else weights."""
    rng = np.random.default_rng(7)
    largest = [0.0] * len(outputs)
    weights = [] if any(x.dtype.kind == "f" for x in inputs) else [v for v in model.variables if "float" in v.dtype]
    before = [v.numpy() for v in weights]
    for _ in range(3):
        moved = [_moved(x, rng) if x.dtype.kind == "f" else x for x in inputs]
        for variable, value in zip(weights, before, strict=True):
            variable.assign(_moved(value, rng))
        for index, (old, new) in enumerate(zip(outputs, _outputs(model, moved), strict=True)):
            largest[index] = max(largest[index], _error(new, old))
    for variable, value in zip(weights, before, strict=True):
        variable.assign(value)
    return largest


def _moved(x: Array, rng: np.random.Generator) -> Array:
    return (x * (1 + rng.choice([-2e-7, 2e-7], x.shape))).astype(x.dtype)


def _error(got: Array, expected: Array) -> float:
    """The largest difference of finite numbers, relative to the largest of those expected."""
    finite = np.isfinite(expected) & np.isfinite(got)
    found, wanted = got[finite].astype(np.float64), expected[finite].astype(np.float64)
    return float(np.abs(found - wanted).max(initial=0.0) / max(np.abs(wanted).max(initial=0.0), 1e-6))


def _text(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
