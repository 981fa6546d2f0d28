"""Softmax and Euclidean norm as people write them out: one node of each, where it is that."""

from __future__ import annotations

import numpy as np
import pytest

from converters.passes.fold_norm import fold_norm
from converters.passes.fold_reshape import fold_reshape
from converters.passes.fold_softmax import fold_softmax
from tests.converters.rules import Rule, check_rule, integers

X = "(float[B,4,6,5] x) => (float[B,4,6,5] y) "
SUM = "s = ReduceSum(e, a)  y = Div(e, s) }"
NORM = "p = Mul(x, x)  s = ReduceSum(p, a)  "
CONSTANTS = {"a": integers(3), "least": np.float32([1e-12])}

RULES = [
    Rule("an exponential by its sum", fold_softmax, f"{X}{{ e = Exp(x)  {SUM}", CONSTANTS, "Softmax:1"),
    Rule(
        "with the maximum taken off",
        fold_softmax,
        f"{X}{{ m = ReduceMax(x, a)  d = Sub(x, m)  e = Exp(d)  {SUM}",
        {"a": integers(-3)},
        "Softmax:1",
    ),
    Rule(
        "with another axis's maximum taken off",
        fold_softmax,
        f"{X}{{ m = ReduceMax(x, b)  d = Sub(x, m)  e = Exp(d)  {SUM}",
        {**CONSTANTS, "b": integers(1)},
        "ReduceMax:1,Softmax:1,Sub:1",
    ),
    Rule(
        "an exponential that is read again",
        fold_softmax,
        f"(float[B,4,6,5] x) => (float[B,4,6,5] y, float[B,4,6,5] z) {{ e = Exp(x)  z = Neg(e)  {SUM}",
        CONSTANTS,
        None,
    ),
    Rule(
        "over two neighbouring axes, by its logarithm",
        fold_softmax,
        f"{X}{{ l = ReduceLogSumExp(x, a)  d = Sub(x, l)  y = Exp(d) }}",
        {"a": integers(1, 2)},
        "Reshape:2,Softmax:1",
    ),
    Rule(
        "over two axes that are none",
        fold_softmax,
        f"{X}{{ l = ReduceLogSumExp(x, a)  d = Sub(x, l)  y = Exp(d) }}",
        {"a": integers(1, 3)},
        None,
    ),
    Rule(
        "a softmax over the last axis between two reshapes",
        fold_reshape,
        "(float[B,8,5] x) => (float[B,8,5] y) { r = Reshape(x, two)  s = Softmax<axis=3>(r)  y = Reshape(s, one) }",
        {"two": integers(0, 2, 4, 5), "one": integers(0, 8, 5)},
        "Softmax:1",
    ),
    Rule(
        "a softmax over another axis between two reshapes",
        fold_reshape,
        "(float[B,8,5] x) => (float[B,8,5] y) { r = Reshape(x, two)  s = Softmax<axis=2>(r)  y = Reshape(s, one) }",
        {"two": integers(0, 2, 4, 5), "one": integers(0, 8, 5)},
        None,
    ),
    Rule(
        "a norm",
        fold_norm,
        f"(float[B,6] x) => (float[B,1] y) {{ {NORM} y = Sqrt(s) }}",
        {"a": integers(1)},
        "ReduceL2:1",
    ),
    Rule(
        "a value by its norm, which is no less than a constant",
        fold_norm,
        f"{X}{{ {NORM} m = Max(s, least)  r = Sqrt(m)  i = Reciprocal(r)  y = Mul(x, i) }}",
        CONSTANTS,
        "Div:1,Max:1,ReduceL2:1",
    ),
    Rule(
        "a sum of products",
        fold_norm,
        "(float[B,6] x, float[B,6] z) => (float[B,1] y) "
        "{ p = Mul(x, z)  q = Abs(p)  s = ReduceSum(q, a)  y = Sqrt(s) }",
        {"a": integers(1)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)
