"""The passes that bring gates to one form: kept axes, 1x1 convolutions, the shared layers run once."""

from __future__ import annotations

import numpy as np
import pytest

from converters.passes.fold_keepdims import fold_keepdims
from converters.passes.fold_sum import fold_sum
from converters.passes.lift_gate import lift_gate
from converters.passes.merge_shared import merge_shared
from tests.converters.rules import Rule, check_rule, floats, integers

AXES = {"axes": integers(2, 3)}
MAP = {"s": integers(0, 4, 1, 1), **AXES}
DENSE = {"w": floats(4, 2), "b": floats(2), "v": floats(2, 4)}
SHARED = {"w": floats(2, 4, 1, 1), "b": floats(2), "v": floats(4, 2, 1, 1), **AXES}
SUMMED = {"w": floats(3, 4, 1, 1), "b": floats(3), "n": integers(2), "c": integers(1), "both": integers(2, 3)}
POOLS = "p = ReduceMean(x, axes)  q = ReduceMax(x, axes) "

RULES = [
    Rule(
        "axes put back",
        fold_keepdims,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y) { p = ReduceMean<keepdims=0>(x, axes)  y = Reshape(p, s) }",
        MAP,
        "ReduceMean:1",
    ),
    Rule(
        "axes dropped",
        fold_keepdims,
        "(float[B,4,5,5] x) => (float[B,4] y) { p = ReduceMax(x, axes)  y = Reshape(p, s) }",
        {"s": integers(0, 4), **AXES},
        "ReduceMax:1",
    ),
    Rule(
        "axes put elsewhere",
        fold_keepdims,
        "(float[B,4,5,5] x) => (float[B,1,1,4] y) { p = ReduceMean<keepdims=0>(x, axes)  y = Reshape(p, s) }",
        {"s": integers(0, 1, 1, 4), **AXES},
        None,
    ),
    Rule(
        "a vector that others read",
        fold_keepdims,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y, float[B,4] z) {"
        "p = ReduceMean<keepdims=0>(x, axes)  y = Reshape(p, s)  z = Relu(p) }",
        MAP,
        None,
    ),
    Rule(
        "squeeze and excite with Dense layers",
        lift_gate,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y) {"
        "p = ReduceMean<keepdims=0>(x, axes)  d = Gemm(p, w, b)  r = Relu(d)  e = Gemm(r, v)  g = Sigmoid(e)"
        "y = Reshape(g, s) }",
        {**MAP, **DENSE},
        "Conv:2,ReduceMean:1,Relu:1,Sigmoid:1",
    ),
    Rule(
        "a value used twice on the way, and constants",
        lift_gate,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y) {"
        "p = ReduceMean<keepdims=0>(x, axes)  d = Gemm(p, w, b)  a = Sigmoid(d)  r = Mul(d, a)  f = Add(r, c)"
        "e = Gemm(f, v)  y = Reshape(e, s) }",
        {**MAP, **DENSE, "c": floats(2)},
        "Add:1,Conv:2,Mul:1,ReduceMean:1,Sigmoid:1",
    ),
    Rule(
        "two pooled vectors, one of them a map of one position",
        lift_gate,
        "(float[B,4,5,5] x, float[B,4,1,1] z) => (float[B,4,1,1] y) {"
        "p = ReduceMax<keepdims=0>(x, axes)  q = Reshape(z, t)  e = Gemm(q, u)  a = Add(p, e)  y = Reshape(a, s) }",
        {**MAP, "t": integers(0, 4), "u": floats(4, 4)},
        "Add:1,Conv:1,ReduceMax:1",
    ),
    Rule(
        "the pooled vector is read by others",
        lift_gate,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y, float[B,4] z) {"
        "p = ReduceMean<keepdims=0>(x, axes)  g = Sigmoid(p)  y = Reshape(g, s)  z = Relu(p) }",
        MAP,
        None,
    ),
    Rule(
        "a vector that comes from elsewhere",
        lift_gate,
        "(float[B,4] x) => (float[B,4,1,1] y) { g = Sigmoid(x)  y = Reshape(g, s) }",
        {"s": integers(0, 4, 1, 1)},
        None,
    ),
    Rule(
        "a Softmax over channels is left alone",
        lift_gate,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y) {"
        "p = ReduceMean<keepdims=0>(x, axes)  g = Softmax(p)  y = Reshape(g, s) }",
        MAP,
        None,
    ),
    Rule(
        "a shared MLP",
        merge_shared,
        "(float[B,4,5,5] x) => (float[B,4,1,1] y) {" + POOLS + "a = Conv(p, w, b)  c = Relu(a)  d = Conv(c, v)"
        "e = Conv(q, w, b)  f = Relu(e)  g = Conv(f, v)  y = Add(d, g) }",
        SHARED,
        "Concat:1,Conv:2,ReduceMax:1,ReduceMean:1,ReduceSum:1,Relu:1",
    ),
    Rule(
        "equal weights under two names",
        merge_shared,
        "(float[B,4,5,5] x) => (float[B,2,1,1] y) {" + POOLS + "a = Conv(p, w)  c = Sigmoid(a)"
        "e = Conv(q, u)  f = Sigmoid(e)  y = Add(c, f) }",
        {**SHARED, "u": SHARED["w"].copy()},
        "Concat:1,Conv:1,ReduceMax:1,ReduceMean:1,ReduceSum:1,Sigmoid:1",
    ),
    Rule(
        "one convolution would cost as much",
        merge_shared,
        "(float[B,4,5,5] x) => (float[B,2,1,1] y) {" + POOLS + "a = Conv(p, w)  e = Conv(q, w)  y = Add(a, e) }",
        SHARED,
        None,
    ),
    Rule(
        "other weights",
        merge_shared,
        "(float[B,4,5,5] x) => (float[B,2,1,1] y) {" + POOLS + "a = Conv(p, w)  c = Relu(a)"
        "e = Conv(q, u)  f = Relu(e)  y = Add(c, f) }",
        {**SHARED, "u": floats(2, 4, 1, 1)},
        None,
    ),
    Rule(
        "maps of several positions",
        merge_shared,
        "(float[B,4,5,5] x, float[B,4,5,5] z) => (float[B,2,5,5] y) {"
        "a = Conv(x, w)  c = Relu(a)  e = Conv(z, w)  f = Relu(e)  y = Add(c, f) }",
        SHARED,
        None,
    ),
    Rule(
        "an activation that others read",
        merge_shared,
        "(float[B,4,5,5] x) => (float[B,2,1,1] y, float[B,2,1,1] z) {" + POOLS + "a = Conv(p, w)  c = Relu(a)"
        "e = Conv(q, w)  f = Relu(e)  y = Add(c, f)  z = Neg(f) }",
        SHARED,
        None,
    ),
    Rule(
        "positions that are added up",
        fold_sum,
        "(float[B,4,2,1] x) => (float[B,3,1,1] y) { a = Conv(x, w, b)  y = ReduceSum<keepdims=1>(a, n) }",
        SUMMED,
        "Conv:1",
    ),
    Rule(
        "both axes, no bias",
        fold_sum,
        "(float[B,4,2,2] x) => (float[B,3,1,1] y) { a = Conv(x, w)  y = ReduceSum<keepdims=1>(a, both) }",
        SUMMED,
        "Conv:1",
    ),
    Rule(
        "more positions than pay",
        fold_sum,
        "(float[B,4,5,1] x) => (float[B,3,1,1] y) { a = Conv(x, w, b)  y = ReduceSum<keepdims=1>(a, n) }",
        SUMMED,
        None,
    ),
    Rule(
        "channels that are added up",
        fold_sum,
        "(float[B,4,2,1] x) => (float[B,1,2,1] y) { a = Conv(x, w, b)  y = ReduceSum<keepdims=1>(a, c) }",
        SUMMED,
        None,
    ),
    Rule(
        "positions that others read",
        fold_sum,
        "(float[B,4,2,1] x) => (float[B,3,1,1] y, float[B,3,2,1] z) {"
        "a = Conv(x, w, b)  y = ReduceSum<keepdims=1>(a, n)  z = Relu(a) }",
        SUMMED,
        None,
    ),
    Rule(
        "a stride",
        fold_sum,
        "(float[B,4,3,1] x) => (float[B,3,1,1] y) {a = Conv<strides=[2,1]>(x, w, b)  y = ReduceSum<keepdims=1>(a, n) }",
        SUMMED,
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)


def test_the_lifted_gate_carries_its_layer_names() -> None:
    from tests.converters.rules import graph

    rule = next(rule for rule in RULES if rule.name == "squeeze and excite with Dense layers")
    model = graph(rule.text, rule.constants)
    lift_gate(model.graph)
    assert [(node.op_type, node.name) for node in model.graph] == [
        ("ReduceMean", "p"),
        ("Conv", "d"),
        ("Relu", "r"),
        ("Conv", "e"),
        ("Sigmoid", "y"),
    ]
    assert [np.shape(value.const_value) for node in model.graph for value in node.inputs[1:2] if node.op_type == "Conv"]
