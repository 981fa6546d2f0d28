"""The fallback ladder: what the builder has no kernel for is raised, and that is said in the recipe and to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.manifest import Profile
from deploy.npz import Array
from engines.graphs import load
from engines.recipe import Recipe
from engines.targets import nvidia
from engines.targets.base import Built, find
from engines.targets.ladder import NoImplementation, climb, read_failure

ERROR = BuildError("could not be built")
REASON = "Error Code 10: Internal Error (Could not find any implementation for node {}.)"


def test_a_layer_goes_up_one_step_at_a_time_and_the_recipe_says_so(int8: Recipe) -> None:
    tried = []

    def attempt(recipe: Recipe) -> Built:
        tried.append((recipe.precision_of("block/conv2"), recipe.precision_of("block/cbam/fc1")))
        if tried[-1] != ("fp32", "fp32"):
            raise NoImplementation(["block/conv2", "block/cbam/fc1"], ERROR)
        return Built(recipe, "engine", ".engine", b"", details={"notes": ["kept"]})

    built = climb(int8, attempt)
    assert tried == [("int8", "fp16"), ("fp16", "fp32"), ("fp32", "fp32")]
    entry = next(layer for layer in built.recipe.layers if layer.name == "block/conv2")
    assert entry.why == "raised from fp16, for which the builder has no kernel"
    assert entry.weight_scales == ()
    others = [layer for layer in built.recipe.layers if layer.name not in ("block/conv2", "block/cbam/fc1")]
    assert others == [layer for layer in int8.layers if layer.name not in ("block/conv2", "block/cbam/fc1")]
    assert len(built.details["notes"]) == 4
    assert built.details["notes"][0].startswith("block/conv2 computes in fp16: raised from int8")


def test_what_has_no_kernel_in_fp32_either_is_an_error(model: onnx.ModelProto) -> None:
    def attempt(recipe: Recipe) -> Built:
        raise NoImplementation(["block/conv2"], ERROR)

    with pytest.raises(BuildError, match="could not be built"):
        climb(engines.recipe(model, "fp16"), attempt)


@pytest.mark.parametrize(
    ("node", "layers"),
    [
        ("block/conv2", ("block/conv2",)),
        ("block/conv1 + block/relu1", ("block/conv1",)),
        ("block/conv1+block/conv2 || logits", None),
        ("{ForeignNode[block/cbam/mean...block/cbam/sum]}", ("block/cbam/fc1", "block/cbam/fc2")),
        ("block/conv", None),
        ("block/relu1", None),
    ],
)
def test_what_the_builder_says_is_read(model: onnx.ModelProto, node: str, layers: Any) -> None:
    found = read_failure(REASON.format(node), load(model), ERROR)
    if node.startswith("block/conv1+"):
        layers = ("block/conv1", "block/conv2", "logits")
    assert found is ERROR if layers is None else isinstance(found, NoImplementation) and found.layers == layers


def test_other_failures_are_no_reason_to_climb(model: onnx.ModelProto) -> None:
    assert read_failure("out of memory in block/conv2", load(model), ERROR) is ERROR


def test_a_build_that_climbs_keeps_and_tells_it(
    model: onnx.ModelProto,
    samples: dict[str, Array],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("tensorrt_rtx")
    real = nvidia.build

    def build(trt: Any, graph: bytes, *arguments: Any) -> Any:
        if b"block/conv2/weight/quantized" in graph:
            raise nvidia.Failure(REASON.format("block/conv2"))
        return real(trt, graph, *arguments)

    monkeypatch.setattr(nvidia, "build", build)
    bundle = engines.build(model, tmp_path / "b", "int8", "tensorrt-rtx", calibration=samples)
    recipe = engines.read_recipe(bundle.path(bundle.manifest.find("recipe")))
    assert recipe.precision_of("block/conv2") == "fp16"
    engine = bundle.manifest.find("engine")
    assert engine is not None
    assert engine.details["layers"] == {"fp16": 4, "int8": 3}
    assert "block/conv2 computes in fp16: raised from int8" in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_attention_is_one_kernel_in_the_asked_precision(precision: str) -> None:
    """Both products of an attention end in a generated kernel, ``_gemm_mha_v2``."""
    pytest.importorskip("tensorrt_rtx")
    import keras

    from converters import convert

    inputs = keras.Input((64, 128), name="x")
    proto = convert(keras.Model(inputs, keras.layers.MultiHeadAttention(4, 32, name="mha")(inputs, inputs)))
    sequences = np.random.default_rng(0).normal(size=(4, 64, 128)).astype(np.float32)
    recipe = engines.recipe(proto, precision, calibration={"x": sequences})
    built = find("tensorrt-rtx").build(load(proto), recipe, Profile())
    assert built.recipe == recipe
    assert built.table is not None
    assert any("_gemm_mha" in row.name for row in built.table.rows)
    assert {layer.name: layer.found for layer in built.layers} == {
        layer.name: layer.precision for layer in recipe.layers
    }
