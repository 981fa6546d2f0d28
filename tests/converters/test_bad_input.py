"""Models that cannot be converted: one error that says what to do, in memory and by ``kerasrt convert FILE``.

What a bad file is (truncated, of another kind) is in test_loading.py; layers that would become another graph are in
test_silently_wrong.py.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

import converters
from converters.export import command
from converters.tracing import recording
from deploy import cli
from deploy.errors import ConversionError
from tests.converters.tensorflow_only import IS_BACKEND, needs_tensorflow, tensorflow

tf = tensorflow()

Make = Callable[[], keras.Model]
HERE = f"{__name__}:"


class _SameShape(layers.Layer):  # type: ignore[misc]  # Keras has no type information
    def compute_output_spec(self, x: Any) -> Any:
        return keras.KerasTensor(x.shape, "float32")


class Huge(_SameShape):
    """A constant of 2^31 elements that takes no memory."""

    def call(self, x: Any) -> Any:
        return x + ops.sum(ops.multiply(x[0, 0], np.broadcast_to(np.float32(0), (2**31,))))


class Polar(_SameShape):
    """A complex value between layers of keras.ops, whose absolute value nothing lowers."""

    def call(self, x: Any) -> Any:
        return ops.cast(ops.cast(x, "complex64"), "float32")


class Spectrum(_SameShape):
    """Complex values in raw TensorFlow, which tf2onnx does not know either."""

    def call(self, x: Any) -> Any:
        return tf.math.real(tf.math.exp(tf.cast(x, tf.complex64)))


class Digits(_SameShape):
    """Text in raw TensorFlow."""

    def call(self, x: Any) -> Any:
        return tf.cast(tf.strings.length(tf.as_string(x)), tf.float32)


class Ranked(_SameShape):
    """A value whose rank is computed."""

    def call(self, x: Any) -> Any:
        return tf.reshape(x, tf.shape(tf.strings.length(tf.as_string(x))))


class Unbuilt(keras.Model):  # type: ignore[misc]  # Keras has no type information
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.dense(x)


def _of(layer: Callable[[], Any], shape: tuple[int, ...] = (4,), **options: Any) -> Make:
    return lambda: keras.Sequential([keras.Input(shape, name="x", **options), layer()])


BAD: dict[str, tuple[Make, str, str]] = {
    "never built": (lambda: keras.Sequential([layers.Dense(2)]), "the model was never built", "call the model"),
    "no layers": (keras.Sequential, "the model was never built", "call the model"),
    "never built, of a class": (Unbuilt, "the model was never built", "call the model"),
    "a string input": (
        _of(lambda: layers.Identity(dtype="string"), dtype="string"),
        "input 'x': an input of dtype string",
        "text as tokens",
    ),
    "a complex input": (
        _of(lambda: layers.Reshape((2, 2)), dtype="complex64"),
        "input 'x': an input of dtype complex64",
        "real and imaginary parts",
    ),
    "a complex value": (_of(lambda: Polar(name="polar")), "layer 'polar'", "real and imaginary parts"),
    "a constant of 2^31 elements": (
        _of(lambda: Huge(name="huge")),
        "layer 'huge': a constant of 2147483648",
        "smaller",
    ),
}
if IS_BACKEND:
    BAD |= {
        "text looked up": (
            _of(lambda: layers.StringLookup(vocabulary=["a"], invert=True, name="text"), dtype="int64"),
            "layer 'text': StringLookup cannot be converted: it looks text up",
            "register a lowering",
        ),
        "text in raw TensorFlow": (_of(lambda: Digits(name="raw")), "layer 'raw'", "text as tokens"),
        "complex numbers in raw TensorFlow": (
            _of(lambda: Spectrum(name="raw")),
            "layer 'raw'",
            "real and imaginary parts",
        ),
        "a rank that is computed": (_of(lambda: Ranked(name="raw")), "layer 'raw'", "text as tokens"),
    }


def _command(source: Path, target: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run_module(command, [str(source), "-o", str(target), *arguments], program="kerasrt convert")
    assert isinstance(caught.value.code, int)
    return caught.value.code


def _refused(text: str, what: str, fix: str) -> None:
    assert text.startswith("error: ")
    assert what in text
    assert fix in text.rpartition("to do: ")[2]
    assert "Traceback" not in text


@pytest.mark.parametrize("name", BAD)
def test_in_memory(name: str) -> None:
    make, what, fix = BAD[name]
    with pytest.raises(ConversionError) as caught:
        converters.convert(make())
    assert what in str(caught.value)
    assert fix in caught.value.fix


@pytest.mark.parametrize("name", BAD)
def test_by_the_command(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing else is said, by no library on the way either, and no file is left."""
    make, what, fix = BAD[name]
    source, target = tmp_path / "model.keras", tmp_path / "new" / "model.onnx"
    model = make()
    model.save(source)
    own = sorted({type(x).__name__ for x in model._flatten_layers() if type(x).__module__ == __name__})
    capfd.readouterr()
    assert _command(source, target, *(["--custom-objects", *(HERE + x for x in own)] if own else [])) == 2
    _refused(capfd.readouterr().err, what, fix)
    assert os.listdir(tmp_path) == ["model.keras"]


@pytest.mark.parametrize(
    ("layer", "what", "fix"),
    [
        (Huge, "the model uses classes that are not known here\n  found: Huge", "--custom-objects"),
        (
            lambda: layers.Lambda(lambda x: x * 2.0),
            "the model has a Lambda layer, and loading one runs code that is in the file",
            "--trust-lambda",
        ),
    ],
    ids=["a class that is not named", "a Lambda without trust"],
)
def test_a_file_that_needs_a_word_of_the_user(
    layer: Callable[[], Any], what: str, fix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "model.keras"
    _of(layer)().save(source)
    with pytest.raises(ConversionError) as caught:
        converters.export(source, tmp_path / "model.onnx")
    assert fix in caught.value.fix
    capfd.readouterr()
    assert _command(source, tmp_path / "model.onnx") == 2
    _refused(capfd.readouterr().err, what, fix)
    assert os.listdir(tmp_path) == ["model.keras"]


def test_a_weight_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "TOO_MANY", 100)
    check = _of(lambda: layers.Dense(24, name="dense"))
    assert converters.convert(check()).graph.node
    with pytest.raises(ConversionError, match=r"layer 'dense': a constant of 100 elements is too large") as caught:
        converters.convert(_of(lambda: layers.Dense(25, name="dense"))())
    assert "split" in caught.value.fix


def test_a_tensor_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "TOO_MANY", 100)
    inputs = keras.Input((4,))
    with pytest.raises(ConversionError, match="a constant of 100 elements"):
        converters.convert(keras.Model(inputs, ops.multiply(inputs[:, :1], ops.ones((1, 100)))))


# --- SavedModels ------------------------------------------------------------------------------------------------------

SIGNATURES: dict[str, tuple[Any, Callable[..., Any], str, str]] = (
    {
        "an input of unknown rank": (
            [tf.TensorSpec(None, tf.float32, name="x")],
            tf.nn.relu,
            "input 'x': a tensor of unknown rank cannot be converted",
            "with a shape",
        ),
        "an output of unknown rank": (
            [tf.TensorSpec((None, 4), tf.float32, name="x"), tf.TensorSpec((None,), tf.int32, name="shape")],
            tf.reshape,
            "output 'output_0': a tensor of unknown rank cannot be converted",
            "with a shape",
        ),
        "a complex input": (
            [tf.TensorSpec((None, 4), tf.complex64, name="x")],
            tf.abs,
            "input 'x': an input of dtype complex64",
            "real and imaginary parts",
        ),
        "a string input": (
            [tf.TensorSpec((None, 4), tf.string, name="x")],
            tf.strings.length,
            "input 'x': an input of dtype string",
            "text as tokens",
        ),
        "a string output": (
            [tf.TensorSpec((None, 4), tf.float32, name="x")],
            tf.as_string,
            "layer 'saved': a value of dtype string",
            "text as tokens",
        ),
    }
    if IS_BACKEND
    else {}
)


@needs_tensorflow
@pytest.mark.parametrize("name", SIGNATURES)
def test_a_saved_model(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    specs, function, what, fix = SIGNATURES[name]
    module = tf.Module()
    module.run = tf.function(function, input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    capfd.readouterr()
    assert _command(tmp_path / "saved", tmp_path / "model.onnx") == 2
    _refused(capfd.readouterr().err, what, fix)
    assert os.listdir(tmp_path) == ["saved"]
