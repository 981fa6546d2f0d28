"""What is in the content key of a build beside the model's own file: the user's code, other files, the machine."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.gpu import Gpu
from deploy.manifest import Profile
from deploy.npz import Array
from engines.build import cache, options, user_code
from engines.build.user_code import class_hashes

LAYER = """
import keras
from helper import FACTOR


class Scaled(keras.layers.Layer):
    def call(self, x):
        return x * FACTOR
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module `own_layers` of the user's and one that it imports."""
    (tmp_path / "own_layers.py").write_text(LAYER)
    (tmp_path / "helper.py").write_text("FACTOR = 2.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("own_layers", "helper"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return tmp_path


@pytest.mark.parametrize("edited", ["own_layers.py", "helper.py"])
@pytest.mark.parametrize("given", ["module", "class", "model"])
def test_editing_the_users_own_code_changes_the_key(own: Path, given: str, edited: str) -> None:
    import keras

    def key() -> str:
        if given == "module":
            return cache.key(None, {}, {}, ["own_layers:Scaled"])
        if given == "class":
            return cache.key(None, {}, {}, (), [scaled])
        return cache.key(model if given == "model" else None, {}, {})

    scaled = importlib.import_module("own_layers").Scaled
    inputs = keras.Input((2,))
    model = keras.Model(inputs, scaled()(inputs))
    first = key()
    assert first
    assert key() == first
    (own / edited).write_text((own / edited).read_text() + "\nFACTOR = 3.0\n")
    assert key() != first


REGISTERED = """
import keras


@keras.saving.register_keras_serializable(package="own")
class Registered(keras.layers.Layer):
    def call(self, x):
        return x * 2.0


@keras.saving.register_keras_serializable(package="own")
def doubled(x):
    return x * 2.0
"""


def test_the_code_of_registered_classes_is_in_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in no argument of the build; the second one hashes their source without importing it."""
    import keras

    file = tmp_path / "registered_layers.py"
    file.write_text(REGISTERED)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("registered_layers")
    inputs = keras.Input((2,), name="x")
    dense = keras.layers.Dense(2, activation=module.doubled)
    keras.Model(inputs, module.Registered()(dense(inputs))).save(tmp_path / "m.keras")

    def build() -> Any:
        source = tmp_path / "m.keras"
        return engines.build(source, tmp_path / "b", "fp32", "onnxruntime", quiet=True).manifest

    first = build()
    assert first.provenance["code"] == ["registered_layers:Registered", "registered_layers:doubled"]
    assert len(first.key) == 64
    assert build() == first
    monkeypatch.delitem(sys.modules, "registered_layers")
    assert build() == first
    monkeypatch.setattr(module.Registered, "__module__", "another_module")
    assert not user_code.as_recorded(first.provenance["code"])
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    file.write_text(REGISTERED + "\n# edited\n")
    assert build().key != first.key


def test_a_package_of_the_users_is_taken_whole(own: Path) -> None:
    (own / "own_package" / "inner").mkdir(parents=True)
    for name in ("__init__.py", "layers.py", "inner/__init__.py", "inner/numbers.py"):
        (own / "own_package" / name).write_text("")
    first = cache.key(None, {}, {}, ["own_package.layers:Scaled"])
    (own / "own_package" / "inner" / "numbers.py").write_text("FACTOR = 3.0\n")
    assert cache.key(None, {}, {}, ["own_package.layers:Scaled"]) != first


def test_code_in_no_file_is_never_taken_for_unchanged() -> None:
    typed = type("Typed", (), {"__module__": "typed_in"})
    assert class_hashes([typed]) == ["?"]
    assert cache.key(None, {}, {}, (), [typed]) == ""


@pytest.mark.parametrize("name", ["no_such_package.layers:Scaled", ":Scaled", ""])
def test_a_module_that_is_not_there_is_for_loading_to_say(name: str) -> None:
    assert cache.key(None, {}, {}, [name])


def test_a_missing_module_is_one_sentence_for_the_command(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    model = root / "examples" / "mean_spot" / "mean_spot.keras"
    line = [sys.executable, "-m", "engines.build", model, "-o", tmp_path / "b", "--precision", "fp32"]
    line += ["--custom-objects", "no_such_package.layers:Scaled"]
    result = subprocess.run(list(map(str, line)), cwd=root, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "error: --custom-objects no_such_package.layers:Scaled: cannot be imported" in result.stderr


def test_weights_beside_an_onnx_file_are_part_of_it(
    model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.save(copy, tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)

    def build() -> Any:
        return engines.build(tmp_path / "m.onnx", tmp_path / "b", "fp32", "onnxruntime", sample=samples, quiet=True)

    first = build().manifest
    assert build().manifest == first
    data = bytearray((tmp_path / "weights.bin").read_bytes())
    data[-20:] = np.full(5, 0.5, np.float32).tobytes()  # the bias of the last layer
    (tmp_path / "weights.bin").write_bytes(bytes(data))
    assert build().manifest.key != first.key


def test_an_engine_for_this_gpu_is_none_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def content(target: str, *found: Gpu) -> dict[str, Any]:
        monkeypatch.setattr(options, "gpus", lambda: found)
        empty = dict.fromkeys(options.Options.__dataclass_fields__, None)
        given: Any = {**empty, "target": target, "profile": Profile()}
        return options.Options(**given).content()

    older, newer = Gpu("A", (8, 6)), Gpu("B", (8, 9))
    assert content("tensorrt", older) != content("tensorrt", newer)
    assert content("tensorrt-rtx", older) == content("tensorrt-rtx", newer)


def test_the_backend_of_keras_and_every_builders_version_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.key(None, {}, {})
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "another")
    assert cache.key(None, {}, {}) != first
    for name in ("tensorrt_rtx", "onnxruntime-gpu"):  # the names under which targets look for their versions
        assert name in cache.PACKAGES
