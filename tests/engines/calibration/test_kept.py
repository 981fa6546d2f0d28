"""Calibration kept on disk: used again, gone on with after an interruption, and never a wrong range."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import InputError
from deploy.npz import Array, NpzArchive, write_npz
from engines.calibration import choice, kept, store
from engines.calibration import collect as collecting
from engines.calibration.collect import collect
from engines.calibration.kept import calibrated
from engines.calibration.ranges import Ranges

ROOT = Path(__file__).resolve().parents[3]
RTX = importlib.util.find_spec("tensorrt_rtx") is not None
SHARDS = (70, 33, 96)
"""Samples in each, in batches of 32: the last batch of a shard is not whole."""
COUNT = sum(SHARDS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kerasrt" / "calibration"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of samples whose magnitude grows, so that histograms widen on the way."""
    path = tmp_path_factory.mktemp("shards")
    random = np.random.default_rng(5)
    for index, count in enumerate(SHARDS):
        images = random.normal(size=(count, 12, 12, 3)).astype(np.float32) * 3**index
        np.savez(path / f"{index}.npz", image=images)
    return path


def same(found: Ranges, expected: Ranges) -> None:
    """Equal to the bit, histograms and replay included."""
    assert (found.minimum, found.maximum) == (expected.minimum, expected.maximum)
    assert list(found.minimum) == list(expected.minimum)
    assert (found.samples, found.source, found.same) == (expected.samples, expected.source, expected.same)
    assert found.histograms.keys() == expected.histograms.keys()
    for name, histogram in found.histograms.items():
        other = expected.histograms[name].state()
        assert np.array_equal(histogram.counts, other.pop("counts"))
        assert {key: value for key, value in histogram.state().items() if key != "counts"} == other
    assert found.replay.keys() == expected.replay.keys()
    for name, array in found.replay.items():
        assert np.array_equal(array, expected.replay[name])
        assert array.dtype == expected.replay[name].dtype
    assert found.channels.keys() == expected.channels.keys()
    for name, limits in found.channels.items():
        assert np.array_equal(limits, expected.channels[name])


def forbid(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Calling it fails the test."""

    def forbidden(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(module, name, forbidden)


def stopping(after: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[[int], None]:
    """A progress that raises at the end of a batch."""
    left = after

    def progress(_: int) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise error

    return progress


def test_a_pass_made_before_is_read_and_the_model_does_not_run(
    model: onnx.ModelProto, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = calibrated(model, folder)
    said: list[str] = []
    forbid(monkeypatch, collecting, "session")
    same(calibrated(model, folder, say=said.append), first)
    assert said == ["kept from an earlier build"]


def test_the_pass_is_that_of_collect(model: onnx.ModelProto, folder: Path) -> None:
    for _ in range(2):
        same(calibrated(model, folder), collect(model, folder))


def test_a_pass_for_repairs_is_one_of_its_own(model: onnx.ModelProto, folder: Path) -> None:
    calibrated(model, folder)
    expected = collect(model, folder, repairs=True)
    assert "stem/conv" in expected.channels
    with pytest.raises(KeyboardInterrupt):
        calibrated(model, folder, stopping(4), repairs=True)
    for _ in range(2):
        same(calibrated(model, folder, repairs=True), expected)


@pytest.mark.parametrize("after", [1, 3, 5, 8])  # in a shard, at the end of the first, of the second, of all
def test_an_interrupted_pass_goes_on_and_ends_as_one_pass(model: onnx.ModelProto, folder: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        calibrated(model, folder, stopping(after))
    counts: list[int] = []
    said: list[str] = []
    found = calibrated(model, folder, counts.append, said.append)
    done = sum([32, 32, 6, 32, 1, 32, 32, 32][:after])
    assert counts == [done, *[32, 32, 6, 32, 1, 32, 32, 32][after:]]
    assert said == [f"{done} of them kept from a build that was interrupted"]
    same(found, collect(model, folder))


def test_samples_in_memory_go_on_too(model: onnx.ModelProto, folder: Path) -> None:
    arrays = [np.load(path)["image"] for path in sorted(folder.glob("*.npz"))]
    with pytest.raises(KeyboardInterrupt):
        calibrated(model, arrays, stopping(4))
    counts: list[int] = []
    same(calibrated(model, arrays, counts.append), collect(model, arrays))
    assert counts[0] == 102


def test_nothing_is_kept_of_the_midst_of_a_batch(
    model: onnx.ModelProto, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.calibration.ranges import Reservoir

    with monkeypatch.context() as patch:
        patch.setattr(Reservoir, "update", lambda *_: stopping(1)(0))
        with pytest.raises(KeyboardInterrupt):
            calibrated(model, folder)
    assert not cache.exists()


def test_a_killed_pass_goes_on_from_what_it_kept_last(model: onnx.ModelProto, folder: Path, tmp_path: Path) -> None:
    onnx.save(model, tmp_path / "model.onnx")
    program = f"""
import os, signal
from engines.calibration import kept
kept.EVERY = 0
counts = []
def progress(count):
    counts.append(count)
    if len(counts) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
kept.calibrated({str(tmp_path / "model.onnx")!r}, {str(folder)!r}, progress)
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=os.environ, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    counts: list[int] = []
    same(calibrated(tmp_path / "model.onnx", folder, counts.append), collect(model, folder))
    assert counts == [135, 32, 32]


def test_what_fails_later_keeps_what_was_seen(model: onnx.ModelProto, folder: Path) -> None:
    bad = np.zeros((4, 12, 12, 3), np.float32)
    bad[1] = np.nan
    source = [folder / "0.npz", folder / "1.npz", bad]
    with pytest.raises(InputError, match="NaN"):
        calibrated(model, source)
    counts: list[int] = []
    with pytest.raises(InputError, match="samples 103 to 106"):
        calibrated(model, source, counts.append)
    assert counts == [103]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def _older(path: Path) -> None:
    with NpzArchive(path) as archive:
        arrays = {name: archive.read(name) for name in archive.entries}
    text = arrays["document"].tobytes().replace(f'"schema": {store.SCHEMA}'.encode(), b'"schema": 0')
    write_npz(path, {**arrays, "document": np.frombuffer(text, np.uint8)})


def _other_state(path: Path) -> None:
    store.write(path.stem, {"complete": True, "seen": {"accumulated": {"minimum": [1]}}}, print)


def _fewer_bins(path: Path) -> None:
    state = store.read(path.stem, print)
    assert state is not None
    for histogram in state["seen"]["accumulated"]["histograms"].values():
        histogram["counts"] = histogram["counts"][:1024]
    store.write(path.stem, state, print)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "half a file": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "an empty file": lambda path: path.write_bytes(b""),
    "a flipped byte": _flip,
    "an older schema": _older,
    "of something else": _other_state,
    "fewer bins": _fewer_bins,
    "no archive": lambda path: path.write_text("TRT-101100-EntropyCalibration2\nx: 3c010a14\n"),
    "an archive of others": lambda path: np.savez(path, image=np.zeros(3)),
    "no JSON": lambda path: np.savez(path, document=np.frombuffer(b"{", np.uint8)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_cannot_be_used_is_left_aside_with_a_note(
    model: onnx.ModelProto, folder: Path, cache: Path, damage: str
) -> None:
    expected = calibrated(model, folder)
    (path,) = cache.iterdir()
    DAMAGES[damage](path)
    said: list[str] = []
    same(calibrated(model, folder, say=said.append), expected)
    assert len(said) == 1
    assert said[0].startswith("a kept calibration cannot be used and is made again (")
    said.clear()
    same(calibrated(model, folder, say=said.append), expected)
    assert said == ["kept from an earlier build"]  # the file was made again


def test_a_pass_of_another_model_under_this_name_is_not_used(
    model: onnx.ModelProto, samples: dict[str, Array], folder: Path, cache: Path
) -> None:
    expected = calibrated(model, folder)
    (path,) = cache.iterdir()
    calibrated(model, samples)
    (other,) = set(cache.iterdir()) - {path}
    other.replace(path)
    said: list[str] = []
    same(calibrated(model, folder, say=said.append), expected)
    assert "it holds another calibration" in said[0]


def test_weights_samples_and_code_are_in_the_key(
    model: onnx.ModelProto, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.graphs import load

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    raw = bytearray(changed.graph.initializer[0].raw_data)
    raw[0] ^= 1
    changed.graph.initializer[0].raw_data = bytes(raw)
    for name in ("0", "1", "2"):
        (tmp_path / f"{name}.npz").write_bytes((folder / f"{name}.npz").read_bytes())
    key = kept.pass_key(load(model), folder)
    assert kept.pass_key(load(model), tmp_path) == key  # the same files elsewhere
    images = np.load(folder / "2.npz")["image"]
    images[-1, -1, -1, -1] += 1
    np.savez(tmp_path / "2.npz", image=images)
    others = [kept.pass_key(load(changed), folder), kept.pass_key(load(model), tmp_path)]
    monkeypatch.setattr(kept, "source_code", lambda: "another version")
    others.append(kept.pass_key(load(model), folder))
    assert len({key, *others}) == 4


def test_a_stream_is_not_kept(model: onnx.ModelProto, samples: dict[str, Array], cache: Path) -> None:
    found = calibrated(model, iter([samples]))
    assert found.key == ""
    assert found.minimum == collect(model, samples).minimum
    assert not cache.exists()


@pytest.mark.parametrize("home", ["file/cache", ""])
def test_a_cache_that_cannot_be_had_is_no_condition(
    model: onnx.ModelProto, samples: dict[str, Array], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home) if home else "")
    if not home:

        def homeless() -> NoReturn:
            raise RuntimeError("no home")

        monkeypatch.setattr(Path, "home", homeless)
    said: list[str] = []
    found = calibrated(model, samples, say=said.append)
    assert found.minimum == collect(model, samples).minimum
    assert "the calibration is not kept" in said[-1]


def test_a_folder_is_made_for_its_owner_alone(model: onnx.ModelProto, samples: dict[str, Array], cache: Path) -> None:
    calibrated(model, samples)
    assert cache.stat().st_mode & 0o077 == 0


def test_the_files_used_longest_ago_go_first(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    for index, name in enumerate(("a", "b", "c")):
        store.write(name, {"block": block}, print)
        os.utime(cache / f"{name}.npz", (index, index))
    assert store.read("a", print) is not None  # used now
    monkeypatch.setattr(store, "LIMIT", 5 * (cache / "a.npz").stat().st_size // 2)
    store.write("d", {"block": block}, print)
    assert sorted(path.stem for path in cache.iterdir()) == ["a", "d"]


def test_a_choice_is_kept_with_its_pass(model: onnx.ModelProto, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = engines.recipe(model, "int8", calibration=folder)
    forbid(monkeypatch, collecting, "session")
    forbid(monkeypatch, choice, "choose")
    assert engines.recipe(model, "int8", calibration=folder) == first
    assert "samples replayed" in first.calibration["why"]


def test_a_choice_for_other_layers_is_another(model: onnx.ModelProto, folder: Path) -> None:
    from engines.graphs import load

    ranges, said = calibrated(model, folder), list[str]()
    recipe = engines.recipe(model, "int8", calibration=ranges, calibration_method="minmax")
    first = next(layer for layer in recipe.layers if layer.precision == "int8")
    layers = tuple(dataclasses.replace(one, precision="fp16") if one is first else one for one in recipe.layers)
    fewer = dataclasses.replace(recipe, layers=layers)
    for one in (recipe, fewer, fewer):
        kept.chosen(load(model), one, ranges, say=said.append)
    assert said == ["the choice of ranges kept from an earlier build"]


def test_another_target_and_precision_use_the_pass_and_say_so(
    model: onnx.ModelProto,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    onnx.save(model, tmp_path / "model.onnx")

    def build(precision: str, target: str, **options: Any) -> str:
        engines.build(tmp_path / "model.onnx", tmp_path / "bundle", precision, target, calibration=folder, **options)
        return capsys.readouterr().out

    assert "earlier" not in build("int8", "onnxruntime")
    with monkeypatch.context() as patch:
        forbid(patch, collecting, "session")
        forbid(patch, choice, "choose")
        out = build("int8,fp16" if RTX else "int8,fp32", "tensorrt-rtx" if RTX else "onnxruntime")
    assert f"{COUNT} samples, range of" in out
    assert "values, kept from an earlier build" in out
    assert "the choice of ranges kept from an earlier build" in out
    assert "earlier" not in build("int8", "onnxruntime", force=True)
