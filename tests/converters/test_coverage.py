"""Every operation class of Keras is lowered, opened, or refused with a reason: an upgrade brings more here."""

from __future__ import annotations

import pytest

from converters.coverage import coverage, main


def test_every_operation_class_is_in_the_table() -> None:
    assert [f"{row.operation.__module__}.{row.operation.__name__}" for row in coverage() if row.way == "missing"] == []


def test_a_refusal_has_a_reason_and_nothing_else_has() -> None:
    assert all(bool(row.reason) == (row.way == "refused") for row in coverage())


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(coverage()) + 1
    assert "numpy.Add: lowered" in lines
    assert "linalg.Eig: refused its results are complex" in "\n".join(lines)
    assert lines[-1].startswith(f"{sum(row.way == 'lowered' for row in coverage())} lowered")
