"""docs/extending.md says the truth: its code runs, prints what it says, and the graph equals Keras."""

from __future__ import annotations

import contextlib
import io
import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import keras
import pytest

from converters import registry
from tests.converters.checking import check, randomize

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def test_the_worked_example() -> None:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    printed = re.findall(r"^# (\[.*\])$", code, re.MULTILINE)
    scope: dict[str, Any] = {}
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            exec(compile(code, str(PAGE), "exec"), scope)
        assert printed
        assert out.getvalue().splitlines() == printed
        converted = check(randomize(scope["model"]), layers=True)
        assert "threshold" in {node.name for node in converted.model.graph}
    finally:
        registry._lowerings.pop(scope.get("ThresholdedReLU", object), None)
        keras.saving.get_custom_objects().pop("mine>ThresholdedReLU", None)


def test_installed_packages_register_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(EntryPoint, "load", lambda self: loaded.append(self.value))
    point = EntryPoint("mine", "my_package.lowerings", registry.ENTRY_POINTS)
    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [point] if group == registry.ENTRY_POINTS else []
    )
    registry._load.__wrapped__()
    assert loaded == ["my_package.lowerings"]
