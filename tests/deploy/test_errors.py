"""Every error says what to do next."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import deploy
from deploy import errors

ROOT = Path(deploy.__file__).parent.parent
KINDS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}


@pytest.mark.parametrize("package", ["deploy", "converters", "engines", "examples"])
def test_every_error_says_what_to_do(package: str) -> None:
    without, seen = [], 0
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
                seen += 1
                if "fix" not in {keyword.arg for keyword in node.keywords}:
                    without.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert seen > 0
    assert without == []
