"""Variables are read, and filled from a file, without copies of large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from converters import keras_internals
from converters.loading import load
from converters.variables import ALIGNMENT, aligned, can_share, is_aligned, read, share
from tests.converters.tensorflow_only import needs_tensorflow


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float64", "int8", "int32"])
@pytest.mark.parametrize("shape", [(), (3, 5), (300, 301)])
def test_an_array_equals_its_variable(dtype: str, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).normal(size=shape) * 50
    variable = keras.Variable(keras.ops.cast(values, dtype), dtype=dtype, trainable="float" in dtype)
    found = read(variable)
    assert found.shape == shape
    assert str(found.dtype) == dtype
    expected = keras.ops.convert_to_numpy(keras.ops.cast(variable, "float64"))
    np.testing.assert_array_equal(found.astype(np.float64), expected)


def test_an_array_keeps_its_numbers_when_the_variable_changes() -> None:
    variable = keras.Variable(np.ones((300, 300), np.float32))
    found = read(variable)
    variable.assign_add(np.ones((300, 300), np.float32))
    variable.assign(variable * 2.0)
    assert (found == 1.0).all()
    assert (read(variable) == 4.0).all()


@needs_tensorflow
def test_memory_that_is_shared_is_aligned_and_of_large_values() -> None:
    array = aligned((128, 129), "float32")
    assert array.ctypes.data % ALIGNMENT == 0
    assert can_share(array.shape, "float32")
    assert not can_share((3,), "float32")
    assert not can_share(array.shape, "bfloat16")
    array[:] = 2.0
    assert float(keras.ops.sum(share(array))) == 2.0 * array.size


@needs_tensorflow
def test_only_whole_aligned_arrays_are_shared() -> None:
    array = aligned((128, 129), "float32")
    assert is_aligned(array)
    for other in (array[1:], array.T, array[:2], np.array(array), array.tolist()):
        assert not is_aligned(other)


@needs_tensorflow
def test_large_weights_are_read_once_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into memory that the variable keeps: no copy on the way."""
    model = keras.Sequential([keras.Input((300,)), keras.layers.Dense(301)])
    model.save(tmp_path / "model.keras")
    made = []

    def recorded(*arguments: Any) -> Any:
        made.append(aligned(*arguments))
        return made[-1]

    monkeypatch.setattr(keras_internals, "aligned", recorded)
    found = load(tmp_path / "model.keras")
    np.testing.assert_array_equal(read(found.layers[0].kernel), read(model.layers[0].kernel))
    assert read(found.layers[0].kernel).ctypes.data in [array.ctypes.data for array in made]


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_loaded_model_has_the_weights_of_the_file_and_can_go_on_learning(tmp_path: Path, suffix: str) -> None:
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.Conv2D(64, 9, padding="same")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(300)(keras.layers.Flatten()(x)))
    model.save(tmp_path / f"model{suffix}")
    found = load(tmp_path / f"model{suffix}")
    samples = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    np.testing.assert_array_equal(found.predict(samples, verbose=0), model.predict(samples, verbose=0))
    before = read(found.variables[0]).copy()
    found.compile("sgd", "mse")
    found.fit(samples, np.zeros((2, 300), np.float32), verbose=0)
    assert not np.array_equal(before, read(found.variables[0]))
