"""Convolutions: dimensions, padding, strides, dilation, groups, data formats; depthwise, separable, transposed."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from tests.converters.checking import (
    Array,
    Case,
    Function,
    case,
    check,
    check_graph,
    compare,
    keras_function,
    operations,
    parametrize,
    random_inputs,
    randomize,
    run_session,
)

CASES = [
    case(layers.Conv1D, (9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3),
    case(layers.Conv1D, (9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, strides=2, padding="same"),
    case(layers.Conv1D, (9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, padding="causal"),
    case(layers.Conv1D, (9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, padding="causal", dilation_rate=2),
    case(layers.Conv1D, (9, 4), "Conv:1,Transpose:2", filters=4, kernel_size=3, groups=2, use_bias=False),
    case(layers.Conv2D, (8, 7, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3),
    case(layers.Conv2D, (8, 7, 3), "Conv:1,Relu:1,Transpose:2", filters=4, kernel_size=3, activation="relu"),
    case(layers.Conv2D, (8, 7, 3), "Conv:1,Transpose:2", filters=4, kernel_size=(3, 2), padding="same"),
    case(layers.Conv2D, (8, 7, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, strides=2, padding="same"),
    case(
        layers.Conv2D,
        (8, 7, 3),
        "Conv:1,Transpose:2",
        filters=4,
        kernel_size=4,
        strides=(3, 2),
        padding="same",
        use_bias=False,
    ),
    case(layers.Conv2D, (8, 7, 3), "Conv:1,Transpose:2", filters=4, kernel_size=(1, 3), strides=(1, 2)),
    case(
        layers.Conv2D, (9, 9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, dilation_rate=(2, 3), padding="same"
    ),
    case(layers.Conv2D, (9, 9, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, dilation_rate=2),
    case(layers.Conv2D, (8, 7, 6), "Conv:1,Transpose:2", filters=9, kernel_size=3, groups=3, padding="same"),
    case(layers.Conv2D, (8, 7, 6), "Conv:1,Transpose:2", filters=6, kernel_size=3, groups=6, strides=2),
    case(layers.Conv2D, (8, 7, 6), "Conv:1,Transpose:2", filters=6, kernel_size=3, groups=6, strides=[2, 2]),
    case(layers.Conv2D, (5, 6, 1), "Conv:1,Reshape:1,Transpose:1", filters=4, kernel_size=3),
    case(layers.Conv2D, (5, 6, 3), "Conv:1,Reshape:1,Transpose:1", filters=1, kernel_size=3),
    case(layers.Conv2D, (None, None, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3, strides=2, padding="same"),
    case(layers.Conv2D, (None, 7, 3), "Conv:1,Transpose:2", filters=4, kernel_size=3),
    case(layers.Conv3D, (5, 6, 4, 2), "Conv:1,Transpose:2", filters=3, kernel_size=2),
    case(
        layers.Conv3D, (5, 6, 4, 2), "Conv:1,Transpose:2", filters=3, kernel_size=3, strides=(1, 2, 2), padding="same"
    ),
    case(layers.Conv3D, (5, 6, 5, 2), "Conv:1,Transpose:2", filters=3, kernel_size=2, dilation_rate=2),
    case(layers.DepthwiseConv1D, (9, 3), "Conv:1,Transpose:2", kernel_size=3),
    case(
        layers.DepthwiseConv1D,
        (9, 3),
        "Conv:1,Transpose:2",
        kernel_size=4,
        strides=2,
        padding="same",
        depth_multiplier=2,
    ),
    case(layers.DepthwiseConv2D, (8, 7, 3), "Conv:1,Transpose:2", kernel_size=3),
    case(
        layers.DepthwiseConv2D,
        (8, 7, 3),
        "Conv:1,Transpose:2",
        kernel_size=3,
        strides=2,
        padding="same",
        depth_multiplier=2,
    ),
    case(layers.DepthwiseConv2D, (9, 9, 3), "Conv:1,Transpose:2", kernel_size=3, dilation_rate=2, use_bias=False),
    case(layers.DepthwiseConv2D, (9, 9, 1), "Conv:1,Reshape:1,Transpose:1", kernel_size=3, depth_multiplier=4),
    case(layers.SeparableConv1D, (9, 3), "Conv:2,Transpose:2", filters=4, kernel_size=3, padding="same"),
    case(
        layers.SeparableConv2D,
        (8, 7, 3),
        "Conv:2,Transpose:2",
        filters=5,
        kernel_size=3,
        strides=2,
        padding="same",
        depth_multiplier=2,
    ),
    case(layers.SeparableConv2D, (8, 7, 3), "Conv:2,Relu:1,Transpose:2", filters=5, kernel_size=3, activation="relu"),
    case(
        layers.Conv1DTranspose,
        (5, 3),
        "ConvTranspose:1,Transpose:2",
        filters=4,
        kernel_size=3,
        strides=2,
        padding="same",
    ),
    case(layers.Conv1DTranspose, (5, 3), "ConvTranspose:1,Transpose:2", filters=4, kernel_size=2, strides=3),
    case(layers.Conv2DTranspose, (5, 4, 3), "ConvTranspose:1,Transpose:2", filters=2, kernel_size=3),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=4,
        strides=2,
        padding="same",
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=5,
        strides=(3, 2),
        padding="valid",
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=2,
        strides=3,
        padding="same",
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=2,
        strides=3,
        padding="valid",
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
        output_padding=1,
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
        output_padding=0,
    ),
    case(
        layers.Conv2DTranspose,
        (5, 4, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=3,
        strides=3,
        padding="valid",
        output_padding=1,
    ),
    case(
        layers.Conv2DTranspose,
        (None, None, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=3,
        strides=2,
        padding="same",
    ),
    case(
        layers.Conv2DTranspose,
        (None, None, 3),
        "ConvTranspose:1,Transpose:2",
        filters=2,
        kernel_size=2,
        strides=3,
        padding="valid",
    ),
    case(
        layers.Conv3DTranspose,
        (3, 4, 2, 2),
        "ConvTranspose:1,Transpose:2",
        filters=3,
        kernel_size=3,
        strides=2,
        padding="same",
    ),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


CHANNELS_FIRST: list[tuple[Any, tuple[int, ...], dict[str, Any]]] = [
    (layers.Conv1D, (9, 3), {"filters": 4, "kernel_size": 3, "padding": "same", "strides": 2}),
    (layers.Conv2D, (8, 7, 3), {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}),
    (layers.Conv2D, (8, 7, 6), {"filters": 4, "kernel_size": 3, "groups": 2}),
    (layers.Conv3D, (5, 6, 4, 2), {"filters": 3, "kernel_size": 2}),
    (layers.DepthwiseConv2D, (8, 7, 3), {"kernel_size": 3, "depth_multiplier": 2}),
    (layers.SeparableConv2D, (8, 7, 3), {"filters": 4, "kernel_size": 3, "padding": "same"}),
    (layers.Conv2DTranspose, (5, 4, 3), {"filters": 2, "kernel_size": 3, "strides": 2, "padding": "same"}),
]


@pytest.mark.parametrize(("layer", "shape", "kwargs"), CHANNELS_FIRST, ids=[str(c) for c in CHANNELS_FIRST])
def test_channels_first_equals_channels_last(layer: Any, shape: tuple[int, ...], kwargs: dict[str, Any]) -> None:
    """TensorFlow's CPU kernels know channels_last alone, so the reference is the same layer in that format."""
    last = randomize(Case(layer, shape, kwargs=kwargs).model())
    turned = (shape[-1], *shape[:-1])
    first = Case(layer, turned, kwargs={**kwargs, "data_format": "channels_first"}).model()
    first.set_weights(last.get_weights())

    def reference(inputs: list[Array]) -> list[Array]:
        (output,) = keras_function(last)([np.moveaxis(inputs[0], 1, -1)])
        return [np.moveaxis(output, -1, 1)]

    converted = check(first, reference=reference)
    assert "Transpose" not in converted.report.operations


def test_a_chain_moves_its_input_alone() -> None:
    x = inputs = keras.Input((12, 12, 3))
    for filters in (4, 5, 6):
        x = layers.Conv2D(filters, 3)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    converted = check(randomize(keras.Model(inputs, x)), layers=True)
    assert operations(converted) == "Conv:3,ReduceMean:1,Relu:3,Transpose:1"


def test_nchw_input_layout() -> None:
    model = randomize(Case(layers.Conv2D, (8, 7, 3), kwargs={"filters": 4, "kernel_size": 3}).model())
    converted = convert_model(model, input_layout="nchw")
    session = run_session(check_graph(converted))
    inputs = random_inputs(converted, 2)
    assert inputs[0].shape == (2, 3, 8, 7)
    compare(session(inputs), inputs, lambda x: keras_function(model)([np.moveaxis(x[0], 1, -1)]))
    assert operations(converted) == "Conv:1,Transpose:1"


def test_a_computed_kernel() -> None:
    model = Case(lambda xs: ops.conv(xs[0], xs[1][0], padding="same"), [(8, 7, 3), (3, 3, 3, 4)]).model()
    converted = convert_model(model)
    session = run_session(check_graph(converted))
    inputs = random_inputs(converted, 1)
    compare(session(inputs), inputs, keras_function(model))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda xs: ops.depthwise_conv(xs[0], xs[1][0], strides=2, padding="same"), [(8, 7, 3), (3, 2, 3, 2)]),
        (
            lambda xs: ops.separable_conv(xs[0], xs[1][0], xs[2][0], padding="same"),
            [(8, 3), (3, 3, 2), (1, 6, 4)],
        ),
        (lambda xs: ops.conv_transpose(xs[0], xs[1][0], strides=2, padding="same"), [(5, 4, 3), (3, 3, 2, 3)]),
    ],
)
def test_computed_kernels_of_other_convolutions(function: Any, shapes: Any) -> None:
    inputs = [keras.Input(shape) for shape in shapes]
    model = keras.Model(inputs, Function(function)(inputs))
    converted = convert_model(model)
    arrays = random_inputs(converted, 1)
    compare(run_session(check_graph(converted))(arrays), arrays, keras_function(model))


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("output_padding", [None, 0, 1])
def test_a_transposed_convolution_of_an_unknown_size(output_padding: int | None, padding: str) -> None:
    kwargs = {"filters": 2, "kernel_size": 3, "strides": 2, "padding": padding, "output_padding": output_padding}
    Case(layers.Conv2DTranspose, (None, 5, 3), "ConvTranspose:1,Transpose:2", kwargs=kwargs).check()


def test_padding_of_an_unknown_size() -> None:
    """With a stride of 1 it does not depend on the size; with a larger one it does, and auto_pad knows no dilation."""
    for kwargs in ({"kernel_size": 3, "dilation_rate": 2}, {"kernel_size": 1, "strides": 3}):
        converted = Case(layers.Conv2D, (None, 7, 3), kwargs={"filters": 2, "padding": "same", **kwargs}).check()
        (conv,) = [node for node in converted.model.graph if node.op_type == "Conv"]
        assert "auto_pad" not in conv.attributes


@pytest.mark.parametrize("size", range(1, 9))
@pytest.mark.parametrize(
    ("layer", "options"),
    [
        (layers.SeparableConv1D, {"filters": 2, "kernel_size": 3, "strides": 2, "dilation_rate": 2}),
        (layers.MaxPooling1D, {"pool_size": 2, "strides": 3}),
        (layers.AveragePooling1D, {"pool_size": 3, "strides": 4}),
    ],
)
def test_padding_that_the_graph_computes(layer: Any, options: dict[str, Any], size: int) -> None:
    model = randomize(Case(layer, (None, 3), kwargs={"padding": "same", **options}).model())
    converted = convert_model(model)
    assert "Pad" in converted.report.operations
    x = np.random.default_rng(size).standard_normal((2, size, 3)).astype(np.float32)
    compare(run_session(check_graph(converted))([x]), [x], keras_function(model))
