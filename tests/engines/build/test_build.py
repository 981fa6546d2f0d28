"""Bundles, built from real models with real data; and what is left when a build fails."""

from __future__ import annotations

import errno
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import deploy
import engines
from deploy.errors import BuildError, InputError, KerasrtError, ParityError
from deploy.golden import read_golden
from deploy.manifest import Profile
from deploy.npz import Array
from engines.build.options import precisions
from engines.targets import timing
from engines.targets.base import find
from tests.engines.graphs import Graph

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
RTX = importlib.util.find_spec("tensorrt_rtx") is not None


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def files(model: onnx.ModelProto, samples: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.onnx and calibration.npz, and an older bundle of them."""
    folder = tmp_path_factory.mktemp("files")
    onnx.save(model, folder / "model.onnx")
    np.savez(folder / "calibration.npz", **samples)
    engines.build(folder / "model.onnx", folder / "older", "fp16", calibration=folder / "calibration.npz", quiet=True)
    return folder


@pytest.fixture
def older(files: Path) -> Iterator[Path]:
    """The older bundle, which must come out as it was, with nothing new beside it."""
    before, beside = contents(files / "older"), sorted(os.listdir(files))
    yield files / "older"
    assert contents(files / "older") == before
    assert sorted(os.listdir(files)) == beside


def command(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """Runs `kerasrt build` in a process of its own, behind ``code``; Ctrl-C works there, in a background job too."""
    program = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += f"{code}\nfrom deploy.cli import run_module\nfrom engines.build import command\nrun_module(command)"
    line = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def mean_spot(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The main model with its own data, built as `make engine` does."""
    output = tmp_path_factory.mktemp("mean_spot") / "build" / "mean_spot_cbam"
    data = EXAMPLES / "mean_spot"
    return engines.build(
        data / "mean_spot_cbam.keras",
        output,
        calibration=data / "calibration.npz",
        sample=data / "input.npz",
        task="regression",
        quiet=True,
    )


def test_a_bundle_is_whole_and_proves_itself(mean_spot: Any) -> None:
    manifest = mean_spot.manifest
    mean_spot.check()
    assert deploy.verify(mean_spot, precision="fp32", layers=True).passed
    assert {spec.name for spec in manifest.inputs} == {"u", "v", "strain"}
    assert (manifest.task, manifest.profile) == ("regression", Profile(1, 1, 8))
    assert 0 <= manifest.sensitivity["spot"] < 1e-5
    assert manifest.simulated["fp16"]["spot"]["relative"] < 1e-2
    assert manifest.simulated["int8"]["spot"]["sqnr_db"] > 15
    assert manifest.provenance["golden"] == "input.npz"
    assert manifest.versions["keras"]
    assert str(ROOT) not in manifest.to_json()
    assert os.readlink(mean_spot.folder.parent / "current") == "mean_spot_cbam"


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
def test_engines_are_as_asked_and_their_lines_say_how(mean_spot: Any) -> None:
    manifest = mean_spot.manifest
    for precision in ("fp16", "int8"):
        engine = manifest.find("engine", precision, "tensorrt-rtx")
        assert sum(engine.details["layers"].values()) == 10
        assert manifest.find("layers", precision)
        recipe = engines.read_recipe(mean_spot.path(manifest.find("recipe", precision)))
        asked = [layer.precision for layer in recipe.layers]
        assert engine.details["layers"] == {name: asked.count(name) for name in set(asked)}
        line = manifest.commands[precision]
        assert line.startswith(f"tensorrt_rtx --onnx=model.{precision}.onnx")
        assert "--maxShapes=u:8x42x42x1" in line.replace("strain:8x42x42x1,v:8x42x42x1,", "")
        assert manifest.find("graph", precision).file in line


def test_a_second_build_does_nothing_quickly_and_without_tensorflow(files: Path, older: Path) -> None:
    heavy = "('tensorflow', 'keras', 'onnx', 'onnxruntime', 'tensorrt_rtx')"
    script = f"import sys, atexit\natexit.register(lambda: print([m for m in {heavy} if m in sys.modules]))"
    arguments = (files / "model.onnx", "-o", older, "--precision", "fp16", "--calibration", files / "calibration.npz")
    result = command(*arguments, code=script)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"{older} is up to date", "[]"]


def test_what_changes_the_content_changes_the_key(
    files: Path, model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    def key(source: Any = files / "model.onnx", precision: str = "fp16", output: str = "bundle", **options: Any) -> str:
        options = {"calibration": files / "calibration.npz", "name": "m", "target": "onnxruntime", **options}
        return engines.build(source, tmp_path / output, precision, quiet=True, **options).manifest.key

    first = key(precision="fp32")
    assert key(precision="fp32", output="other") == first
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.initializer[3].raw_data = bytes(len(changed.graph.initializer[3].raw_data))
    onnx.save(changed, tmp_path / "changed.onnx")
    np.savez(tmp_path / "fewer.npz", image=samples["image"][:32])
    others = [
        key(tmp_path / "changed.onnx", "fp32"),
        key(precision="int8"),
        key(precision="fp32", calibration=tmp_path / "fewer.npz"),
        key(precision="fp32", profile=Profile(1, 2, 4)),
        key(precision="fp32", labels=tuple("abcdefghijklmnopqrst")),
    ]
    assert len({first, *others}) == 6
    assert all(len(each) == 64 for each in others)


def test_a_damaged_bundle_is_built_again(files: Path, tmp_path: Path) -> None:
    def build() -> Any:
        return engines.build(
            files / "model.onnx", tmp_path / "b", "fp32", "onnxruntime", sample=files / "calibration.npz", quiet=True
        )

    build()
    graph = tmp_path / "b" / "model.onnx"
    stamp = graph.stat().st_mtime_ns
    build()
    assert graph.stat().st_mtime_ns == stamp
    graph.write_bytes(graph.read_bytes() + b"\0")
    build().check()
    assert graph.stat().st_mtime_ns != stamp


def test_a_stream_of_samples_is_used_once_and_never_re_used(
    model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path
) -> None:
    images = samples["image"]
    stream = ({"image": images[i : i + 16]} for i in range(0, 64, 16))
    bundle = engines.build(model, tmp_path / "b", "int8", "onnxruntime", calibration=stream, quiet=True)
    recipe = engines.read_recipe(bundle.path(bundle.manifest.find("recipe")))
    assert recipe.calibration["samples"] == 64
    assert bundle.manifest.key == ""


def test_without_real_inputs_it_says_that_they_are_random(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = engines.build(model, tmp_path / "b", "fp32", "onnxruntime")
    assert bundle.manifest.provenance["golden"] == "random"
    assert "random" in capsys.readouterr().out


def test_onnxruntime_bundles_run_their_int8_graph(files: Path, tmp_path: Path) -> None:
    bundle = engines.build(
        files / "model.onnx", tmp_path / "b", "int8", "onnxruntime", files / "calibration.npz", quiet=True
    )
    result = deploy.verify(bundle, precision="int8")
    assert result.passed
    assert result.precision == "int8"
    simulated = bundle.manifest.simulated["int8"]["logits"]
    assert result.metrics["logits"].sqnr_db == pytest.approx(simulated["sqnr_db"], abs=0.5)


@pytest.mark.parametrize(
    ("precision", "gain", "kept"),
    [(None, 0.8, False), ("int8", 0.8, True), (None, 3.0, True), ("auto", 0.8, False), ("auto", 3.0, True)],
)
def test_int8_that_gains_nothing_on_the_cpu_is_kept_only_if_asked_for(
    files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: str | None,
    gain: float,
    kept: bool,
) -> None:
    monkeypatch.setattr(timing, "latencies", lambda *_: timing.Latencies(1.0, 1.0 / gain))
    data = files / "calibration.npz"
    within = {"budget": "sqnr=10dB"} if precision == "auto" else {}
    bundle = engines.build(files / "model.onnx", tmp_path / "b", precision, "onnxruntime", data, **within)
    said = " ".join(capsys.readouterr().out.split())
    assert (bundle.manifest.find("graph", "int8") is not None) == kept
    assert ("INT8 is slower on this CPU: 1.25 ms against 1 ms of FP32" in said) == (gain < 1)
    assert ("left out (--precision int8 builds it)" in said) == (not kept)
    assert ("it runs where --precision int8 asks for it" in said) == (gain > 1)
    with deploy.Runtime.load(bundle) as runtime:
        assert runtime.precision == "fp32"  # however fast INT8 is, its numbers are for those who ask for them
    if kept:
        assert bundle.manifest.find("graph", "int8").details["milliseconds"]["fp32"] == 1.0
        with deploy.Runtime.load(bundle, precision="int8") as runtime:
            assert runtime.precision == "int8"


def test_a_recipe_asks_for_int8_by_name(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "latencies", lambda *_: timing.Latencies(1.0, 2.0))
    model, data = files / "model.onnx", files / "calibration.npz"
    recipe = engines.recipe(onnx.load(model), "int8", data)
    bundle = engines.build(model, tmp_path / "b", None, "onnxruntime", data, recipe=recipe, quiet=True)
    assert bundle.manifest.find("graph", "int8") is not None


def test_auto_leaves_fp16_out_where_only_onnxruntime_is(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engines.targets.rtx import Rtx

    monkeypatch.setattr(Rtx, "missing", lambda self: "not here")
    bundle = engines.build(files / "model.onnx", tmp_path / "b", "fp16,int8", calibration=files / "calibration.npz")
    assert {a.precision for a in bundle.manifest.artifacts if a.target} == {"int8"}
    assert "fp16 is left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int4"}, "unknown precision"),
        ({"precision": "int8"}, "calibration data"),
        ({"precision": "fp16", "profile": Profile(4, 2, 8)}, "batch sizes"),
        ({"precision": "fp16", "profile": Profile(0, 1, 8)}, "batch sizes"),
        ({"precision": "fp16", "task": "poetry"}, "unknown task"),
        ({"precision": "fp16", "target": "tpu"}, "unknown target"),
        ({"precision": "fp16", "target": "onnxruntime", "source": b"no model"}, "does not compute in fp16"),
        ({"precision": "fp32", "source": b"no model"}, "no model that can be built"),
        ({"precision": "fp16", "shapes": {"image": [None, 4, 4, 3]}}, "shapes"),
        ({"precision": "fp32", "labels": ("a", "b")}, "not as many labels as classes"),
        ({"precision": "fp32", "labels": ("a", "b"), "task": "regression"}, "the task is regression"),
        ({"precision": "int8", "calibration": "missing.npz"}, "missing.npz"),
        ({"precision": "int8", "calibration": {"image": np.full((4, 12, 12, 3), np.nan, np.float32)}}, "NaN"),
        ({"precision": "int8", "calibration": {"image": np.zeros((4, 9, 9, 3), np.float32)}}, "wrong size"),
    ],
)
def test_bad_requests_are_refused_and_nothing_is_touched(
    files: Path, older: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((BuildError, InputError), match=message) as caught:
        engines.build(**{"source": files / "model.onnx", "output": older, "quiet": True, **options})
    assert caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize("package", ["rich", "onnx"])
def test_a_package_that_is_not_installed_is_named(files: Path, tmp_path: Path, package: str) -> None:
    """As on a device, where kerasrt[cpu] alone is installed."""
    arguments = (files / "model.onnx", "-o", tmp_path / "b", "--precision", "fp32")
    result = command(*arguments, code=f"import sys\nsys.modules[{package!r}] = None")
    assert result.returncode == 2
    assert result.stderr.startswith(
        f"error: the package {package} is not installed\n  to do: pip install 'kerasrt[convert]'"
    )


def test_a_missing_model_is_said_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"missing\.keras: no such file"):
        engines.build("missing.keras", tmp_path / "b", quiet=True)


def test_a_folder_with_more_than_a_bundle_is_not_replaced(files: Path, older: Path, tmp_path: Path) -> None:
    web = tmp_path / "webapp"
    (web / "src").mkdir(parents=True)
    (web / "manifest.json").write_text('{"name": "my web app"}')
    (older / "notes.txt").write_text("mine")
    for folder, found in ((web, "manifest.json, src"), (older, "notes.txt")):
        with pytest.raises(KerasrtError, match="is not a bundle") as caught:
            engines.build(files / "model.onnx", folder, "fp32", quiet=True)
        assert caught.value.found == found
    assert (web / "src").is_dir()
    assert (older / "notes.txt").read_text() == "mine"
    (older / "notes.txt").unlink()


@pytest.mark.parametrize("output", ["build/current", ".", ".."])
def test_a_name_that_is_taken_is_refused(files: Path, output: str) -> None:
    with pytest.raises(KerasrtError, match="cannot have this name"):
        engines.build(files / "model.onnx", output, "fp32", quiet=True)


def test_a_folder_that_is_no_bundle_is_not_replaced(files: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(KerasrtError, match="not a bundle"):
        engines.build(files / "model.onnx", tmp_path, "fp32", quiet=True)
    with pytest.raises(KerasrtError, match="not a bundle"):
        engines.build(files / "model.onnx", tmp_path / "letters.txt", "fp32", quiet=True)
    assert (tmp_path / "letters.txt").read_text() == "dear"


@pytest.mark.parametrize("output", ["/proc/kerasrt/bundle", "letters.txt/bundle"])
def test_a_place_that_cannot_be_written_is_named(files: Path, tmp_path: Path, output: str) -> None:
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(KerasrtError, match="cannot be written"):
        engines.build(files / "model.onnx", tmp_path / output, "fp32", "onnxruntime", quiet=True)


def test_a_full_disk_leaves_the_older_bundle(files: Path, older: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        real(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(KerasrtError, match="No space left on device") as caught:
        engines.build(files / "model.onnx", older, "fp32", "onnxruntime", quiet=True)
    assert "free some space" in str(caught.value)


def test_a_file_that_may_not_grow_leaves_the_older_bundle(files: Path, older: Path) -> None:
    """The operating system itself refuses to write on, in the middle of a file."""
    code = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    result = command(files / "model.onnx", "-o", older, "--precision", "fp32", "--target", "onnxruntime", code=code)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
def test_ctrl_c_during_the_build_leaves_the_older_bundle(files: Path, older: Path) -> None:
    code = (
        "import os, signal\n"
        "from engines.targets import nvidia\n"
        "real = nvidia._monitor\n"
        "def monitor(trt, interrupted):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    return real(trt, interrupted)\n"
        "nvidia._monitor = monitor\n"
    )
    result = command(files / "model.onnx", "-o", older, "--precision", "fp16", "--force", code=code)
    assert result.returncode == 130, result.stderr
    assert result.stderr.strip().splitlines()[-1] == "error: interrupted"


@pytest.mark.skipif(not RTX, reason="tensorrt_rtx is not installed")
def test_ctrl_c_while_writing_leaves_the_older_bundle(files: Path, older: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "real = Path.write_bytes\n"
        "def write_bytes(self, data):\n"
        "    real(self, data)\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "Path.write_bytes = write_bytes\n"
    )
    result = command(files / "model.onnx", "-o", older, "--precision", "fp16", "--force", code=code)
    assert result.returncode == 130, result.stderr


def test_failed_parity_writes_nothing_and_names_the_layer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A converter's mistake, planted: one weight of the second convolution is off."""
    from engines.build import source as sources

    real = sources.convert

    def mistaken(opened: Any, options: Any) -> Any:
        found = real(opened, options)
        weight = found.model.graph.initializers["residual_1_bn/kernel"]
        import onnx_ir

        array = weight.const_value.numpy().copy()
        array.flat[0] += 0.1
        weight.const_value = onnx_ir.tensor(array)
        return found

    monkeypatch.setattr(sources, "convert", mistaken)
    data = EXAMPLES / "mean_spot"
    with pytest.raises(ParityError, match="residual_1") as caught:
        engines.build(data / "mean_spot_cbam.keras", tmp_path / "b", "fp16", sample=data / "input.npz", quiet=True)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_an_overflow_is_found_before_the_engine_is_kept(tmp_path: Path) -> None:
    from tests.engines.graphs import Graph

    g = Graph()
    w = g.constant("w", np.full((1, 4, 1, 1), 24000, np.float32))
    g.node("Mul", [g.node("Conv", ["x", w], "big"), g.constant("s", np.float32(1e-4))], "small")
    model = g.model({"x": ["batch", 4, 2, 2]}, ["small"])
    bundle = engines.build(model, tmp_path / "b", "fp16", sample={"x": np.ones((2, 4, 2, 2), np.float32)}, quiet=True)
    recipe = engines.read_recipe(bundle.path(bundle.manifest.find("recipe")))
    assert {layer.name: layer.precision for layer in recipe.layers} == {"big": "fp32", "small": "fp32"}
    small = {"x": np.full((2, 4, 2, 2), 1e-3, np.float32)}  # what calibration saw does not overflow, the sample does
    with pytest.raises(BuildError, match="layer big"):
        engines.build(
            model,
            tmp_path / "c",
            "fp16",
            calibration=small,
            sample={"x": np.ones((2, 4, 2, 2), np.float32)},
            quiet=True,
        )
    assert not (tmp_path / "c").exists()


def test_a_keras_model_in_memory_and_its_own_classes(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 2), name="image")
    x = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, name="logits")(x), name="net")
    sample = {"image": np.random.default_rng(0).normal(size=(3, 8, 8, 2)).astype(np.float32)}
    bundle = engines.build(model, tmp_path / "b", "fp16", sample=sample, quiet=True)
    assert bundle.manifest.provenance["source"] == "a Keras model in memory"
    assert deploy.verify(bundle, precision="fp32").passed
    key = bundle.manifest.key
    assert key
    assert engines.build(model, tmp_path / "b", "fp16", sample=sample, quiet=True).manifest.key == key
    model.layers[1].bias.assign(np.ones(4))
    assert engines.build(model, tmp_path / "b", "fp16", sample=sample, quiet=True).manifest.key != key


def test_a_mixed_precision_model_is_built_like_one_in_float32(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((4,), name="x")
    model = keras.Model(inputs, keras.layers.Dense(3, name="half", dtype="mixed_float16")(inputs))
    bundle = engines.build(model, tmp_path / "bundle", "fp16", quiet=True)
    assert [spec.dtype for spec in bundle.manifest.outputs] == ["float32"]


def test_a_model_that_casts_is_refused_in_one_sentence(tmp_path: Path) -> None:
    import keras

    inputs = keras.Input((4,), name="x")
    low = keras.layers.Lambda(lambda x: keras.ops.cast(x, "float16") * 2, name="half", dtype="float32")
    model = keras.Model(inputs, low(inputs))
    with pytest.raises(BuildError, match="casts of its own") as caught:
        engines.build(model, tmp_path / "bundle", "fp16", quiet=True)
    assert "half" in caught.value.where
    assert not list(tmp_path.iterdir())


def test_a_fixed_batch_is_kept(model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path) -> None:
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    for value in (*fixed.graph.input, *fixed.graph.output, *fixed.graph.value_info):
        value.type.tensor_type.shape.dim[0].dim_value = 3
    bundle = engines.build(fixed, tmp_path / "b", "int8", calibration=samples, quiet=True)
    recipe = engines.read_recipe(bundle.path(bundle.manifest.find("recipe")))
    assert recipe.calibration["samples"] == 64
    assert "Shapes" not in bundle.manifest.commands.get("int8", "")
    fewer = {"image": samples["image"][:2]}
    golden = read_golden(engines.build(fixed, tmp_path / "c", "int8", "onnxruntime", calibration=fewer, quiet=True))
    assert golden is not None
    assert np.array_equal(golden.inputs["image"], samples["image"][[0, 1, 1]])


@pytest.mark.parametrize(("text", "found"), [("fp16, INT8", ("fp16", "int8")), (("fp32", "fp32"), ("fp32",))])
def test_precisions_are_read_leniently(text: Any, found: tuple[str, ...]) -> None:
    assert precisions(text, find("tensorrt-rtx")) == (found, ())


def test_the_default_precisions_are_what_the_target_computes_in() -> None:
    assert precisions(None, find("onnxruntime")) == (("int8",), ("fp16",))
    assert precisions("fp16,int8", find("onnxruntime"), auto=True) == (("int8",), ("fp16",))
    for asked, auto in (("fp16,int8", False), ("fp16", True)):
        with pytest.raises(BuildError, match="onnxruntime does not compute in fp16") as caught:
            precisions(asked, find("onnxruntime"), auto)
        assert caught.value.fix == "--precision int8, or another --target"


def test_int8_digits_lose_less_than_half_a_point() -> None:
    """The trained CBAM-ResNet on held-out digits, by the simulation of the INT8 and FP16 recipes."""
    from converters import convert, load
    from examples.cbam_resnet.data import digits_split

    images, _, held_out, labels = digits_split()
    proto = convert(load(EXAMPLES / "cbam_resnet" / "digits.keras"))
    name, output = proto.graph.input[0].name, proto.graph.output[0].name

    def answers(precision: str) -> Array:
        recipe = engines.recipe(proto, precision, calibration={name: images[:256]})
        return engines.simulate(recipe, proto, {name: held_out})[output].argmax(axis=1)

    exact = answers("fp32")
    accuracy = {precision: float(np.mean(answers(precision) == labels)) for precision in ("fp16", "int8")}
    expected = float(np.mean(exact == labels))
    assert expected >= 0.98
    assert accuracy["int8"] >= expected - 0.005
    assert np.mean(answers("fp16") == exact) >= 0.995


def test_quantizers_of_training_are_arithmetic_in_the_fp32_graph(tmp_path: Path) -> None:
    """By ONNX Runtime's integer kernels the bias below would overflow to 0."""
    g = Graph()
    step, zero = g.constant("step", np.float32(2.0**-14)), g.constant("zero", np.int8(0))

    def pair(name: str, value: str) -> str:
        return g.node(
            "DequantizeLinear", [g.node("QuantizeLinear", [value, step, zero], f"{name}/q"), step, zero], name
        )

    weight = pair("weight", g.constant("w", np.eye(4, dtype=np.float32).reshape(4, 4, 1, 1) * np.float32(127 / 2**14)))
    bias = g.constant("b", np.array([20, 12, 9, 16], np.float32))
    relu = g.node("Relu", [g.node("Conv", [pair("x/dq", "x"), weight, bias], "conv")], "relu")
    step_out = g.constant("step_out", np.float32(0.2))
    quantized = g.node("QuantizeLinear", [relu, step_out, zero], "out/q")
    g.node("DequantizeLinear", [quantized, step_out, zero], "y")
    sample = {"x": np.zeros((2, 4, 2, 2), np.float32)}
    bundle = engines.build(g.model({"x": ["batch", 4, 2, 2]}, ["y"]), tmp_path / "b", "fp32", sample=sample, quiet=True)
    with deploy.Runtime.load(bundle.folder, backend="onnxruntime-cpu") as runtime:
        np.testing.assert_allclose(runtime(sample["x"])[0, :, 0, 0], [20, 12, 9, 16], rtol=1e-6)
        assert runtime.selftest().passed
