"""Other Keras backends, without TensorFlow: the same file gives the same bytes, what needs TensorFlow is one error."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from converters import convert, load
from converters.layers import CBAM
from examples.cbam_resnet.model import stack1
from examples.reference import reference
from tests.converters.checking import randomize

ROOT = Path(__file__).parents[2]

SCRIPT = """
import importlib.machinery, os, sys, types
from unittest.mock import MagicMock

class Hollow(types.ModuleType):  # a module of names behind which there is nothing
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return MagicMock

class HollowJax:  # Keras's numpy backend imports JAX for convolutions and transforms, and converting computes neither
    def find_spec(self, name, path=None, target=None):
        found = name.partition(".")[0] == "jax"
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if found else None

    def create_module(self, spec):
        return Hollow(spec.name)

    def exec_module(self, module):
        pass

class Absent:  # an import of TensorFlow fails as where it is not installed
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name.partition(".")[0] == "tensorflow" else None

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named '{spec.name}'", name=spec.name)

    def exec_module(self, module):
        raise AssertionError

sys.meta_path.insert(0, Absent())
if os.environ["KERAS_BACKEND"] == "numpy":
    sys.meta_path.insert(0, HollowJax())
import converters
from deploy.errors import KerasrtError

for path in sys.argv[1:]:
    try:
        model = converters.load(path)
        with open(path + ".onnx", "wb") as out:
            out.write(converters.convert(model).SerializeToString(deterministic=True))
    except KerasrtError as error:
        print(str(error).replace("\\n", " "))
assert "tensorflow" not in sys.modules
"""


def _image() -> keras.Model:
    inputs = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", name="conv")(inputs)
    x = CBAM(2, 3, name="cbam")(layers.ReLU(name="act")(layers.BatchNormalization(name="norm")(x)))
    x = layers.MaxPooling2D(name="pool")(layers.DepthwiseConv2D(3, name="depthwise")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="score")(layers.Flatten(name="flat")(x)))


def _by_evaluation() -> keras.Model:
    """Its operations have no shape rule that holds, so Keras finds their shapes by evaluating them abstractly."""
    inputs = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(6, 3, groups=2, name="grouped")(inputs)
    return keras.Model(inputs, layers.BatchNormalization(scale=False, name="norm")(x))


def _sequence() -> keras.Model:
    inputs = keras.Input((7, 5), name="sequence")
    x = layers.Bidirectional(layers.LSTM(4, return_sequences=True, name="lstm"), name="both")(inputs)
    return keras.Model(inputs, layers.LayerNormalization(name="norm")(layers.GRU(3, name="gru")(x)))


def _quantized() -> keras.Model:
    inputs = keras.Input((8,), name="x")
    model = keras.Model(inputs, layers.Dense(4, name="dense")(inputs))
    model.quantize("int8")
    return model


def _normalized() -> keras.Model:
    """Its Normalization counts what it has adapted to, in int64 under TensorFlow alone."""
    normalization = layers.Normalization(name="normalization")
    normalization.adapt(np.random.default_rng(0).normal(3.0, 2.0, (16, 4)).astype(np.float32))
    inputs = keras.Input((4,), name="x")
    return keras.Model(inputs, layers.Dense(2, name="dense")(normalization(inputs)))


def _stacked() -> keras.Model:
    inputs = keras.Input((16, 16, 3), name="image")
    x = stack1(inputs, 4, 2, name="conv2", attention="cbam", reduction_ratio=4)
    return randomize(keras.Model(inputs, layers.GlobalAveragePooling2D(name="avg_pool")(x)))


REFERENCES = ("mean_spot", "mean_spot_cbam", "digits")


def _run(backend: str, *arguments: Path | str) -> str:
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(SCRIPT), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`")
@pytest.mark.parametrize(
    "backend",
    [
        "numpy",
        *(
            pytest.param(b, marks=pytest.mark.skipif(importlib.util.find_spec(b) is None, reason=f"{b} not installed"))
            for b in ("torch", "jax")
        ),
    ],
)
def test_the_same_bytes_without_tensorflow(backend: str, tmp_path: Path) -> None:
    paths, models = [], [randomize(make()) for make in (_image, _sequence, _quantized)]
    if backend != "numpy":  # whose convolutions are JAX's
        models.append(randomize(_by_evaluation()))
    models += [_normalized(), _stacked(), *(load(reference(name).model()) for name in REFERENCES)]
    for index, model in enumerate(models):
        paths.append(tmp_path / f"{index}.keras")
        model.save(paths[-1])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    printed = _run(backend, *paths, tmp_path / "saved")
    assert "saved: a SavedModel needs the TensorFlow backend of Keras" in printed
    for path, model in zip(paths, models, strict=True):
        expected = convert(model).SerializeToString(deterministic=True)
        assert convert(load(path)).SerializeToString(deterministic=True) == expected
        assert Path(f"{path}.onnx").read_bytes() == expected


def test_a_backend_that_is_not_installed_is_one_error(tmp_path: Path) -> None:
    randomize(_sequence()).save(tmp_path / "m.keras")
    printed = _run("tensorflow", tmp_path / "m.keras")
    assert "Keras cannot be imported (No module named 'tensorflow" in printed
    assert "KERAS_BACKEND=jax" in printed
