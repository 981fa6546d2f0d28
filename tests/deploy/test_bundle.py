"""Bundles: edited, incomplete, hostile, and the link to the current one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import deploy
from deploy.bundle import artifact, open_bundle, set_current, write_manifest
from deploy.errors import BundleError, KerasrtError
from deploy.golden import read_golden
from deploy.manifest import OWN_HASH, Manifest, Profile, TensorSpec, own_hash, read_manifest


def edit(folder: Path, change: Any) -> None:
    """Changes the manifest's JSON as its writer would: with a hash of its content that holds."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    del data[OWN_HASH]
    change(data)
    path.write_text(json.dumps({**data, OWN_HASH: own_hash(data)}))


def test_a_manifest_reads_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"abc")
    item = artifact(tmp_path, "sub/file", "engine", "int8", "tensorrt", details={"version": "10.3"})
    assert item.bytes == 3
    assert item.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    manifest = Manifest(
        "m",
        (TensorSpec("x", ("batch", 3), "float32"),),
        (TensorSpec("y", ("batch",), "float16"),),
        (item,),
        profile=Profile(1, 4, 16),
        labels=("a", "b"),
        sensitivity={"y": 1e-7},
        simulated={"int8": {"y": {"sqnr_db": float("inf")}}},
    )
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    assert open_bundle(tmp_path / "manifest.json").manifest == manifest

    def no_json(constant: str) -> None:
        pytest.fail(f"{constant} is no JSON")

    json.loads((tmp_path / "manifest.json").read_text(), parse_constant=no_json)


def test_current_is_taken_by_default(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(digits.parent.parent)
    with pytest.raises(BundleError, match="no bundle has been built here yet"):
        open_bundle()
    link = set_current(digits)
    assert os.readlink(link) == "digits"
    assert open_bundle().manifest.name == "digits"
    os.rename(digits, digits.parent / "other")
    set_current(digits.parent / "other")
    assert os.readlink(link) == "other"
    assert sorted(p.name for p in digits.parent.iterdir()) == ["current", "other"]


def test_current_does_not_replace_a_folder(digits: Path) -> None:
    (digits.parent / "current").mkdir()
    with pytest.raises(BundleError, match="is no symbolic link"):
        set_current(digits)


def test_an_edited_file_is_not_opened(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = digits / "model.fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    graph.write_bytes(data)
    monkeypatch.setattr("deploy.runtime._load", lambda *_: pytest.fail("it was deserialized"))
    with pytest.raises(BundleError, match="was changed after the bundle was built") as caught:
        deploy.Runtime.load(digits)
    error = caught.value
    assert error.where == str(graph)
    assert error.expected != error.found
    assert error.expected.startswith("sha256 ")
    assert error.fix


@pytest.mark.parametrize("name", ["model.fp16.engine", "golden.npz", "model.int8.onnx"])
def test_files_that_are_not_run_are_checked_by_verify(digits: Path, name: str) -> None:
    with open(digits / name, "ab") as stream:
        stream.write(b"!")
    with pytest.raises(BundleError, match="was changed"):
        deploy.verify(digits)


def test_a_missing_file(digits: Path) -> None:
    (digits / "model.fp32.onnx").unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        deploy.Runtime.load(digits)


@pytest.mark.parametrize("file", ["../outside", "/etc/passwd", "a/../../b", "..\\b", ""])
def test_a_file_outside_the_folder(digits: Path, file: str) -> None:
    def change(data: dict[str, Any]) -> None:
        data["artifacts"][0]["file"] = file

    edit(digits, change)
    with pytest.raises(BundleError, match="outside the bundle"):
        deploy.Runtime.load(digits)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(schema=99),
        lambda d: d.pop("inputs"),
        lambda d: d.update(unknown=1),
        lambda d: d.update(name=3),
        lambda d: d.update(artifacts=[1]),
        lambda d: d.update(sensitivity={"logits": "small"}),
        lambda d: d["inputs"][0].update(shape=[None, 8]),
        lambda d: d["inputs"][0].update(dtype="float33"),
        lambda d: d["artifacts"][0].update(sha256=None),
        lambda d: d["profile"].update(maximum="many"),
        lambda d: d["layers"][0].update(order=None),
    ],
)
def test_a_damaged_manifest(digits: Path, change: Any) -> None:
    edit(digits, change)
    with pytest.raises(BundleError) as caught:
        open_bundle(digits)
    assert str(digits / "manifest.json") in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00"])
def test_a_manifest_that_is_none(digits: Path, text: str) -> None:
    (digits / "manifest.json").write_text(text)
    with pytest.raises(BundleError):
        open_bundle(digits)


def test_no_bundle(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(BundleError, match="no bundle is here"):
            open_bundle(path)


def test_golden_pairs(digits: Path) -> None:
    bundle = open_bundle(digits)
    golden = read_golden(bundle)
    assert golden is not None
    assert golden.batch == 4
    assert golden.inputs["image"].shape == (4, 8, 8, 1)
    assert not golden.layers
    with_layers = read_golden(bundle, layers=True)
    assert with_layers is not None
    assert with_layers.layers["block/conv"].shape == (4, 8, 8, 16)


def test_golden_pairs_without_an_output(digits: Path) -> None:
    np.savez(digits / "golden.npz", **{"input/image": np.zeros((1, 8, 8, 1), np.float32)})

    def change(data: dict[str, Any]) -> None:
        new = artifact(digits, "golden.npz", "golden")
        data["artifacts"] = [a for a in data["artifacts"] if a["kind"] != "golden"]
        data["artifacts"].append({**vars(new)})

    edit(digits, change)
    with pytest.raises(BundleError, match="lacks output/logits"):
        read_golden(open_bundle(digits))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_manifest_where_nothing_may_be_written(digits: Path) -> None:
    manifest = read_manifest(digits)
    digits.chmod(0o500)
    try:
        with pytest.raises(KerasrtError, match="cannot be written"):
            write_manifest(digits, manifest)
    finally:
        digits.chmod(0o700)


@pytest.mark.parametrize(
    ("field", "value"), [("sensitivity", {"logits": 1e9}), ("profile", {"minimum": 1, "optimum": 1, "maximum": 999})]
)
def test_an_edited_manifest_is_noticed(digits: Path, field: str, value: object) -> None:
    path = digits / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(BundleError, match="was changed after it was built") as caught:
        open_bundle(digits)
    assert str(path) in str(caught.value)


def test_a_manifest_without_outputs(digits: Path) -> None:
    edit(digits, lambda data: data.update(outputs=[]))
    with pytest.raises(BundleError, match="no outputs"):
        open_bundle(digits)
