"""Pooling: maximum and average, windows, padding, strides, data formats; global pooling."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert, convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Array, Case, case, check, keras_function, parametrize, run_session

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
    case(layers.AdaptiveAveragePooling1D, (9, 3), "AveragePool:1,Transpose:2", output_size=3),
    case(layers.AdaptiveAveragePooling1D, (7, 3), "AveragePool:2,Concat:1,Gather:1,Transpose:2", output_size=5),
    case(layers.AdaptiveAveragePooling2D, (8, 6, 3), "AveragePool:1,Transpose:2", output_size=(4, 2)),
    case(layers.AdaptiveAveragePooling2D, (10, 7, 3), output_size=(3, 5)),
    case(layers.AdaptiveAveragePooling2D, (5, 4, 3), output_size=(7, 6)),
    case(layers.AdaptiveAveragePooling2D, (5, 4, 3), output_size=1),
    case(layers.AdaptiveAveragePooling3D, (5, 6, 4, 2), output_size=(2, 3, 3)),
    case(layers.AdaptiveMaxPooling1D, (7, 3), "Concat:1,Gather:1,MaxPool:2,Transpose:2", output_size=5),
    case(layers.AdaptiveMaxPooling2D, (8, 6, 3), "MaxPool:1,Transpose:2", output_size=(4, 2)),
    case(layers.AdaptiveMaxPooling2D, (3, 10, 7), output_size=(3, 5), data_format="channels_first"),
    case(layers.AdaptiveMaxPooling3D, (5, 6, 4, 2), output_size=(2, 4, 3)),
    case(ops.max_pool, (6, 6, 3), "Cast:2,MaxPool:1,Transpose:2", dtype="int32", pool_size=2),
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


def test_adaptive_pooling_of_an_unknown_size_is_refused() -> None:
    class Pool(layers.AdaptiveMaxPooling1D):  # type: ignore[misc]  # Keras has no type information
        pass

    with pytest.raises(ConversionError, match="--shapes"):
        convert_model(Case(Pool, (None, 3), kwargs={"output_size": 2}).model())


def test_pytorch_counts_a_repeated_border_where_it_is_uneven(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is that of the backend that Keras runs on: (3 + 4 + 4) / 3 where TensorFlow has (3 + 4) / 2."""
    image = keras.Input((4, 4, 1))
    model = keras.Model(image, layers.AveragePooling2D(3, 2, padding="same")(image))
    unknown = keras.Input((None, None, 1))
    other = keras.Model(unknown, layers.AveragePooling2D(3, 2, padding="same")(unknown))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    proto = convert(model)
    with pytest.raises(ConversionError, match="repeats the border with PyTorch"):
        convert(other)
    monkeypatch.undo()
    rows = np.tile(np.arange(1.0, 5.0, dtype=np.float32)[None, None, :, None], (1, 4, 1, 1))
    found = run_session(proto)([rows])[0]
    np.testing.assert_allclose(found[0, 0, :, 0], [2.0, (3 + 4 + 4) / 3], rtol=1e-6)
    np.testing.assert_allclose(run_session(convert(model))([rows])[0][0, 0, :, 0], [2.0, 3.5], rtol=1e-6)
