"""The checker of the converters' tests: converts a model, checks its graph, and compares what it gives with Keras.

Parity is by execution on ONNX Runtime's CPU, with random non-zero biases and BatchNormalization statistics. The
threshold is max(1e-5, 10 times Keras's own sensitivity), relative to the output's scale: its largest change under
three random elementwise changes of the input by ±2e-7.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from keras import tree
from numpy.typing import NDArray

from converters.convert import Conversion, convert_model

Array = NDArray[Any]
Reference = Callable[[list[Array]], Sequence[Array]]

BATCHES = (1, 3)
UNKNOWN = 6
"""What stands for an unknown size when a model is run."""


@dataclass(frozen=True)
class Case:
    """One layer or function, the shape of its input without the batch (a list of shapes: several inputs, as a list).

    ``expects``: the graph's operations, as ``"Conv:1,Transpose:2"``.
    """

    what: Any
    shape: Any
    expects: str = ""
    dtype: str = "float32"
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        name = getattr(self.what, "__name__", type(self.what).__name__)
        given = "-".join(f"{key}={value}" for key, value in self.kwargs.items())
        return f"{name}-{self.shape}-{given}".replace(" ", "")

    def model(self) -> keras.Model:
        """The case as a functional model."""
        several = isinstance(self.shape, list)
        shapes = self.shape if several else [self.shape]
        inputs = [keras.Input(shape, dtype=self.dtype, name=f"x{index}") for index, shape in enumerate(shapes)]
        given = inputs if several else inputs[0]
        is_layer = isinstance(self.what, type) and issubclass(self.what, keras.layers.Layer)
        outputs = self.what(**self.kwargs)(given) if is_layer else self.what(given, **self.kwargs)
        return keras.Model(inputs, outputs)

    def check(self) -> Conversion:
        """Parity, and the operations that are expected."""
        converted = check(randomize(self.model()))
        if self.expects:
            assert operations(converted) == self.expects, operations(converted)
        return converted


class Function(keras.layers.Layer):  # type: ignore[misc]  # Keras has no type information
    """A layer whose call is a function: what a user writes in keras.ops, under a layer's name."""

    def __init__(self, function: Callable[..., Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def case(what: Any, shape: Any, expects: str = "", dtype: str = "float32", **kwargs: Any) -> Case:
    """A case whose layer or function gets ``kwargs``."""
    return Case(what, shape, expects, dtype, kwargs)


def parametrize(cases: Sequence[Case]) -> pytest.MarkDecorator:
    """The cases as the argument ``item`` of a test."""
    return pytest.mark.parametrize("item", cases, ids=str)


def operations(converted: Conversion) -> str:
    """The graph's operations with their counts, in alphabetical order."""
    counts = Counter(node.op_type for node in converted.model.graph)
    return ",".join(f"{name}:{counts[name]}" for name in sorted(counts))


def randomize(model: keras.Model, seed: int = 0) -> keras.Model:
    """Gives every bias, beta, gamma and statistic a random value that is far from Keras's initial 0 or 1."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name.endswith(("variance", "gamma", "scale")):
            variable.assign(rng.uniform(0.5, 1.5, shape))
        elif variable.name.endswith(("bias", "beta", "mean", "alpha")):
            variable.assign(rng.normal(0.0, 0.4, shape))
    return model


def check(
    model: keras.Model, *, reference: Reference | None = None, layers: bool = False, **options: Any
) -> Conversion:
    """Converts, checks the graph, and compares with Keras at each of BATCHES.

    ``reference``: gives the expected outputs instead of the model; ``layers``: the outputs of the model's own layers
    are compared too. Returns the conversion.
    """
    converted = convert_model(model, **options)
    proto = check_graph(converted)
    session = run_session(proto)
    for batch in BATCHES:
        inputs = random_inputs(converted, batch, seed=batch)
        compare(session(inputs), inputs, reference or keras_function(model))
    if layers:
        check_layers(model, converted)
    return converted


def check_graph(converted: Conversion) -> onnx.ModelProto:
    """The graph is valid, every value has a dtype and a shape, and the layer map names values that exist."""
    proto = ir.serde.serialize_model(converted.model)
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    graph = converted.model.graph
    every = list(graph.all_nodes())  # those of branches and loops too
    inputs = [value for inner in (graph, *graph.subgraphs()) for value in inner.inputs]
    # an output that a node leaves out, as a recurrent one may, has the name ""
    values = [*inputs, *(value for node in every for value in node.outputs if value.name != "")]
    missing = [value.name for value in values if value.dtype is None or value.shape is None]
    assert not missing
    names = [value.name for value in [*values, *graph.initializers.values()]]
    assert len(names) == len(set(names))
    nodes = [node.name for node in every]
    assert all(nodes)
    assert len(nodes) == len(set(nodes))
    by_name = {value.name: value for value in values}
    for layer in converted.layers:
        if layer.value is not None:
            value = by_name[layer.value]
            assert value.shape is not None
            assert value.dtype is not None
            assert len(layer.order) == len(value.shape)
            assert str(value.dtype.numpy()) == layer.dtype
    return proto


def run_session(proto: onnx.ModelProto) -> Callable[[list[Array]], list[Array]]:
    """The graph as a function of its inputs in order; ONNX Runtime gives bfloat16 to Python as float32 alone."""
    proto, narrow = _bfloat16_as_float32(proto)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]

    def run(inputs: list[Array]) -> list[Array]:
        outputs = session.run(None, dict(zip(names, inputs, strict=True)))
        return [x.astype(ml_dtypes.bfloat16) if i in narrow else x for i, x in enumerate(outputs)]

    return run


def _bfloat16_as_float32(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, set[int]]:
    """The graph with each bfloat16 output cast to float32, which keeps its value, and the places of those outputs."""
    places = {i for i, x in enumerate(proto.graph.output) if x.type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16}
    if places:
        copy = onnx.ModelProto()
        copy.CopyFrom(proto)
        for i in places:
            output = copy.graph.output[i]
            copy.graph.node.append(
                onnx.helper.make_node("Cast", [output.name], [f"{output.name}:float32"], to=onnx.TensorProto.FLOAT)
            )
            output.name, output.type.tensor_type.elem_type = f"{output.name}:float32", onnx.TensorProto.FLOAT
        proto = copy
    return proto, places


def random_inputs(converted: Conversion, batch: int, seed: int = 0) -> list[Array]:
    """Standard normal values for float inputs, 0 to 4 for integers, either for booleans."""
    rng = np.random.default_rng(seed)
    arrays: list[Array] = []
    for value in converted.model.graph.inputs:
        assert value.shape is not None
        assert value.dtype is not None
        sizes = [d if isinstance(d, int) else batch if d.value == "batch" else UNKNOWN for d in value.shape]
        dtype = value.dtype.numpy()
        if dtype.kind == "f":
            arrays.append(rng.standard_normal(sizes).astype(dtype))
        else:
            arrays.append(rng.integers(0, 2 if dtype.kind == "b" else 5, sizes).astype(dtype))
    return arrays


def keras_function(model: keras.Model) -> Reference:
    """A Keras model as a function of its inputs in order."""
    structure = getattr(model, "_inputs_struct", None)

    def function(inputs: list[Array]) -> list[Array]:
        given = tree.pack_sequence_as(structure, inputs) if structure is not None else inputs
        given = given[0] if isinstance(given, list) and len(given) == 1 else given
        return [keras.ops.convert_to_numpy(x) for x in tree.flatten(model(given, training=False))]

    return function


def compare(found: Sequence[Array], inputs: list[Array], reference: Reference) -> None:
    """Asserts equality of shapes, dtypes and values; integers and booleans are equal exactly."""
    expected = reference(inputs)
    assert len(found) == len(expected)
    slack = sensitivity(reference, inputs, expected)
    for got, wanted, change in zip(found, expected, slack, strict=True):
        assert got.shape == wanted.shape
        assert got.dtype == wanted.dtype
        if wanted.dtype.kind != "f":
            np.testing.assert_array_equal(got, wanted)
            continue
        floor = 1e-5 if wanted.dtype == np.float32 else 4 * float(np.finfo(wanted.dtype).eps)
        assert np.array_equal(np.isfinite(got), np.isfinite(wanted))
        error = np.abs(np.where(np.isfinite(wanted), got - wanted, 0).astype(np.float64)).max(initial=0.0)
        assert error <= max(floor, 10 * change) * scale(wanted), f"error {error:.3g}, scale {scale(wanted):.3g}"


def scale(array: Array) -> float:
    """The largest finite absolute value."""
    finite = np.abs(array[np.isfinite(array)].astype(np.float64))
    return max(float(finite.max(initial=0.0)), 1e-6)


def sensitivity(reference: Reference, inputs: list[Array], outputs: Sequence[Array]) -> list[float]:
    """Per output, the largest relative change under three random elementwise ±2e-7 changes of the float inputs."""
    rng = np.random.default_rng(7)
    largest = [0.0] * len(outputs)
    for _ in range(3):
        moved = [
            x * (1 + rng.choice([-2e-7, 2e-7], x.shape)).astype(x.dtype) if x.dtype == np.float32 else x for x in inputs
        ]
        for index, (old, new) in enumerate(zip(outputs, reference(moved), strict=True)):
            if old.dtype.kind == "f":
                difference = np.where(np.isfinite(old) & np.isfinite(new), old - new, 0).astype(np.float64)
                largest[index] = max(largest[index], float(np.abs(difference).max(initial=0.0)) / scale(old))
    return largest


def check_layers(model: keras.Model, converted: Conversion) -> int:
    """Compares every value that the layer map names with what that layer of a functional model gives.

    Only layers of the model itself that are called once; returns how many were compared.
    """
    places = {layer.path: layer for layer in converted.layers if layer.value is not None and "/" not in layer.path}
    found = [x for x in model.layers if x.name in places and len(x._inbound_nodes) == 1 and _single(x)]
    graph = converted.model.graph
    before = list(graph.outputs)
    values = {value.name: value for value in [*graph.inputs, *(v for node in graph for v in node.outputs)]}
    wanted = [places[x.name] for x in found if not values[places[x.name].value].is_graph_input()]
    extra = [values[x.value] for x in wanted]
    graph.outputs.extend(value for value in dict.fromkeys(extra) if value not in before)
    try:
        session = run_session(ir.serde.serialize_model(converted.model))
        names = [value.name for value in graph.outputs]
    finally:
        del graph.outputs[len(before) :]
    inputs = random_inputs(converted, 2, seed=5)
    outputs = dict(zip(names, session(inputs), strict=True))
    for place in wanted:
        logical = keras_function(keras.Model(model.inputs, model.get_layer(place.path).output))
        assert place.value is not None
        physical = outputs[place.value]
        back = [place.order.index(axis) for axis in range(physical.ndim)]
        compare([physical.transpose(back)], inputs, logical)
    return len(wanted)


def _single(layer: keras.layers.Layer) -> bool:
    return isinstance(layer.output, keras.KerasTensor)
