"""The depthwise networks of the examples: what they are made of."""

from __future__ import annotations

from collections import Counter

import keras
import pytest

from converters import convert
from examples.mobile.model import efficientnet, mobilenet


@pytest.mark.parametrize(("make", "gates", "additions"), [(mobilenet, 5, 4), (efficientnet, 7, 3)])
def test_layers(make: type[keras.Model], gates: int, additions: int) -> None:
    kinds = Counter(type(layer) for layer in make().layers)
    assert kinds[keras.layers.DepthwiseConv2D] == {mobilenet: 6, efficientnet: 7}[make]
    assert kinds[keras.layers.Multiply] == gates
    assert kinds[keras.layers.Add] == additions


@pytest.mark.parametrize(("make", "activation"), [(mobilenet, "HardSwish"), (efficientnet, "Sigmoid")])
def test_activation_in_the_graph(make: type[keras.Model], activation: str) -> None:
    operators = Counter(node.op_type for node in convert(make()).graph.node)
    assert operators[activation] > 5
    assert operators["Transpose"] <= 1
