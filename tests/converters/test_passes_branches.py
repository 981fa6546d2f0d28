"""Convolutions of one value that are added up: which become one, and which stay apart."""

from __future__ import annotations

import pytest

from converters.passes.fold_branches import fold_branches
from tests.converters.rules import Rule, check_rule, floats, norm

IMAGE = "(float[B,4,8,8] x) => (float[B,6,8,8] y) "
SAME = "(float[B,4,8,8] x) => (float[B,4,8,8] y) "
BY_THREE = "a = Conv<pads=[1,1,1,1]>(x, w, b)  "
NORM = "c = BatchNormalization(x, gamma, beta, mean, var)  "

RULES = [
    Rule(
        "by three and by one",
        fold_branches,
        f"{IMAGE}{{ c = Conv(x, v)  {BY_THREE} y = Add(c, a) }}",
        {"w": floats(6, 4, 3, 3), "b": floats(6), "v": floats(6, 4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "by three and along each axis",
        fold_branches,
        f"{IMAGE}{{ {BY_THREE} c = Conv<pads=[0,1,0,1]>(x, u)  d = Conv<pads=[1,0,1,0]>(x, v)  "
        "e = Add(a, c)  y = Add(e, d) }",
        {"w": floats(6, 4, 3, 3), "b": floats(6), "u": floats(6, 4, 1, 3), "v": floats(6, 4, 3, 1)},
        "Conv:1",
    ),
    Rule(
        "in strides, padded at the end",
        fold_branches,
        "(float[B,4,8,8] x) => (float[B,6,4,4] y) "
        "{ a = Conv<strides=[2,2], pads=[0,0,1,1]>(x, w)  c = Conv<strides=[2,2]>(x, v, b)  y = Add(a, c) }",
        {"w": floats(6, 4, 3, 3), "b": floats(6), "v": floats(6, 4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "with the value normalized",
        fold_branches,
        f"{SAME}{{ {BY_THREE} {NORM} y = Add(a, c) }}",
        {"w": floats(4, 4, 3, 3), "b": floats(4), **norm(4)},
        "Conv:1",
    ),
    Rule(
        "a depthwise one with the value normalized",
        fold_branches,
        f"{SAME}{{ a = Conv<group=4, dilations=[2,2], pads=[2,2,2,2]>(x, w)  {NORM} y = Add(a, c) }}",
        {"w": floats(4, 1, 3, 3), **norm(4)},
        "Conv:1",
    ),
    Rule(
        "of different dilation",
        fold_branches,
        f"{IMAGE}{{ {BY_THREE} c = Conv<dilations=[2,2], pads=[2,2,2,2]>(x, v)  y = Add(a, c) }}",
        {"w": floats(6, 4, 3, 3), "b": floats(6), "v": floats(6, 4, 3, 3)},
        None,
    ),
    Rule(
        "whose windows begin at different places",
        fold_branches,
        f"{SAME}{{ a = Conv<pads=[1,1,1,1]>(x, w)  c = Conv<pads=[0,0,2,2]>(x, v)  y = Add(a, c) }}",
        {"w": floats(4, 4, 3, 3), "v": floats(4, 4, 3, 3)},
        None,
    ),
    Rule(
        "of different values",
        fold_branches,
        f"{SAME}{{ r = Relu(x)  a = Conv<pads=[1,1,1,1]>(x, w)  c = Conv(r, v)  y = Add(a, c) }}",
        {"w": floats(4, 4, 3, 3), "v": floats(4, 4, 1, 1)},
        None,
    ),
    Rule(
        "of which one is read again",
        fold_branches,
        "(float[B,4,8,8] x) => (float[B,6,8,8] y, float[B,6,8,8] z) "
        f"{{ {BY_THREE} c = Conv(x, v)  z = Relu(c)  y = Add(a, c) }}",
        {"w": floats(6, 4, 3, 3), "b": floats(6), "v": floats(6, 4, 1, 1)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)
