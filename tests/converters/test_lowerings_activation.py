"""Activations: every named one, the layers with arguments, softmax over several axes."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import pytest
from keras import activations, layers, ops

from tests.converters.checking import Case, case, check, parametrize

NAMES = sorted(
    name
    for name, function in vars(activations).items()
    if inspect.isfunction(function) and name not in ("get", "serialize", "deserialize", "threshold")
)

CASES = [
    case(layers.ReLU, (5, 4, 3), "Relu:1"),
    case(layers.ReLU, (5, 4, 3), "Clip:1", max_value=1.0),
    case(layers.ReLU, (5, 4, 3), "LeakyRelu:1", negative_slope=0.2),
    case(layers.ReLU, (5, 4, 3), "Greater:1,Where:1", threshold=0.5),
    case(
        layers.ReLU, (5, 4, 3), "Clip:1,Greater:1,Mul:1,Sub:1,Where:1", threshold=0.5, negative_slope=0.1, max_value=1.0
    ),
    case(
        activations.relu,
        (5, 4, 3),
        "Clip:1,Greater:1,Mul:1,Sub:1,Where:1",
        threshold=-0.5,
        negative_slope=0.1,
        max_value=1.0,
    ),
    case(activations.relu, (5, 4, 3), "Greater:1,Where:1", threshold=-0.5),
    case(layers.ReLU, (5, 4, 3), "Clip:1,Greater:1,Where:1", threshold=0.5, max_value=1.0),
    case(layers.LeakyReLU, (5, 4, 3), "LeakyRelu:1", negative_slope=0.3),
    case(layers.PReLU, (5, 4, 3), "PRelu:1"),
    case(layers.PReLU, (5, 4, 3), "PRelu:1", shared_axes=[1, 2]),
    case(layers.ELU, (5, 4, 3), "Elu:1", alpha=0.7),
    case(layers.Softmax, (5, 4, 3), "Softmax:1"),
    case(layers.Softmax, (5, 4, 3), "Softmax:1", axis=1),
    case(layers.Softmax, (5, 4, 3), "Reshape:2,Softmax:1", axis=(1, 2)),
    case(layers.Softmax, (5, 4, 3), "Exp:1,ReduceLogSumExp:1,Sub:1", axis=(1, 3)),
    case(lambda x: ops.log_softmax(x, axis=1), (5, 4), "LogSoftmax:1"),
    case(lambda x: ops.softmax(x, axis=None), (5, 4), "Div:1,Exp:1,ReduceMax:1,ReduceSum:1,Sub:1"),
    case(ops.sparsemax, (5, 4)),
    case(ops.sparsemax, (None, 4), axis=1),
    case(ops.sparsemax, (5, 4), dtype="float16"),
    case(ops.sparsemax, (5, 4, 3), axis=2),
    case(lambda xs: layers.Softmax()(xs[0], mask=xs[1] > 0), [(6, 5), (6, 5)], "Greater:1,Softmax:1,Where:2"),
    case(lambda xs: layers.Softmax(axis=(1, 2))(xs[0], mask=xs[1]), [(6, 5), (1, 5)]),
    case(ops.relu, (5, 4), "Cast:2,Relu:1", dtype="int16"),
    case(ops.relu, (5, 4), "Identity:1", dtype="uint8"),
    case(ops.celu, (5, 4), "Cast:2,Celu:1", dtype="float16"),
    case(lambda x: ops.gelu(x, approximate=False), (5, 4), "Add:1,Div:1,Erf:1,Mul:2"),
    case(lambda x: ops.celu(x, alpha=0.5), (5, 4), "Celu:1"),
    case(lambda x: ops.glu(x, axis=1), (6, 4), "Mul:1,Sigmoid:1,Split:1"),
    case(lambda x: ops.soft_shrink(x, 0.3), (5, 4), "Shrink:1"),
    case(lambda x: ops.hard_shrink(x, 0.3), (5, 4), "Shrink:1"),
    case(lambda x: ops.threshold(x, 0.2, 9.0), (5, 4), "Greater:1,Where:1"),
    case(lambda x: ops.squareplus(x, b=2), (5, 4), "Add:2,Mul:2,Sqrt:1"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("name", NAMES)
def test_by_name(name: str) -> None:
    check(Case(layers.Activation, (6, 4), kwargs={"activation": name}).model())


@pytest.mark.parametrize("layer", [layers.Softmax(axis=-1), layers.Softmax(axis=1), layers.Softmax(axis=(1, 2))])
def test_softmax_behind_a_convolution(layer: Any) -> None:
    inputs = keras.Input((6, 5, 3))
    x = type(layer).from_config(layer.get_config())(layers.Conv2D(4, 3, padding="same")(inputs))
    check(keras.Model(inputs, layers.Conv2D(2, 1)(x)), layers=True)
