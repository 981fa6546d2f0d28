"""A bias, a factor or the parts of a value behind a Reshape: where they move in front of it, and where not."""

from __future__ import annotations

import pytest

from converters.passes.join_slices import join_slices
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
    Rule(
        "slices that are all of a value, in any order",
        join_slices,
        "(float[B,6,5] x) => (float[B,2,5] y, float[B,4,5] z) "
        "{ a = Slice(x, two, end, one)  b = Slice(x, zero, two, one, one)  y = Relu(b)  z = Relu(a) }",
        {"zero": integers(0), "one": integers(1), "two": integers(2), "end": integers(2**62)},
        "Relu:2,Split:1",
    ),
    Rule(
        "slices that leave something",
        join_slices,
        "(float[B,6,5] x) => (float[B,2,5] y, float[B,2,5] z) "
        "{ y = Slice(x, zero, two, one)  z = Slice(x, two, four, one) }",
        {"zero": integers(0), "one": integers(1), "two": integers(2), "four": integers(4)},
        None,
    ),
    Rule(
        "slices that overlap",
        join_slices,
        "(float[B,6,5] x) => (float[B,4,5] y, float[B,4,5] z) "
        "{ y = Slice(x, zero, four, one)  z = Slice(x, two, six, one) }",
        {"zero": integers(0), "one": integers(1), "two": integers(2), "four": integers(4), "six": integers(6)},
        None,
    ),
    Rule(
        "queries, keys and values of one product",
        join_slices,
        "(float[B,6,5] x) => (float[B,6,2,4] q, float[B,6,2,4] k, float[B,6,2,4] v) { m = MatMul(x, w)  "
        "r = Reshape(m, three)  a, b, c = Split<axis=2>(r, ones)  "
        "q = Reshape(a, heads)  k = Reshape(b, heads)  v = Reshape(c, heads) }",
        {
            "w": floats(5, 24),
            "three": integers(0, 6, 3, 2, 4),
            "ones": integers(1, 1, 1),
            "heads": integers(0, 6, 2, 4),
        },
        "MatMul:1,Reshape:3,Split:1",
    ),
    Rule(
        "parts that are not the first of what a Reshape takes apart",
        join_slices,
        "(float[B,6,24] x) => (float[B,6,3,4] q, float[B,6,3,4] k) { r = Reshape(x, three)  "
        "a, b = Split<axis=3>(r, ones)  q = Reshape(a, heads)  k = Reshape(b, heads) }",
        {"three": integers(0, 6, 3, 2, 4), "ones": integers(1, 1), "heads": integers(0, 6, 3, 4)},
        None,
    ),
    Rule(
        "a slice in one part of a concatenation",
        join_slices,
        "(float[B,3,5] x, float[B,4,5] z) => (float[B,2,5] y) "
        "{ c = Concat<axis=1>(x, z)  y = Slice(c, four, six, one) }",
        {"one": integers(1), "four": integers(4), "six": integers(6)},
        "Slice:1",
    ),
    Rule(
        "a slice of two parts of a concatenation",
        join_slices,
        "(float[B,3,5] x, float[B,4,5] z) => (float[B,2,5] y) "
        "{ c = Concat<axis=1>(x, z)  y = Slice(c, two, four, one) }",
        {"one": integers(1), "two": integers(2), "four": integers(4)},
        None,
    ),
    Rule(
        "parts of a concatenation",
        join_slices,
        "(float[B,3,5] x, float[B,4,5] z) => (float[B,3,5] y, float[B,1,5] u, float[B,3,5] v) "
        "{ c = Concat<axis=1>(x, z)  a, u, d = Split<axis=1>(c, sizes)  y = Relu(a)  v = Relu(d) }",
        {"sizes": integers(3, 1, 3)},
        "Relu:2,Split:1",
    ),
    Rule(
        "a split between the parts of a concatenation",
        join_slices,
        "(float[B,3,5] x, float[B,4,5] z) => (float[B,2,5] y, float[B,5,5] u) "
        "{ c = Concat<axis=1>(x, z)  y, u = Split<axis=1>(c, sizes) }",
        {"sizes": integers(2, 5)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)
