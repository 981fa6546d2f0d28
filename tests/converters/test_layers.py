"""CBAM's layers: the gates against numpy, round trips, shapes, bad arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from converters.layers import CBAM, ChannelAttention, SpatialAttention

Array = NDArray[np.float32]
RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(3, 6, 5, 8)).astype(np.float32)


def _randomized(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> Any:
    layer.build(shape)
    for variable in layer.weights:
        variable.assign(RNG.normal(scale=0.5, size=tuple(variable.shape)))
    return layer


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _channel_gate(layer: ChannelAttention, x: Array) -> Array:
    """Equation 2 as the paper writes it: the MLP once for each pooled vector, (batch, channels)."""
    w0, b0, w1, b1 = layer.get_weights()

    def mlp(vector: Array) -> Array:
        return np.asarray(np.maximum(vector @ w0 + b0, 0) @ w1 + b1)

    return _sigmoid(mlp(x.mean((1, 2))) + mlp(x.max((1, 2))))


def _spatial_gate(layer: SpatialAttention, x: Array) -> Array:
    """Equation 3 by plain loops, (batch, height, width)."""
    kernel = layer.get_weights()[0][..., 0]
    size = kernel.shape[0]
    pooled = np.stack([x.mean(-1), x.max(-1)], -1)
    padded = np.pad(pooled, ((0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)))
    out = np.zeros(x.shape[:3], np.float32)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            out[:, i, j] = (padded[:, i : i + size, j : j + size] * kernel).sum((1, 2, 3))
    return _sigmoid(out)


@pytest.mark.parametrize("reduction_ratio", [2, 16])
def test_channel_gate_is_equation_2(reduction_ratio: int) -> None:
    layer = _randomized(ChannelAttention(reduction_ratio), FEATURES.shape)
    expected = FEATURES * _channel_gate(layer, FEATURES)[:, None, None, :]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(FEATURES)), expected, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_spatial_gate_is_equation_3(kernel_size: int) -> None:
    layer = _randomized(SpatialAttention(kernel_size), FEATURES.shape)
    expected = FEATURES * _spatial_gate(layer, FEATURES)[..., None]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(FEATURES)), expected, atol=1e-5)


def test_cbam_is_channel_then_spatial() -> None:
    layer = _randomized(CBAM(4, 3), FEATURES.shape)
    first = FEATURES * _channel_gate(layer.channel, FEATURES)[:, None, None, :]
    expected = first * _spatial_gate(layer.spatial, first)[..., None]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(FEATURES)), expected, atol=1e-5)


def test_channel_gate_channels_first_equals_channels_last() -> None:
    last = _randomized(ChannelAttention(2), FEATURES.shape)
    first = ChannelAttention(2, data_format="channels_first")
    first.build((None, 8, 6, 5))
    first.set_weights(last.get_weights())
    got = keras.ops.convert_to_numpy(first(FEATURES.transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1), keras.ops.convert_to_numpy(last(FEATURES)), atol=1e-6)


def test_channels_first_shapes() -> None:
    inputs = keras.Input((8, 6, 5))
    assert CBAM(data_format="channels_first")(inputs).shape == (None, 8, 6, 5)


def test_save_and_load(tmp_path: Path) -> None:
    inputs = keras.Input((None, None, 8), name="x")
    model = keras.Model(inputs, CBAM(4, 5, name="attention")(inputs))
    for variable in model.weights:
        variable.assign(RNG.normal(size=tuple(variable.shape)))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", compile=False)
    layer = loaded.get_layer("attention")
    assert isinstance(layer, CBAM)
    assert (layer.channel.reduction_ratio, layer.spatial.kernel_size) == (4, 5)
    for batch in (1, 3):
        np.testing.assert_array_equal(
            loaded.predict_on_batch(FEATURES[:batch]), model.predict_on_batch(FEATURES[:batch])
        )


def test_items_do_not_mix() -> None:
    layer = _randomized(CBAM(2, 3), (None, None, None, 8))
    together = keras.ops.convert_to_numpy(layer(FEATURES))
    for i in range(3):
        alone = keras.ops.convert_to_numpy(layer(FEATURES[i : i + 1]))
        np.testing.assert_allclose(together[i : i + 1], alone, atol=1e-6)


@pytest.mark.parametrize(
    "layer",
    [
        ChannelAttention(3, use_bias=False, data_format="channels_first", name="a"),
        SpatialAttention(5, use_bias=True, name="b"),
        CBAM(2, 3, dtype="mixed_float16", name="c"),
    ],
)
def test_config_round_trip(layer: keras.layers.Layer) -> None:
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_hidden_layer_has_at_least_one_unit() -> None:
    layer = ChannelAttention(16)
    layer.build((None, None, None, 8))
    assert layer.reduce.units == 1


def test_paths_of_the_parts() -> None:
    layer = CBAM(2, 3, name="cbam")
    layer(FEATURES)
    paths = {variable.path for variable in layer.weights}
    assert {"cbam/channel/reduce/kernel", "cbam/channel/expand/bias", "cbam/spatial/conv/kernel"} <= paths


def test_mixed_precision_reaches_the_parts() -> None:
    layer = CBAM(2, 3, dtype="mixed_float16")
    layer.build(FEATURES.shape)
    assert layer.channel.reduce.compute_dtype == layer.spatial.conv.compute_dtype == "float16"
    assert keras.backend.standardize_dtype(layer(FEATURES).dtype) == "float16"


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "4"])
def test_bad_reduction_ratio(value: Any) -> None:
    with pytest.raises(ValueError, match="ChannelAttention: `reduction_ratio` must be a positive integer"):
        ChannelAttention(value)


@pytest.mark.parametrize(("value", "message"), [(0, "positive integer"), (4, "odd"), (1.0, "positive integer")])
def test_bad_kernel_size(value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"SpatialAttention: `kernel_size` must be .*{message}"):
        SpatialAttention(value)


def test_bad_data_format() -> None:
    with pytest.raises(ValueError, match="CBAM: `data_format`"):
        CBAM(data_format="nhwc")


@pytest.mark.parametrize("shape", [(None, 8), (None, 4, 4, None), (None, 4, 4, 4, 8)])
@pytest.mark.parametrize("layer", [ChannelAttention, SpatialAttention, CBAM])
def test_bad_shape(layer: Any, shape: tuple[int | None, ...]) -> None:
    with pytest.raises(ValueError, match="expects a feature map of rank 4"):
        layer().build(shape)
