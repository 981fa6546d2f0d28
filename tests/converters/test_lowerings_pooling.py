"""Pooling: maximum and average, windows, padding, strides, data formats; global pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import layers

from tests.converters.checking import Array, Case, case, check, keras_function, parametrize

CASES = [
    case(layers.MaxPooling1D, (9, 3), "MaxPool:1,Transpose:2", pool_size=2),
    case(layers.MaxPooling1D, (9, 3), "MaxPool:1,Transpose:2", pool_size=3, strides=2, padding="same"),
    case(layers.MaxPooling2D, (8, 7, 3), "MaxPool:1,Transpose:2"),
    case(layers.MaxPooling2D, (8, 7, 3), "MaxPool:1,Transpose:2", pool_size=3, strides=3, padding="same"),
    case(layers.MaxPooling2D, (8, 7, 3), "MaxPool:1,Transpose:2", pool_size=(3, 2), strides=(1, 2)),
    case(layers.MaxPooling2D, (None, None, 3), "MaxPool:1,Transpose:2", pool_size=3, strides=2, padding="same"),
    case(layers.MaxPooling3D, (5, 6, 4, 2), "MaxPool:1,Transpose:2", pool_size=2),
    case(layers.MaxPooling3D, (5, 6, 4, 2), "MaxPool:1,Transpose:2", pool_size=3, strides=2, padding="same"),
    case(layers.AveragePooling1D, (9, 3), "AveragePool:1,Transpose:2", pool_size=2),
    case(layers.AveragePooling1D, (9, 3), "AveragePool:1,Transpose:2", pool_size=3, strides=1, padding="same"),
    case(layers.AveragePooling2D, (8, 7, 3), "AveragePool:1,Transpose:2", pool_size=3, strides=2),
    case(layers.AveragePooling2D, (8, 7, 3), "AveragePool:1,Transpose:2", pool_size=3, strides=2, padding="same"),
    case(layers.AveragePooling2D, (8, 7, 3), "AveragePool:1,Transpose:2", pool_size=(2, 3), strides=1, padding="same"),
    case(layers.AveragePooling2D, (None, None, 3), "AveragePool:1,Transpose:2", pool_size=3, strides=2, padding="same"),
    case(layers.AveragePooling3D, (5, 6, 4, 2), "AveragePool:1,Transpose:2", pool_size=2, padding="same"),
    case(layers.GlobalMaxPooling1D, (9, 3), "ReduceMax:1"),
    case(layers.GlobalMaxPooling2D, (8, 7, 3), "ReduceMax:1"),
    case(layers.GlobalMaxPooling2D, (8, 7, 3), "ReduceMax:1", keepdims=True),
    case(layers.GlobalMaxPooling3D, (5, 6, 4, 2), "ReduceMax:1"),
    case(layers.GlobalAveragePooling1D, (9, 3), "ReduceMean:1"),
    case(layers.GlobalAveragePooling1D, (9, 3), "ReduceMean:1", keepdims=True),
    case(layers.GlobalAveragePooling2D, (8, 7, 3), "ReduceMean:1"),
    case(layers.GlobalAveragePooling2D, (8, 7, 3), "ReduceMean:1", keepdims=True),
    case(layers.GlobalAveragePooling2D, (None, None, 3), "ReduceMean:1"),
    case(layers.GlobalAveragePooling2D, (3, 8, 7), "ReduceMean:1", data_format="channels_first"),
    case(layers.GlobalAveragePooling3D, (5, 6, 4, 2), "ReduceMean:1", keepdims=True),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@pytest.mark.parametrize("layer", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_channels_first_equals_channels_last(layer: Any, padding: str) -> None:
    kwargs = {"pool_size": 3, "strides": 2, "padding": padding}
    last = Case(layer, (8, 7, 3), kwargs=kwargs).model()
    first = Case(layer, (3, 8, 7), kwargs={**kwargs, "data_format": "channels_first"}).model()

    def reference(inputs: list[Array]) -> list[Array]:
        (output,) = keras_function(last)([np.moveaxis(inputs[0], 1, -1)])
        return [np.moveaxis(output, -1, 1)]

    assert "Transpose" not in check(first, reference=reference).report.operations
