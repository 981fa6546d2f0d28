"""The types at the border: the same in every file of a bundle, and the same numbers behind them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import deploy
import engines
from deploy.bundle import Bundle
from deploy.errors import BuildError, InputError
from deploy.golden import read_golden
from deploy.manifest import TensorSpec
from deploy.npz import Array
from engines.apply import applied
from engines.apply.io_types import KEPT, IoTypes, parse, resolve, retype
from engines.calibration.collect import collect
from engines.calibration.data import Widened
from engines.graphs import load
from engines.search.samples import evaluation
from engines.sessions import input_specs

rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="tensorrt_rtx is not installed")
TARGET = "tensorrt-rtx" if importlib.util.find_spec("tensorrt_rtx") else "onnxruntime"


@pytest.fixture(scope="module")
def pixels() -> Any:
    """A network that normalizes its image itself, (x - 127.5) / 127.5 before a padded convolution."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="conv")(x)
    x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="conv2")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(4, name="scores")(x))


@pytest.fixture(scope="module")
def images() -> Array:
    return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def bundle(pixels: Any, images: Array, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("io")
    np.savez(folder / "calibration.npz", image=images)
    precisions = "fp16,bf16,int8" if TARGET == "tensorrt-rtx" else "int8"
    options: dict[str, Any] = {"calibration": folder / "calibration.npz", "io_dtype": "image=uint8,scores=fp16"}
    return engines.build(pixels, folder / "b", precisions, TARGET, quiet=True, **options)


def test_bytes_give_what_keras_gives_for_them(pixels: Any, images: Array, bundle: Bundle) -> None:
    with deploy.Runtime.load(bundle) as runtime:
        assert [spec.dtype for spec in (*runtime.inputs, *runtime.outputs)] == ["uint8", "float16"]
        found = runtime(images[:8])
        check = runtime.selftest()
        with pytest.raises(InputError, match=r"dtype is wrong(.|\n)*expected: uint8"):
            runtime(images[:8].astype(np.float32))
        with pytest.raises(InputError, match="dtype is wrong"):
            runtime(images[:8].astype(np.int64))
    expected = np.asarray(pixels(images[:8].astype(np.float32)))
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=0, atol=2**-11 * np.abs(expected).max())
    assert check is not None
    assert check.passed
    assert check.outputs[0].threshold.limit == 1e-2  # of FP16, to which the FP32 graph's output is rounded


def test_keras_itself_and_each_of_its_layers_are_found_again_behind_the_border(pixels: Any, bundle: Bundle) -> None:
    result = deploy.verify(bundle, pixels, layers=True)
    assert result.passed
    assert result.layers
    limits = {layer.name: layer.threshold.limit for layer in result.layers}
    assert limits["conv"] < 1e-3  # of FP32
    assert limits["scores"] == 1e-2  # the value of this layer is the output, in FP16
    assert all(layer.passed for layer in result.layers)


def test_every_file_has_the_same_border(images: Array, bundle: Bundle) -> None:
    golden = read_golden(bundle)
    assert golden is not None
    assert golden.inputs["image"].dtype == np.uint8
    np.testing.assert_array_equal(golden.inputs["image"], images[:8])
    for artifact in (a for a in bundle.manifest.artifacts if a.kind == "graph"):
        proto = onnx.load(bundle.path(artifact))
        onnx.checker.check_model(proto, full_check=True)
        types = [value.type.tensor_type.elem_type for value in (*proto.graph.input, *proto.graph.output)]
        assert types == [onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT16]
        names = [node.name for node in proto.graph.node]
        assert len(set(names)) == len(names)


def test_calibration_of_bytes_is_recorded_as_the_file_it_is(images: Array, bundle: Bundle) -> None:
    recipe = engines.read_recipe(bundle.folder / "recipe.int8.json")
    assert recipe.calibration["source"] == "calibration.npz"
    assert recipe.calibration["samples"] == len(images)
    assert recipe.precision_of("conv2/Add") == "int8"
    image = next(activation for activation in recipe.activations if activation.value == "image")
    assert (image.minimum, image.maximum) == (images.min(), images.max())


def test_a_budget_for_a_model_that_takes_bytes_is_judged_on_the_labels_beside_them(
    pixels: Any, images: Array, tmp_path: Path
) -> None:
    import converters

    graph = load(converters.convert(pixels))
    classes = np.arange(len(images)) % 4
    np.savez(tmp_path / "labelled.npz", image=images, labels=classes)
    io = IoTypes({"image": "uint8"})
    specs = input_specs(graph)
    source = Widened(tmp_path / "labelled.npz", io.given(specs), specs)
    found = evaluation(graph, source, collect(graph, source))
    assert found.inputs["image"].dtype == np.float32
    rows = {image.tobytes(): label for image, label in zip(images.astype(np.float32), classes, strict=True)}
    assert [rows[image.tobytes()] for image in found.inputs["image"]] == found.labels["labels"].tolist()


@rtx
def test_an_engine_in_fp16_reads_bytes_and_writes_fp16_without_a_cast_to_fp32(bundle: Bundle) -> None:
    proto = onnx.load(bundle.folder / "model.fp16.onnx")
    casts = [onnx.helper.get_node_attr_value(node, "to") for node in proto.graph.node if node.op_type == "Cast"]
    assert casts == [onnx.TensorProto.FLOAT16]
    engine = bundle.manifest.find("engine", "fp16")
    assert engine is not None
    assert engine.details["layers"] == {"fp16": 3}


def test_what_the_model_reads_as_fp16_is_rounded_for_the_reference_too(
    model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    made = engines.build(model, tmp_path / "b", "fp32", "onnxruntime", sample=samples, io_dtype="fp16", quiet=True)
    golden = read_golden(made)
    assert golden is not None
    assert golden.inputs["image"].dtype == np.float16
    rounded = golden.inputs["image"].astype(np.float32)
    exact = engines.simulate(engines.recipe(model, "fp32"), model, {"image": rounded})["logits"]
    np.testing.assert_allclose(golden.outputs["logits"], exact, rtol=0, atol=1e-5)
    with deploy.Runtime.load(made) as runtime:
        result = runtime.selftest()
        assert result is not None
        assert result.passed
        with pytest.raises(InputError, match="dtype is wrong"):
            runtime(samples["image"][:2])


@pytest.mark.parametrize("base", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("asked", ["fp16", "image=uint8", "logits=fp16"])
def test_a_typed_graph_is_valid_with_every_border(model: onnx.ModelProto, base: str, asked: str) -> None:
    import onnx_ir

    graph = applied(engines.recipe(model, base), model, "tensorrt")
    specs = [TensorSpec("image", ("batch", 12, 12, 3), "float32")], [TensorSpec("logits", ("batch", 5), "float32")]
    types = resolve(parse(asked), *specs)
    retype(graph, types)
    proto = onnx_ir.to_proto(graph)
    onnx.checker.check_model(proto, full_check=True)
    found = {v.name: v.type.tensor_type.elem_type for v in (*proto.graph.input, *proto.graph.output)}
    wanted = {
        s.name: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(s.dtype)) for s in types.specs([*specs[0], *specs[1]])
    }
    assert found == wanted


def test_what_cannot_be_is_refused(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    inputs = [TensorSpec("image", ("batch", 4), "float32"), TensorSpec("index", ("batch",), "int32")]
    outputs = [TensorSpec("logits", ("batch", 5), "float32")]
    assert resolve({}, inputs, outputs) == KEPT
    assert resolve(parse("fp16"), inputs, outputs) == IoTypes({"image": "float16", "logits": "float16"})
    for asked, message in (
        ("fp8", "unknown type"),
        ("picture=uint8", "no input or output has this name(.|\n)*expected: image, index, logits"),
        ("index=fp16", "only float inputs and outputs"),
        ("logits=uint8", "bytes are for inputs alone(.|\n)*to do: --io-dtype image=uint8"),
        ("uint8", "bytes are for inputs alone"),
    ):
        with pytest.raises(BuildError, match=message):
            resolve(parse(asked), inputs, outputs)
    options: dict[str, Any] = {"target": "onnxruntime", "quiet": True}
    with pytest.raises(InputError, match=r"dtype is wrong(.|\n)*expected: uint8"):
        engines.build(model, tmp_path / "b", "fp32", sample=samples, io_dtype="image=uint8", **options)
    large = {"image": samples["image"] * 1e6}
    with pytest.raises(BuildError, match=r"samples of image reach .*FP16 ends at 65504"):
        engines.build(model, tmp_path / "b", "fp32", sample=large, io_dtype="fp16", **options)
    assert not (tmp_path / "b").exists()
