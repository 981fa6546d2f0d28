"""The code of the examples: architectures, data and features."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from converters.layers import CBAM
from examples.cbam_resnet.model import block1, calibrate_batch_norm, digits, resnet, stack1
from examples.mean_spot.model import mean_spot
from examples.saving import save_model


def _structure(layers: list[keras.layers.Layer]) -> list[tuple[object, ...]]:
    """Name, class, the arguments that shape the computation, and the weights' shapes, of each layer."""
    keys = ("filters", "kernel_size", "strides", "padding", "epsilon", "activation", "use_bias", "pool_size")
    rows: list[tuple[object, ...]] = []
    for layer in layers:
        config = layer.get_config()
        arguments = tuple(str(config[key]).lower() for key in keys if key in config)
        rows.append((layer.name, type(layer).__name__, arguments, [tuple(w.shape) for w in layer.weights]))
    return rows


def test_blocks_equal_keras_applications() -> None:
    ours, theirs = resnet(50), keras.applications.ResNet50(weights=None, classifier_activation=None)
    assert _structure(ours.layers[1:-1]) == _structure(theirs.layers[1:-1])
    assert ours.count_params() == theirs.count_params()


def test_block_computes_what_keras_applications_computes() -> None:
    from keras.src.applications.resnet import stack_residual_blocks_v1

    inputs = keras.Input((8, 8, 4))
    ours = keras.Model(inputs, stack1(inputs, 2, 2, name="s"))
    theirs = keras.Model(inputs, stack_residual_blocks_v1(inputs, 2, 2, name="s"))
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype(np.float32)
    calibrate_batch_norm(ours, x)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-5)


def test_cbam_sits_before_each_addition() -> None:
    model = digits()
    additions = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert len(additions) == 4
    for addition in additions:
        branch = addition.input[1]._keras_history.operation
        assert isinstance(branch, CBAM)


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_depth_gives_its_blocks(depth: int) -> None:
    blocks = {50: 16, 101: 33, 152: 50}[depth]
    model = resnet(depth, "cbam", (32, 32, 3), 5)
    assert sum(isinstance(layer, CBAM) for layer in model.layers) == blocks
    assert model.output_shape == (None, 5)


def test_unknown_depth_and_attention() -> None:
    with pytest.raises(ValueError, match="`depth` must be one of"):
        resnet(34)
    inputs = keras.Input((8, 8, 4))
    with pytest.raises(ValueError, match="`attention` must be"):
        block1(inputs, 2, attention="se", name="b")
    with pytest.raises(ValueError, match="`attention` must be"):
        mean_spot("se")


def test_calibrated_statistics_are_those_of_the_images() -> None:
    """Inference then equals the training-mode pass on the same images, and no bias is left at zero."""
    model = digits()
    images = np.random.default_rng(0).uniform(size=(64, 8, 8, 1)).astype(np.float32)
    calibrate_batch_norm(model, images)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    probe = keras.Model(model.input, norms[-1].input)
    values = probe.predict(images, verbose=0)
    np.testing.assert_allclose(norms[-1].moving_mean, values.mean((0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(norms[-1].moving_variance, values.var((0, 1, 2)), rtol=1e-2)
    assert {layer.momentum for layer in norms} == {0.99}
    assert all(np.any(w.numpy() != 0) for w in model.trainable_variables)


def test_mean_spot_is_as_published() -> None:
    model = mean_spot()
    assert [(tensor.name, tensor.shape) for tensor in model.inputs] == [
        (name, (None, 42, 42, 1)) for name in ("u", "v", "strain")
    ]
    assert model.output_names == ["spot"]
    assert model.get_layer("merge").output.shape == (None, 14, 14, 14)
    assert model.get_layer("flatten").output.shape == (None, 7 * 7 * 8)
    assert [model.get_layer(f"{s}_conv").filters for s in ("u", "v", "strain")] == [3, 3, 8]
    assert model.get_layer("spot").activation is keras.activations.linear
    added = {type(x) for x in mean_spot("cbam").layers} - {type(x) for x in model.layers}
    assert added == {CBAM, keras.layers.Add, keras.layers.Activation}


def test_a_compiled_model_is_not_saved(tmp_path: Path) -> None:
    model = digits()
    model.compile("adam", "mse")
    with pytest.raises(ValueError, match="is compiled"):
        save_model(model, tmp_path / "m.keras")
    assert not list(tmp_path.iterdir())


def test_flow_finds_a_known_motion_and_no_other() -> None:
    from examples.mean_spot.data import FACE, FRAMES, _frames, faces, flow_and_strain

    moved_by = np.zeros(FRAMES, np.float32)
    moved_by[10:] = 3.0
    strains = []
    for seed in range(6):
        video = list(_frames(faces()[-1], moved_by, np.random.default_rng(seed)))
        u, v, strain = flow_and_strain(video[8], video[12])
        still = flow_and_strain(video[20], video[24])[2]
        assert u.shape == v.shape == strain.shape == (42, 42)
        strains.append((strain.max(), still.max()))
        assert 0.3 < np.hypot(u, v).max() < 4.5
    assert FACE == 112
    assert np.mean([moving for moving, _ in strains]) > 2 * np.mean([still for _, still in strains])


def test_head_motion_alone_is_taken_off() -> None:
    import cv2

    from examples.mean_spot.data import FACE, faces, flow_and_strain

    face = faces()[-1].astype(np.uint8)
    turn = cv2.getRotationMatrix2D((FACE / 2, FACE / 2), 1.0, 1.0)
    turn[0, 2] += 1.0
    turned = cv2.warpAffine(face, turn, (FACE, FACE), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    u, v, _ = flow_and_strain(face, turned)
    assert np.median(np.hypot(u, v)) < 0.15


def test_label_is_a_visible_move() -> None:
    from examples.mean_spot.data import FRAMES, INTERVAL, label

    moved_by = np.zeros(FRAMES, np.float32)
    moved_by[20:] = 2.0
    assert [label(moved_by, frame) for frame in (20 - INTERVAL - 1, 20 - INTERVAL, 19, 20)] == [0, 1, 1, 0]


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 4000.0])
def test_a_tone_lands_in_its_mel_band(frequency: float) -> None:
    from examples.speech.features import BANDS, HIGHEST, LOWEST, RATE, SAMPLES, log_mel, mel

    tone = np.sin(2 * np.pi * frequency * np.arange(SAMPLES) / RATE).astype(np.float32)
    features = log_mel(tone)
    assert features.shape == (64, 40, 1)
    assert features.dtype == np.float32
    low, high, here = mel(np.array([LOWEST, HIGHEST, frequency]))
    assert abs(features[32, :, 0].argmax() - ((here - low) / (high - low) * (BANDS + 1) - 1)) <= 1


def test_features_ignore_the_volume_and_take_any_length() -> None:
    from examples.speech.features import SAMPLES, log_mel

    noise = np.random.default_rng(0).normal(size=2 * SAMPLES).astype(np.float32)
    np.testing.assert_allclose(log_mel(noise), log_mel(noise * 0.5), atol=1e-2)
    np.testing.assert_array_equal(log_mel(noise), log_mel(noise[:SAMPLES]))
    assert log_mel(noise[:1000]).shape == (64, 40, 1)


def test_photographs_are_real_and_in_range() -> None:
    from examples.cbam_resnet.data import photographs

    images = photographs(5)
    assert images.shape == (5, 224, 224, 3)
    assert images.dtype == np.float32
    assert -1 <= images.min() < -0.5 < 0.5 < images.max() <= 1
    assert len({image.tobytes() for image in images}) == 5
