from __future__ import annotations

import io

import onnx
import pytest
from rich.console import Console

import engines
from deploy.npz import Array
from engines.graphs import load
from engines.search.cost import Cost
from engines.search.groups import groups_of
from engines.search.pareto import Point, curve, table
from engines.search.samples import Evaluation
from engines.search.sensitivity import Sensitivity


@pytest.fixture(scope="module")
def points(model: onnx.ModelProto, samples: dict[str, Array], int8: engines.Recipe) -> tuple[Point, ...]:
    return curve(load(model), int8, Evaluation(samples))


def test_the_curve_goes_from_all_low_to_all_high(points: tuple[Point, ...], int8: engines.Recipe) -> None:
    assert points[0].layers == sum(layer.precision == "int8" for layer in int8.layers)
    assert points[0].cost == pytest.approx(0.5)
    assert (points[-1].layers, points[-1].cost, points[-1].last) == (0, 1.0, "")


def test_what_costs_more_is_closer_to_fp32(points: tuple[Point, ...]) -> None:
    assert len(points) >= 4
    assert sorted(points, key=lambda point: point.cost) == sorted(points, key=lambda point: point.sqnr)
    assert all(abs(point.sqnr - point.predicted) < 3 for point in points)


def test_the_lowest_is_on_the_curve_also_where_sums_predict_it_too_noisy(
    model: onnx.ModelProto, samples: dict[str, Array], int8: engines.Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    sums = Sensitivity.__init__

    def pessimistic(self: Sensitivity, *arguments: object) -> None:
        sums(self, *arguments)  # type: ignore[arg-type]
        self.added *= 4

    monkeypatch.setattr(Sensitivity, "__init__", pessimistic)
    assert curve(load(model), int8, Evaluation(samples))[0].cost == pytest.approx(0.5)


def test_where_8_bits_save_nothing_the_curve_is_one_point(
    model: onnx.ModelProto, samples: dict[str, Array], int8: engines.Recipe
) -> None:
    costs = {group.value: Cost(2.0, 1.0) for group in groups_of(load(model), int8)}
    (point,) = curve(load(model), int8, Evaluation(samples), costs)
    assert point.low == frozenset()


def test_the_table_has_a_row_and_a_bar_for_each_point(points: tuple[Point, ...]) -> None:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(table(points))
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + len(points)
    assert lines[1].split()[:3] == ["50%", f"{points[0].sqnr:.1f}", "dB"]
    assert all("█" in line for line in lines[1:])
