"""SavedModels: of Keras's export and of a tf.Module, by signature, with the signature's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import converters
from deploy.errors import ConversionError
from tests.converters.checking import check, operations, randomize
from tests.converters.tensorflow_only import require_tensorflow

tf = require_tensorflow()


class Module(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.weight = tf.Variable(np.arange(12, dtype=np.float32).reshape(4, 3))

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def double(self, x: Any) -> Any:
        return x @ self.weight * 2.0

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="a"), tf.TensorSpec((None, 3), name="b")])
    def both(self, a: Any, b: Any) -> Any:
        return {"total": a @ self.weight + b, "b": b * 2.0}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, module = tmp_path_factory.mktemp("saved"), Module()
    tf.saved_model.save(module, str(folder / "signed"), signatures={"double": module.double, "both": module.both})
    tf.saved_model.save(module, str(folder / "plain"))
    tf.saved_model.save(tf.Module(), str(folder / "nothing"))
    return {name: folder / name for name in ("signed", "plain", "nothing")}


def _names(converted: Any) -> tuple[list[str], list[str]]:
    graph = converted.model.graph
    return [value.name for value in graph.inputs], [value.name for value in graph.outputs]


@pytest.mark.parametrize("kind", ["signed", "plain"])
def test_named_signatures(kind: str, saved: dict[str, Path]) -> None:
    one = check(converters.load(saved[kind], signature="double"))
    assert _names(one)[0] == ["x"]
    assert operations(one) == "Gemm:1,Mul:1"
    two = check(converters.load(saved[kind], signature="both"))
    assert _names(two) == (["a", "b"], ["b_output", "total"])
    assert [str(value.shape) for value in two.model.graph.outputs] == ["[batch,3]", "[batch,3]"]


def test_the_signature_must_be_one_of_those_there_are(saved: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="several signatures") as caught:
        converters.load(saved["signed"])
    assert caught.value.fix == "--signature both"
    with pytest.raises(ConversionError, match=r"--signature other: .* no signature of that name"):
        converters.load(saved["signed"], signature="other")
    with pytest.raises(ConversionError, match="has no signature"):
        converters.load(saved["nothing"])
    keras.Sequential([keras.Input((4,)), layers.Dense(2)]).save(tmp_path / "m.keras")
    with pytest.raises(ConversionError, match="only a SavedModel has signatures"):
        converters.load(tmp_path / "m.keras", signature="serve")


def test_dictionaries_of_keras_keep_their_names(tmp_path: Path) -> None:
    inputs = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    x = layers.Add()([inputs["a"], inputs["b"]])
    model = randomize(keras.Model(inputs, {"sum": layers.Dense(2)(x), "first": layers.Dense(3)(inputs["a"])}))
    model.export(str(tmp_path / "saved"), verbose=False)
    assert _names(check(converters.load(tmp_path / "saved"))) == (["a", "b"], ["first", "sum"])


def test_a_nearest_neighbour_has_no_dropped_attribute(tmp_path: Path) -> None:
    inputs = keras.Input((5, 4, 3), name="image")
    model = keras.Model(inputs, layers.Resizing(8, 9, interpolation="nearest")(layers.UpSampling2D()(inputs)))
    model.export(str(tmp_path / "saved"), verbose=False)
    converted = check(converters.load(tmp_path / "saved"))
    modes = {
        str(n.attributes["coordinate_transformation_mode"].value)
        for n in converted.model.graph
        if n.op_type == "Resize"
    }
    assert modes == {"half_pixel"}
