"""`kerasrt build --signature`: the signature of a SavedModel that was asked for is what is built."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import deploy
import engines
from deploy.bundle import open_bundle
from deploy.errors import BuildError, ConversionError, KerasrtError
from engines.build import command
from engines.recipe.command import add_arguments, run

tf = pytest.importorskip("tensorflow")


class Module(tf.Module):  # type: ignore[misc]  # TensorFlow has no type information
    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="x")])
    def double(self, x: Any) -> Any:
        return {"doubled": x * 2.0}

    @tf.function(input_signature=[tf.TensorSpec((None, 4), name="a"), tf.TensorSpec((None, 4), name="b")])
    def both(self, a: Any, b: Any) -> Any:
        return {"total": a + b}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, module = tmp_path_factory.mktemp("saved") / "signed", Module()
    tf.saved_model.save(module, str(folder), signatures={"double": module.double, "both": module.both})
    return folder


def _arguments(*given: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args([str(argument) for argument in given])


@pytest.mark.parametrize(("signature", "inputs", "output"), [("double", "x", "doubled"), ("both", "ab", "total")])
def test_the_one_that_was_asked_for_is_built(
    saved: Path, tmp_path: Path, signature: str, inputs: str, output: str
) -> None:
    options = ("--precision", "fp32", "--target", "onnxruntime", "--signature", signature)
    assert command.run(_arguments(saved, "-o", tmp_path / "b", *options)) == 0
    given = {name: np.full((1, 4), 1.5, np.float32) for name in inputs}
    with deploy.Runtime.load(tmp_path / "b") as runtime:
        assert {spec.name for spec in runtime.inputs} == set(inputs)
        np.testing.assert_array_equal(runtime(given)[output], np.full((1, 4), 3.0, np.float32))


def test_another_one_is_another_build(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def key(signature: str) -> str:
        engines.build(saved, tmp_path / "b", "fp32", "onnxruntime", signature=signature)
        return open_bundle(tmp_path / "b").manifest.key

    first = key("double")
    assert key("double") == first
    assert "up to date" in capsys.readouterr().out
    assert key("both") != first
    assert "up to date" not in capsys.readouterr().out


def test_one_has_to_be_named_and_to_be_there(saved: Path, tmp_path: Path) -> None:
    for signature, message in ((None, "several signatures"), ("other", "no signature of that name")):
        with pytest.raises(ConversionError, match=message) as caught:
            engines.build(saved, tmp_path / "b", "fp32", "onnxruntime", signature=signature, quiet=True)
        assert caught.value.where
        assert not (tmp_path / "b").exists()


def test_other_models_have_none(model: onnx.ModelProto, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    for source in (model, tmp_path / "m.onnx"):
        with pytest.raises(BuildError, match="--signature serve: only a SavedModel has signatures") as caught:
            engines.build(source, tmp_path / "b", "fp32", "onnxruntime", signature="serve", quiet=True)
        assert caught.value.fix
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(KerasrtError, match="signature"):
        run(parser.parse_args([str(tmp_path / "m.onnx"), "--precision", "fp16", "--signature", "serve"]))
