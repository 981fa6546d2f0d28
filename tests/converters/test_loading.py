"""Loading: every format, and one clear error for every bad file."""

from __future__ import annotations

import importlib.util
import sys
import textwrap
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import converters
from deploy.errors import ConversionError
from tests.converters.checking import check, keras_function, randomize
from tests.converters.tensorflow_only import IS_BACKEND, needs_tensorflow

X = np.random.default_rng(0).standard_normal((2, 8, 7, 3)).astype(np.float32)


def _model() -> keras.Model:
    inputs = keras.Input((8, 7, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return randomize(keras.Model(inputs, layers.Dense(3, name="score")(x), name="small"))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return _model()


@pytest.fixture(scope="module")
def files(model: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    paths = {"keras": folder / "model.keras", "h5": folder / "model.h5", "hdf5": folder / "model.hdf5"}
    model.save(paths["keras"])
    model.save(paths["h5"])
    paths["hdf5"].write_bytes(paths["h5"].read_bytes())
    paths["saved"] = folder / "saved"
    if IS_BACKEND:
        model.export(str(paths["saved"]), verbose=False)
    return paths


@pytest.mark.parametrize("kind", ["keras", "h5", "hdf5", pytest.param("saved", marks=needs_tensorflow)])
def test_formats(kind: str, files: dict[str, Path], model: keras.Model) -> None:
    loaded = converters.load(files[kind])
    (expected,) = keras_function(model)([X])
    np.testing.assert_allclose(keras_function(loaded)([X])[0], expected, atol=1e-6)
    converted = check(loaded)
    assert [value.name for value in converted.model.graph.inputs] == ["image"]


def test_a_path_as_text(files: dict[str, Path]) -> None:
    assert converters.load(str(files["keras"])).name == "small"


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_optimizer_is_not_loaded(tmp_path: Path, suffix: str) -> None:
    """Nor need its class be known."""

    @keras.saving.register_keras_serializable(package="elsewhere")
    class Exotic(keras.optimizers.SGD):
        pass

    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    model.compile(optimizer=Exotic(), loss="mse")
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    del keras.saving.get_custom_objects()["elsewhere>Exotic"]
    loaded = converters.load(path)
    assert getattr(loaded, "optimizer", None) is None
    check(loaded)


def test_cbam_needs_no_custom_objects(tmp_path: Path) -> None:
    from converters.layers import CBAM

    inputs = keras.Input((6, 5, 4))
    keras.Model(inputs, CBAM(2, 3)(inputs)).save(tmp_path / "m.keras")
    check(converters.load(tmp_path / "m.keras"))


MODULE = """
import keras

class Twice(keras.layers.Layer):
    def call(self, x):
        return x * 2.0
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[type, dict[str, Path]]:
    """A class in a module of its own, and models with it."""
    (tmp_path / "own_layers_for_test.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(str(tmp_path))
    spec = importlib.util.spec_from_file_location("hidden_module", tmp_path / "own_layers_for_test.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = keras.Sequential([keras.Input((4,)), module.Twice(), layers.Dense(2)])
    paths = {suffix: tmp_path / f"own.{suffix}" for suffix in ("keras", "h5")}
    for path in paths.values():
        model.save(path)
    monkeypatch.delitem(sys.modules, "own_layers_for_test", raising=False)
    return module.Twice, paths


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_custom_objects(own: tuple[type, dict[str, Path]], suffix: str) -> None:
    cls, paths = own
    check(converters.load(paths[suffix], {"Twice": cls}))
    check(converters.load(paths[suffix], ["own_layers_for_test:Twice"]))


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_unknown_class_is_named(own: tuple[type, dict[str, Path]], suffix: str) -> None:
    with pytest.raises(ConversionError, match="Twice") as caught:
        converters.load(own[1][suffix])
    assert "--custom-objects" in caught.value.fix


@pytest.mark.parametrize("entry", ["no_such_module:A", "keras:NoSuchClass", "keras", "", ":A", "keras:layers:Dense"])
def test_custom_objects_that_cannot_be_imported(entry: str, files: dict[str, Path]) -> None:
    with pytest.raises(ConversionError, match="--custom-objects"):
        converters.load(files["keras"], [entry])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_lambda_is_refused_unless_trusted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"lambda.{suffix}"
    inputs = keras.Input((4,))
    keras.Model(inputs, layers.Lambda(lambda x: x * 3.0)(inputs)).save(path)
    with pytest.raises(ConversionError, match="Lambda") as caught:
        converters.load(path)
    assert "--trust-lambda" in caught.value.fix
    converted = check(converters.load(path, trust_lambda=True))
    assert converted.report.operations == {"Mul": 1}


def test_a_lambda_in_memory_is_the_users_own() -> None:
    inputs = keras.Input((4, 3))
    check(keras.Model(inputs, layers.Lambda(lambda x: keras.ops.mean(x, axis=1))(inputs)))


# --- bad files --------------------------------------------------------------------------------------------------------


def _message(path: Path, **options: Any) -> str:
    with pytest.raises(ConversionError) as caught:
        converters.load(path, **options)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert caught.value.exit_code == 2
    return text


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in _message(tmp_path / "model.keras")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_truncated(kind: str, share: float, files: dict[str, Path], tmp_path: Path) -> None:
    data = files[kind].read_bytes()
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: int(len(data) * share)])
    assert "file" in _message(path)


@pytest.mark.parametrize("kind", ["keras", "h5"])
def test_damaged(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    """Noise over the middle: an error or, where it hit unused bytes, the same model; never another one."""
    data = bytearray(files[kind].read_bytes())
    rng = np.random.default_rng(0)
    for start in rng.integers(200, len(data) - 200, 6):
        broken = data.copy()
        broken[start : start + 64] = rng.bytes(64)
        path = tmp_path / f"damaged_{start}.{kind}"
        path.write_bytes(broken)
        try:
            converters.load(path)
        except ConversionError as error:
            assert error.where == str(path)  # noqa: PT017


def test_weights_without_a_model(tmp_path: Path, model: keras.Model) -> None:
    path = tmp_path / "small.weights.h5"
    model.save_weights(path)
    assert "weights alone" in _message(path)
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    _message(tmp_path / "empty.h5")


@pytest.mark.parametrize(("kind", "name"), [("h5", "really_h5.keras"), ("keras", "really_keras.h5")])
def test_wrong_suffix(kind: str, name: str, files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(files[kind].read_bytes())
    text = _message(tmp_path / name)
    assert ".h5" in text


def test_unknown_suffix(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(files["keras"].read_bytes())
    assert ".keras, .h5" in _message(tmp_path / "model.pt")


def test_zip_that_is_no_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    (tmp_path / "arrays.npz").rename(tmp_path / "arrays.keras")
    _message(tmp_path / "arrays.keras")


def test_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    assert "not a SavedModel" in _message(tmp_path)


def test_folder_with_a_broken_saved_model(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x00junk")
    _message(tmp_path)


def test_an_object_that_is_no_model() -> None:
    with pytest.raises(ConversionError, match=r"builtins\.dict"):
        converters.convert({"a": 1})
