"""Resizing, depth to space, centre crop."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Array, Case, case, check, keras_function, parametrize, randomize

CASES = [
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=4, width=12),
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=5, width=9),
    case(layers.Resizing, (8, 6, 3), "Gather:2,Transpose:2", height=5, width=9, interpolation="nearest"),
    case(layers.Resizing, (8, 6, 3), "Gather:2,Transpose:2", height=3, width=2, interpolation="nearest"),
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=16, width=18, interpolation="nearest"),
    case(layers.Resizing, (9, 12, 3), "Gather:2,Transpose:2", height=3, width=2, interpolation="nearest"),
    case(layers.Resizing, (4, 2, 3), "Gather:2,Transpose:2", height=41, width=47, interpolation="nearest"),
    case(layers.Resizing, (3, 8, 6), "Resize:1", height=5, width=9, data_format="channels_first"),
    case(layers.Resizing, (None, None, 3), "Concat:1,Resize:1,Shape:1,Transpose:2", height=5, width=9),
    case(layers.CenterCrop, (8, 7, 3), "Slice:1", height=4, width=4),
    case(layers.CenterCrop, (8, 7, 3), "Slice:1", height=5, width=2),
    case(layers.CenterCrop, (4, 4, 3), "Resize:1,Slice:1,Transpose:2", height=6, width=8),
    case(lambda x: ops.depth_to_space(x, 2), (4, 3, 8), "DepthToSpace:1,Transpose:2"),
    case(lambda x: ops.space_to_depth(x, 2), (4, 6, 3), "SpaceToDepth:1,Transpose:2"),
    case(lambda x: ops.image.resize(x, (7, 5)), (4, 6, 3), "Resize:1,Transpose:2"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_upsampling_between_convolutions() -> None:
    inputs = keras.Input((6, 5, 3))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 3, padding="same")(inputs))
    converted = check(randomize(keras.Model(inputs, layers.Conv2D(2, 1)(x))), layers=True)
    assert converted.report.operations["Transpose"] == 2


@pytest.mark.parametrize("option", [{"antialias": True}, {"interpolation": "lanczos3"}])
def test_what_has_no_expression_is_refused_by_name(option: dict[str, object]) -> None:
    model = Case(lambda x: ops.image.resize(x, (4, 4), **option), (8, 8, 3)).model()
    with pytest.raises(
        ConversionError, match=str(next(iter(option.values())) if "interpolation" in option else "antialias")
    ):
        convert_model(model)


def _keys(x: Array, size: int, axis: int) -> Array:
    """Cubic interpolation along one axis with Keys's kernel (a = -0.5); taps outside are left out, weights sum to 1."""
    old = x.shape[axis]
    matrix = np.zeros((size, old))
    for i in range(size):
        centre = (i + 0.5) * old / size - 0.5
        for j in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            t = abs(centre - j)
            weight = 1.5 * t**3 - 2.5 * t**2 + 1 if t <= 1 else -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
            if 0 <= j < old and t < 2:
                matrix[i, j] = weight
    matrix /= matrix.sum(1, keepdims=True)
    return np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)


def test_bicubic_is_keys_kernel_which_tensorflow_reads_from_a_table() -> None:
    model = Case(layers.Resizing, (8, 6, 3), kwargs={"height": 11, "width": 9, "interpolation": "bicubic"}).model()

    def exact(inputs: list[Array]) -> list[Array]:
        return [_keys(_keys(inputs[0].astype(np.float64), 11, 1), 9, 2).astype(np.float32)]

    check(model, reference=exact)
    images = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(exact([images])[0], keras_function(model)([images])[0], atol=2e-3)


@pytest.mark.parametrize("old", [1, 2, 3, 6, 9, 12])
def test_nearest_takes_the_pixels_that_tensorflow_takes(old: int) -> None:
    for new in (1, 2, 3, 5, 12, 41, 47, 55):
        kwargs = {"height": new, "width": old, "interpolation": "nearest"}
        check(Case(layers.Resizing, (old, old, 1), kwargs=kwargs).model())


def test_nearest_of_an_unknown_size_asks_for_shapes() -> None:
    model = Case(layers.Resizing, (None, 6, 3), kwargs={"height": 3, "width": 6, "interpolation": "nearest"}).model()
    with pytest.raises(ConversionError, match="--shapes"):
        convert_model(model)
