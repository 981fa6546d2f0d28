"""Reshaping, transposing, joining, splitting, padding, repeating."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, operations, parametrize, randomize

CASES = [
    case(layers.Reshape, (6, 4), "Reshape:1", target_shape=(3, 8)),
    case(layers.Reshape, (6, 4), "Reshape:1", target_shape=(-1, 2, 4)),
    case(layers.Reshape, (6, 4), "Reshape:1", target_shape=(24,)),
    case(layers.Reshape, (6,), "Reshape:1", target_shape=(1, 1, 6)),
    case(layers.Reshape, (None, 4), "Reshape:1", target_shape=(-1, 2, 2)),
    case(layers.Permute, (6, 4), "Transpose:1", dims=(2, 1)),
    case(layers.Permute, (6, 5, 4), "Transpose:1", dims=(3, 1, 2)),
    case(layers.Flatten, (6, 5, 4), "Reshape:1"),
    case(layers.Flatten, (6, 5, 4), "Reshape:1,Transpose:1", data_format="channels_first"),
    case(layers.Flatten, (5,), "Identity:1"),
    case(layers.Flatten, (), "Reshape:1"),
    case(layers.RepeatVector, (5,), "Expand:1,Reshape:1", n=3),
    case(layers.Cropping1D, (9, 3), "Slice:1", cropping=(1, 2)),
    case(layers.Cropping1D, (9, 3), "Slice:1", cropping=(0, 2)),
    case(layers.Cropping2D, (8, 7, 3), "Slice:1", cropping=((1, 2), (0, 3))),
    case(layers.Cropping2D, (3, 8, 7), "Slice:1", cropping=2, data_format="channels_first"),
    case(layers.Cropping3D, (5, 6, 4, 2), "Slice:1", cropping=1),
    case(layers.ZeroPadding1D, (6, 3), "Pad:1", padding=(1, 2)),
    case(layers.ZeroPadding2D, (5, 4, 3), "Pad:1", padding=((1, 2), (0, 3))),
    case(layers.ZeroPadding2D, (3, 5, 4), "Pad:1", padding=2, data_format="channels_first"),
    case(layers.ZeroPadding3D, (3, 4, 2, 2), "Pad:1", padding=1),
    case(layers.UpSampling1D, (5, 3), "Resize:1", size=2),
    case(layers.UpSampling2D, (5, 4, 3), "Resize:1", size=(2, 3)),
    case(layers.UpSampling2D, (5, 4, 3), "Resize:1,Transpose:2", size=(2, 3), interpolation="bilinear"),
    case(layers.UpSampling2D, (3, 5, 4), "Resize:1", size=2, data_format="channels_first"),
    case(layers.UpSampling2D, (None, None, 3), "Resize:1", size=2),
    case(layers.UpSampling2D, (None, None, 3), "Resize:1,Transpose:2", size=(2, 3), interpolation="bilinear"),
    case(
        layers.UpSampling2D,
        (3, None, 4),
        "Resize:1",
        size=2,
        data_format="channels_first",
        interpolation="bilinear",
    ),
    case(layers.UpSampling3D, (3, 4, 2, 2), "Resize:1", size=2),
    case(layers.Concatenate, [(5, 4, 3), (5, 4, 2)], "Concat:1"),
    case(layers.Concatenate, [(5, 4, 3), (5, 2, 3)], "Concat:1", axis=2),
    case(layers.Concatenate, [(5, 4, 3), (2, 4, 3)], "Concat:1", axis=1),
    case(layers.Concatenate, [(5, 4), (5, 4)], "Concat:1", axis=0),
    case(lambda xs: ops.stack(xs, axis=1), [(5, 4), (5, 4)], "Concat:1,Reshape:2"),
    case(lambda xs: ops.stack(xs, axis=-1), [(5, 4), (5, 4)], "Concat:1,Reshape:2"),
    case(lambda x: ops.split(x, 2, axis=1), (6, 4), "Split:1"),
    case(lambda x: ops.split(x, [1, 3], axis=-1), (6, 4), "Split:1"),
    case(lambda x: ops.split(x, 1, axis=-1), (6, 4), "Identity:1"),
    case(lambda x: ops.array_split(x, 3, axis=1), (7, 4), "Split:1"),
    case(lambda x: ops.unstack(x, axis=1), (3, 4), "Reshape:3,Split:1"),
    case(lambda x: ops.transpose(x, (0, 3, 1, 2)), (6, 5, 4), "Transpose:1"),
    case(lambda x: ops.swapaxes(x, 1, -1), (6, 5, 4), "Transpose:1"),
    case(lambda x: ops.moveaxis(x, (1, 2), (3, 1)), (6, 5, 4), "Transpose:1"),
    case(lambda x: ops.moveaxis(x, -1, 1), (6, 5, 4), "Transpose:1"),
    case(ops.transpose, (6, 5, 4), "Transpose:1"),
    case(lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=2.5), (6, 4), "Pad:1"),
    case(lambda x: ops.pad(x, ((0, 0), (1, 2), (0, 1)), mode="reflect"), (6, 4), "Pad:1"),
    case(lambda x: ops.tile(x, (1, 2, 3)), (6, 4), "Tile:1"),
    case(lambda x: ops.repeat(x, 3, axis=1), (5, 4), "Resize:1"),
    case(lambda x: ops.repeat(x, 2, axis=-1), (5, 4, 3), "Resize:1"),
    case(lambda x: ops.repeat(x, 2, axis=1), (5,), "Gather:1", dtype="int32"),
    case(lambda x: ops.flip(x, axis=1), (6, 4), "Slice:1"),
    case(ops.flip, (6, 4), "Slice:1"),
    case(lambda x: ops.squeeze(x, axis=2), (6, 1, 4), "Reshape:1"),
    case(lambda x: ops.squeeze(x, axis=(2, 3)), (6, 1, 1), "Reshape:1"),
    case(ops.ravel, (6, 4), "Reshape:1"),
    case(lambda x: ops.expand_dims(x, (1, -1)), (6, 4), "Reshape:1"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def pixel_shuffle(x: Any) -> Any:
    """(h, w, r*r*c) to (h*r, w*r, c) by reshape and transpose, as users write it."""
    h, w, c = x.shape[1:]
    x = ops.reshape(x, (-1, h, w, 2, 2, c // 4))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, h * 2, w * 2, c // 4))


def windows(x: Any) -> Any:
    """Swin's windows of 2x3 and back."""
    h, w, c = x.shape[1:]
    y = ops.reshape(x, (-1, h // 2, 2, w // 3, 3, c))
    y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 6, c))
    y = y * ops.softmax(y, axis=1)
    y = ops.reshape(y, (-1, h // 2, w // 3, 2, 3, c))
    return ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, h, w, c))


def channel_shuffle(x: Any) -> Any:
    """ShuffleNet's."""
    h, w, c = x.shape[1:]
    y = ops.reshape(x, (-1, h, w, 2, c // 2))
    return ops.reshape(ops.transpose(y, (0, 1, 2, 4, 3)), (-1, h, w, c))


def tokens(x: Any) -> Any:
    """A feature map as tokens and back."""
    h, w, c = x.shape[1:]
    return ops.reshape(ops.reshape(x, (-1, h * w, c)) * 2.0, (-1, h, w, c))


def squeeze_excite(x: Any) -> Any:
    y = layers.GlobalAveragePooling2D()(x)
    y = layers.Dense(3, activation="relu")(y)
    y = layers.Dense(x.shape[-1], activation="sigmoid")(y)
    return x * layers.Reshape((1, 1, x.shape[-1]))(y)


def row_major_mix(x: Any) -> Any:
    """A reshape that mixes channels with columns."""
    h, w, c = x.shape[1:]
    return ops.reshape(ops.reshape(x, (-1, h, w * c // 2, 2)), (-1, h, w, c))


@pytest.mark.parametrize(
    ("middle", "transposes"),
    [
        (pixel_shuffle, 4),
        (windows, 5),
        (channel_shuffle, 4),
        (tokens, 2),
        (squeeze_excite, 2),
        (row_major_mix, 4),
        (lambda x: layers.Concatenate(axis=1)([x, x * 2.0]), 2),
        (lambda x: layers.Concatenate(axis=2)([x, x * 2.0]), 2),
        (lambda x: layers.Concatenate(axis=3)([x, x * 2.0]), 2),
        (layers.UpSampling2D(2), 2),
        (layers.Permute((2, 1, 3)), 3),
        (layers.Cropping2D(1), 2),
        (layers.ZeroPadding2D(1), 2),
        (layers.LayerNormalization(), 4),
        (lambda x: ops.flip(x, axis=2), 2),
        (lambda x: ops.stack([x, x * 2.0], axis=1)[:, 1], 2),
        (lambda x: ops.concatenate(ops.split(x, 2, axis=-1)[::-1], axis=-1), 2),
    ],
)
def test_between_two_convolutions(middle: Any, transposes: int | None) -> None:
    inputs = keras.Input((8, 6, 3))
    x = middle(layers.Conv2D(8, 3, padding="same")(inputs))
    converted = check(randomize(keras.Model(inputs, layers.Conv2D(2, 3, padding="same")(x))), layers=True)
    if transposes is not None:
        assert converted.report.operations.get("Transpose", 0) <= transposes


def test_permute_at_the_output_of_a_convolution() -> None:
    inputs = keras.Input((8, 6, 3))
    x = layers.Conv2D(4, 3)(inputs)
    converted = check(randomize(keras.Model(inputs, layers.Permute((3, 1, 2))(x))), layers=True)
    assert operations(converted) == "Conv:1,Transpose:1"


def test_channels_first_models_move_nothing() -> None:
    inputs = keras.Input((3, 8, 6))
    x = layers.Permute((3, 1, 2))(layers.Permute((2, 3, 1))(inputs))
    x = layers.BatchNormalization(axis=1)(x)
    assert "Transpose" not in check(randomize(keras.Model(inputs, x))).report.operations


def test_unknown_sizes_that_are_joined() -> None:
    inputs = keras.Input((None, None, 4), name="image")
    x = ops.reshape(ops.transpose(layers.Conv2D(4, 1)(inputs), (0, 3, 1, 2)), (-1, 4, 1))
    model = keras.Model(inputs, x)
    check(model)
    check(model, shapes={"image": [None, 6, 5, 4]})


@pytest.mark.parametrize("axis", [0, (0, 2), 1, -1])
@pytest.mark.parametrize("shape", [(None,), (None, 4), (None, None, 3)])
def test_a_new_axis_among_unknown_sizes(axis: Any, shape: Any) -> None:
    case(lambda x: ops.squeeze(ops.expand_dims(x, axis), axis), shape).check()
    case(lambda x: ops.expand_dims(x, axis), shape).check()


@pytest.mark.parametrize("width", [(1, 2), (0, 3), (2, 0)])
def test_an_unknown_size_is_padded_by_its_own_ends(width: tuple[int, int]) -> None:
    case(lambda x: ops.pad(x, ((0, 0), width, (1, 1)), mode="symmetric"), (None, 4)).check()


def test_padding_of_a_dtype_that_the_runtime_has_no_pad_of() -> None:
    case(lambda x: ops.pad(x, ((0, 0), (1, 2)), constant_values=7), (4,), "Cast:2,Pad:1", dtype="int16").check()
