from __future__ import annotations

import pytest

from engines.layer_table import LayerTable, Operand, Row
from engines.search.cost import BALANCE, KERNEL, Cost, moved, nominal, realised, saved, total
from engines.search.groups import Group

GROUPS = (Group("x", ("a",), 4000.0, 100, 40), Group("y", ("b", "c"), 2000.0, 50, 20))


def row(dtype: str, *nodes: str) -> Row:
    return Row("k", "correlation", (Operand("i", (-1, 100), dtype),), (), (Operand("o", (10,), "fp32"),), "", nodes)


def test_8_bits_promise_half_the_bytes_and_half_the_time() -> None:
    cost = nominal(GROUPS, batch=2)["x"]
    assert cost.low == pytest.approx(40 + 200 + 8000 / BALANCE)
    assert cost.high == pytest.approx(2 * cost.low)


def test_the_realised_cost_counts_the_kernels_that_requantize() -> None:
    high = LayerTable((row("fp16", "a"), row("fp16", "b", "c")))
    low = LayerTable((row("fp32", "x/quantize"), row("int8", "a"), row("fp32", "a"), row("int8", "b", "y/quantize")))
    costs = realised(GROUPS, low, high, batch=4)
    assert costs["x"] == Cost(3 * (KERNEL + 40) + 400 + 2 * 1600, KERNEL + 40 + 800)
    assert costs["y"] == Cost(KERNEL + 40 + 400, KERNEL + 40 + 800)
    assert costs["x"].low > costs["x"].high


def test_a_kernel_of_two_groups_is_shared_and_totals_count_all() -> None:
    table = LayerTable((row("fp16", "a", "b"), row("fp16", "elsewhere")))
    costs = realised(GROUPS, table, table)
    assert costs["x"].low == costs["y"].low == (KERNEL + 240) / 2
    assert moved(table) == 480
    assert total(table) == 2 * KERNEL + 480


def test_what_is_saved_is_a_part_of_the_whole() -> None:
    assert saved({"x": Cost(1, 3), "y": Cost(2, 2)}, ["x"]) == pytest.approx(0.4)
