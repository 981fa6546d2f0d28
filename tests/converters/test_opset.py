"""The opset: the lowest that a graph needs, or the one asked for, with the same numbers in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from keras import layers, ops
from onnx import TensorProto, helper

from converters.convert import convert_model
from converters.opset import lower_opset
from deploy.errors import ConversionError
from examples.mean_spot.model import mean_spot
from examples.speech.model import speech
from tests.converters.checking import check, keras_function, operations, randomize, run_session

OPSETS = (17, 18, 19, 20, 21, 22, 23, 24)


def _transformer() -> keras.Model:
    inputs = keras.Input((6, 8), name="tokens")
    x = inputs + layers.MultiHeadAttention(2, 4, name="attention")(inputs, inputs, use_causal_mask=True)
    x = layers.RMSNormalization(name="norm")(x)
    x = x + layers.Dense(8, activation="silu", name="up")(x)
    x = layers.Dense(3, activation="gelu", name="down")(layers.LayerNormalization(name="last")(x))
    return keras.Model(inputs, layers.GlobalMaxPooling1D(name="pool")(x))


def _bitwise() -> keras.Model:
    inputs = keras.Input((4,), dtype="int32", name="x")
    return keras.Model(inputs, ops.bitwise_and(inputs, ops.full((4,), 6, "int32")))


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("make", [lambda: mean_spot("cbam"), speech, _transformer], ids=["cbam", "speech", "attention"])
def test_every_opset(make: Callable[[], keras.Model], opset: int) -> None:
    assert check(randomize(make()), opset=opset).model.opset_imports == {"": opset}


@pytest.mark.parametrize(
    ("layer", "opset", "below", "from_it_on"),
    [
        (layers.Activation("gelu"), 20, "Add:1,Div:1,Erf:1,Mul:2", "Gelu:1"),
        (layers.Activation("silu"), 24, "Mul:1,Sigmoid:1", "Swish:1"),
        (layers.RMSNormalization(), 23, "Add:1,Div:1,Mul:2,ReduceMean:1,Sqrt:1", "RMSNormalization:1"),
    ],
    ids=["gelu", "silu", "rms"],
)
def test_single_nodes_come_with_their_opset(layer: layers.Layer, opset: int, below: str, from_it_on: str) -> None:
    inputs = keras.Input((5, 4))
    model = randomize(keras.Model(inputs, layer(inputs)))
    assert operations(check(model, opset=opset - 1)) == below
    assert operations(check(model, opset=opset)) == from_it_on


def test_a_normalization_between_convolutions_costs_no_transpose() -> None:
    inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(3, 3)(layers.RMSNormalization()(layers.Conv2D(4, 3)(inputs)))
    model = randomize(keras.Model(inputs, layers.GlobalAveragePooling2D()(x)))
    assert check(model, opset=23).report.operations["Transpose"] == 1


def _attention(mask: tuple[int, ...] | None = None, heads: int = 4, **options: Any) -> keras.Model:
    query, keys = keras.Input((5, 4, 3)), keras.Input((5, heads, 3))
    masks = [] if mask is None else [keras.Input(mask, dtype="bool")]
    y = ops.dot_product_attention(query, keys, keys * 2.0, mask=masks[0] if masks else None, **options)
    return keras.Model([query, keys, *masks], y)


@pytest.mark.parametrize(
    ("model", "nodes"),
    [
        (_attention(), 1),
        (_attention(scale=0.3), 1),
        (_attention(is_causal=True), 1),
        (_attention(heads=2), 1),
        (_attention((4, 5, 5)), 1),
        (_attention((1, 5, 5), is_causal=True), 1),
        (_attention((1, 1, 5)), 0),  # one row for all queries: ONNX Runtime refuses it
        (_attention((4, 5, 1)), 0),  # one column for all keys: it would fill the others up
        (_attention(bias=np.linspace(-1, 1, 25, dtype=np.float32).reshape(1, 1, 5, 5)), 1),
    ],
)
def test_attention_is_one_node_from_23_on(model: keras.Model, nodes: int) -> None:
    """Rows of the random masks that are False as a whole are among the cases."""
    assert check(model, opset=23).report.operations.get("Attention", 0) == nodes
    assert "Attention" not in check(model, opset=22).report.operations


def test_a_single_head_of_keys_is_for_all_queries() -> None:
    """TensorFlow's einsum refuses to run it, so the reference gives each head the keys by hand."""
    model, repeated = _attention(heads=1), keras_function(_attention())
    converted = check(model, opset=23, reference=lambda x: repeated([x[0], np.repeat(x[1], 4, axis=2)]))
    assert converted.report.operations["Attention"] == 1


def test_the_lowest_that_a_graph_needs() -> None:
    assert convert_model(mean_spot("cbam")).model.opset_imports == {"": 17}
    assert check(_bitwise()).model.opset_imports == {"": 18}


def test_the_axes_of_a_reduction_are_an_attribute_in_17() -> None:
    graph = convert_model(mean_spot("cbam")).model.graph
    largest = [node for node in graph if node.op_type == "ReduceMax"]
    assert largest
    assert all(len(node.inputs) == 1 and node.attributes.get_ints("axes") for node in largest)
    assert all(value.uses() for value in graph.initializers.values())


@pytest.mark.parametrize("opset", [16, 25])
def test_other_opsets_are_refused(opset: int) -> None:
    with pytest.raises(ConversionError, match=f"opset: unsupported opset\n  expected: 17 to 24\n  found: {opset}"):
        convert_model(mean_spot(), opset=opset)


def test_an_operation_that_the_opset_lacks_is_named() -> None:
    with pytest.raises(ConversionError, match="layer 'BitwiseAnd': BitwiseAnd cannot be said in opset 17"):
        convert_model(_bitwise(), opset=17)


@pytest.mark.parametrize(
    ("axes", "options", "opset", "attribute"),
    [
        ([1], {"noop_with_empty_axes": 1}, 17, [1]),
        ([], {"noop_with_empty_axes": 0}, 17, None),
        (None, {"noop_with_empty_axes": 0}, 17, None),
        (None, {"noop_with_empty_axes": 1}, 18, None),  # it reduces nothing, which 17 cannot say
    ],
)
def test_reductions_of_other_exporters(
    axes: list[int] | None, options: dict[str, int], opset: int, attribute: list[int] | None
) -> None:
    """As tf2onnx writes them, whose nodes the fallback inlines."""
    inputs = ["x"] if axes is None else ["x", "axes"]
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", inputs, ["y"], "node", **options)],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [] if axes is None else [helper.make_tensor("axes", TensorProto.INT64, (len(axes),), axes)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    lower_opset(model)
    lowered = ir.to_proto(model)
    onnx.checker.check_model(lowered, full_check=True)
    assert model.opset_imports[""] == opset
    found = model.graph[0].attributes.get_ints("axes", None)
    assert (None if found is None else list(found)) == attribute
    x = [np.arange(6, dtype=np.float32).reshape(2, 3)]
    np.testing.assert_array_equal(run_session(lowered)(x)[0], run_session(proto)(x)[0])
