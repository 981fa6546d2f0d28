"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.files import replacing_folder


@pytest.mark.parametrize("broken", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_between_the_two_renames_loses_neither_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: int, after: bool
) -> None:
    """The older folder is moved away, then the new one put in its place: one of them is there whatever happens."""
    target = tmp_path / "bundle"
    target.mkdir()
    (target / "file").write_text("older")
    calls: list[object] = []
    real: Callable[..., None] = os.replace

    def interrupted(source: Path, destination: Path) -> None:
        calls.append(source)
        if len(calls) == broken and not after:
            raise KeyboardInterrupt
        real(source, destination)
        if len(calls) == broken:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing_folder(target) as folder:
        (folder / "file").write_text("newer")
    assert (target / "file").read_text() == ("newer" if (broken, after) == (2, True) else "older")
    assert os.listdir(tmp_path) == ["bundle"]
