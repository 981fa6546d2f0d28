"""A bias or a factor behind a Reshape: where it moves in front of it, and where it must not."""

from __future__ import annotations

import pytest

from converters.passes.lift_constant import lift_constant
from tests.converters.rules import Rule, check_rule, floats, integers

SPLIT = "(float[B,6,5] x) => (float[B,6,2,4] y) { m = MatMul(x, w)  r = Reshape(m, s)  y = "

RULES = [
    Rule(
        "a bias of both parts",
        lift_constant,
        SPLIT + "Add(r, b) }",
        {"w": floats(5, 8), "s": integers(0, 6, 2, 4), "b": floats(2, 4)},
        "Add:1,MatMul:1,Reshape:1",
    ),
    Rule(
        "a factor, a scalar",
        lift_constant,
        SPLIT + "Mul(r, b) }",
        {"w": floats(5, 8), "s": integers(0, 6, 2, 4), "b": floats()},
        "MatMul:1,Mul:1,Reshape:1",
    ),
    Rule(
        "a bias of a split channel axis",
        lift_constant,
        "(float[B,3,6,5] x) => (float[B,2,2,6,5] y) { c = Conv(x, w)  r = Reshape(c, s)  y = Add(b, r) }",
        {"w": floats(4, 3, 1, 1), "s": integers(0, 2, 2, 6, 5), "b": floats(2, 1, 1, 1)},
        "Add:1,Conv:1,Reshape:1",
    ),
    Rule(
        "a bias that varies over another axis",
        lift_constant,
        SPLIT + "Add(r, b) }",
        {"w": floats(5, 8), "s": integers(0, 6, 2, 4), "b": floats(6, 1, 4)},
        None,
    ),
    Rule(
        "a Reshape that joins",
        lift_constant,
        "(float[B,6,5] x) => (float[B,48] y) { m = MatMul(x, w)  r = Reshape(m, s)  y = Add(r, b) }",
        {"w": floats(5, 8), "s": integers(0, 48), "b": floats(48)},
        None,
    ),
    Rule(
        "a Reshape of what is no product",
        lift_constant,
        "(float[B,6,8] x) => (float[B,6,2,4] y) { m = Relu(x)  r = Reshape(m, s)  y = Add(r, b) }",
        {"s": integers(0, 6, 2, 4), "b": floats(2, 4)},
        None,
    ),
    Rule(
        "a product that is read twice",
        lift_constant,
        "(float[B,6,5] x) => (float[B,6,2,4] y, float[B,6,8] z) "
        "{ m = MatMul(x, w)  r = Reshape(m, s)  y = Add(r, b)  z = Relu(m) }",
        {"w": floats(5, 8), "s": integers(0, 6, 2, 4), "b": floats(2, 4)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)
