"""A sample of the generated conformance cases, and that there is a case for everything and a fault is seen."""

from __future__ import annotations

import inspect
from itertools import combinations
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from benchmarks.conformance import report, tables
from benchmarks.conformance.cases import Case, cases, pairwise, x
from benchmarks.conformance.running import CRASHED, EQUAL, NO_CASE, REFUSED, WRONG, Outcome, judge, run
from benchmarks.conformance.workers import run_all
from tests.converters import checking

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
EVERYTHING = tables.everything()
SAMPLE = EVERYTHING[::24]

NO_FUNCTIONS = {
    "convert_to_numpy", "is_tensor", "dtype", "custom_gradient", "jvp", "empty",  # give no tensor, or no value
}  # fmt: skip
NO_LAYERS = {"Layer", "InputLayer", "Wrapper", "InputSpec", "FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"}
"""Base classes, and those that hold another framework's code."""


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_sample(case: Case) -> None:
    outcome = run(case)
    listed = f"`{case}`" in PAGE.read_text(encoding="utf-8")
    assert outcome.status in (EQUAL, NO_CASE) or listed, f"{outcome.status}: {outcome.reason}"


def test_every_layer_and_function_has_a_case() -> None:
    expressions = " ".join(case.expression for case in EVERYTHING)
    names = {
        cls.__name__: f"layers.{name}("
        for name, cls in vars(layers).items()
        if inspect.isclass(cls) and name not in NO_LAYERS and not name.startswith("_")
    }
    aliases: dict[str, list[str]] = {}
    for name, cls in vars(layers).items():
        if inspect.isclass(cls):
            aliases.setdefault(cls.__name__, []).append(f"layers.{name}(")
    missing = [name for name in names if not any(alias in expressions for alias in aliases[name])]
    assert not missing
    functions = {name for name, value in vars(ops).items() if inspect.isfunction(value)} - NO_FUNCTIONS
    assert not [name for name in functions if f".{name}(" not in expressions]
    assert len(EVERYTHING) >= 2500


def test_pairs_are_all_there() -> None:
    options = [range(3), range(4), range(2), range(5)]
    found = list(pairwise(options))
    for one, other in combinations(range(4), 2):
        assert {(row[one], row[other]) for row in found} == {(a, b) for a in options[one] for b in options[other]}
    assert len(found) < 3 * 4 * 2 * 5
    assert found == list(pairwise(options))


def test_templates() -> None:
    found = list(cases("layers.Dense(<units>, activation=<a>)(x)", [x(4), x(None, 4)], units=[1, 2], a=["relu"]))
    assert [case.expression for case in found[:2]] == [
        "layers.Dense(1, activation='relu')(x)",
        "layers.Dense(2, activation='relu')(x)",
    ]
    assert found[0].subject == "layers.Dense"
    assert str(found[2]) == "layers.Dense(1, activation='relu')(x) | x: float32[?, ?, 4]"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda y: y + np.float32(1e-3), "error"),
        (lambda y: y.astype(np.float64), "dtype"),
        (lambda y: y[:, :1], "shape"),
        (lambda y: np.where(y > y.min(), y, np.float32(np.nan)), "nan"),
        (lambda y: y + np.float32(1e-7), ""),
    ],
)
def test_a_wrong_output_is_seen(change: object, said: str) -> None:
    case = next(cases("layers.Dense(3)(x)", [x(4)]))
    inputs = [keras.Input((4,))]
    model = checking.randomize(keras.Model(inputs, layers.Dense(3)(inputs[0])))
    given = case.arrays(2)
    expected = [ops.convert_to_numpy(model(given))]
    _, reason = judge(case, model, given, expected, [change(expected[0])])  # type: ignore[operator]
    assert said in reason
    assert bool(reason) == bool(said)


def test_a_case_that_ends_its_process_costs_one_case() -> None:
    dying = Case("ops.add", "__import__('os')._exit(7)", (x(3),))
    good = next(cases("ops.add(x, 1)", [x(3)]))
    died, fine = run_all([dying, good])
    assert (died.status, died.reason) == (NO_CASE, "the process ended with code 7")
    assert fine.status == EQUAL


def test_page() -> None:
    case, other = EVERYTHING[0], EVERYTHING[-1]
    outcomes = [
        Outcome(case, EQUAL, error=2e-7, nodes={"Relu": 2}),
        Outcome(other, REFUSED, "no lowering"),
        Outcome(other, WRONG, "error 0.1"),
        Outcome(other, CRASHED, "it ended"),
        Outcome(case, NO_CASE, "Keras"),
    ]
    page = report.write(outcomes)
    assert "| All | 4 | 1 (25.0 %) | 1 | 1 | 1 |" in page
    assert f"- wrong: `{other}`: error 0.1" in page
    assert "1e-6 | Relu |" in page
    assert page == report.write(outcomes)
