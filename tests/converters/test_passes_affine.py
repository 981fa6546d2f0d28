"""The passes that move multiplications, additions, strides and normalization into a convolution's weights."""

from __future__ import annotations

import numpy as np
import pytest

from converters.passes import clean
from converters.passes.fold_affine import fold_affine
from converters.passes.fold_concat import fold_concat
from converters.passes.fold_hard_sigmoid import fold_hard_sigmoid
from converters.passes.fold_pool import fold_pool
from converters.passes.fold_scale import fold_scale
from tests.converters.rules import Rule, check_rule, floats, graph, norm

THREE, SIX, SIXTH = np.float32(3), np.float32(6), np.float32(1 / 6)

RULES = [
    # fold_scale
    Rule(
        "scale behind a convolution with a bias",
        fold_scale,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w, b)  y = Mul(s, c) }",
        {"w": floats(4, 3, 3, 3), "b": floats(4), "s": floats(4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "division behind a transposed convolution",
        fold_scale,
        "(float[B,3,6,6] x) => (float[B,4,8,8] y) { c = ConvTranspose(x, w)  y = Div(c, s) }",
        {"w": floats(3, 4, 3, 3), "s": np.float32(3)},
        "ConvTranspose:1",
    ),
    Rule(
        "scale behind a grouped transposed convolution",
        fold_scale,
        "(float[B,4,6,6] x) => (float[B,4,8,8] y) { c = ConvTranspose<group=2>(x, w)  y = Mul(c, s) }",
        {"w": floats(4, 2, 3, 3), "s": floats(4, 1, 1)},
        None,
    ),
    Rule(
        "scale behind a Gemm",
        fold_scale,
        "(float[B,3] x) => (float[B,4] y) { c = Gemm(x, w, b)  y = Mul(c, s) }",
        {"w": floats(3, 4), "b": floats(4), "s": floats(4)},
        "Gemm:1",
    ),
    Rule(
        "scale behind a Dense over the last axis",
        fold_scale,
        "(float[B,5,3] x) => (float[B,5,4] y) { c = MatMul(x, w)  d = Add(b, c)  y = Mul(d, s) }",
        {"w": floats(3, 4), "b": floats(4), "s": floats(1, 1, 4)},
        "Add:1,MatMul:1",
    ),
    Rule(
        "scale over positions",
        fold_scale,
        "(float[B,5,3] x) => (float[B,5,4] y) { c = MatMul(x, w)  y = Mul(c, s) }",
        {"w": floats(3, 4), "s": floats(5, 1)},
        None,
    ),
    Rule(
        "scale by a convolution",
        fold_scale,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Div(s, c) }",
        {"w": floats(4, 3, 3, 3), "s": floats(4, 1, 1)},
        None,
    ),
    Rule(
        "division by zero stays",
        fold_scale,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Div(c, s) }",
        {"w": floats(4, 3, 3, 3), "s": np.float32(0)},
        None,
    ),
    Rule(
        "whole numbers, a quantized layer's",
        fold_scale,
        "(float[B,5,3] x) => (float[B,5,4] y) { c = MatMul(x, w)  y = Div(c, s) }",
        {"w": np.rint(127 * floats(3, 4)), "s": floats(4)},
        None,
    ),
    # fold_affine
    Rule(
        "nothing added, nothing multiplied",
        fold_affine,
        "(float[B,3] x) => (float[B,3] y) { a = Add(x, o)  b = Mul(i, a)  c = Sub(b, o)  d = Div(c, i)  y = Relu(d) }",
        {"o": np.float32(0), "i": np.ones((1, 3), np.float32)},
        "Relu:1",
    ),
    Rule(
        "zero minus a value is no copy of it",
        fold_affine,
        "(float[B,3] x) => (float[B,3] y) { a = Sub(o, x)  y = Relu(a) }",
        {"o": np.float32(0)},
        None,
    ),
    Rule(
        "zeros that make a value larger",
        fold_affine,
        "(float[B,1] x) => (float[B,3] y) { a = Add(x, o)  y = Relu(a) }",
        {"o": np.zeros((1, 3), np.float32)},
        None,
    ),
    Rule(
        "pixels through a Transpose, without padding: all of it",
        fold_affine,
        "(float[B,6,6,3] x) => (float[B,4,4,4] y) {"
        "a = Mul(x, k)  b = Sub(a, m)  c = Div(b, d)  t = Transpose<perm=[0,3,1,2]>(c)  y = Conv(t, w, v) }",
        {"k": np.float32(1 / 255), "m": floats(3), "d": floats(1, 1, 1, 3), "w": floats(4, 3, 3, 3), "v": floats(4)},
        "Conv:1,Transpose:1",
    ),
    Rule(
        "pixels before padding: one Add stays",
        fold_affine,
        "(float[B,6,6,3] x) => (float[B,4,6,6] y) {"
        "a = Mul(x, k)  b = Add(a, m)  t = Transpose<perm=[0,3,1,2]>(b)  y = Conv<pads=[1,1,1,1]>(t, w) }",
        {"k": np.float32(1 / 127.5), "m": np.float32(-1), "w": floats(4, 3, 3, 3)},
        "Add:1,Conv:1,Transpose:1",
    ),
    Rule(
        "a scale before padding",
        fold_affine,
        '(float[B,3,6,6] x) => (float[B,4,6,6] y) { a = Mul(x, k)  y = Conv<auto_pad="SAME_UPPER">(a, w) }',
        {"k": floats(3, 1, 1), "w": floats(4, 3, 3, 3)},
        "Conv:1",
    ),
    Rule(
        "a shift before padding",
        fold_affine,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y) { a = Add(x, k)  y = Conv<pads=[1,1,1,1]>(a, w) }",
        {"k": floats(3, 1, 1), "w": floats(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "a shift that the scale makes large",
        fold_affine,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y) { a = Mul(x, k)  b = Add(a, m)  y = Conv<pads=[1,1,1,1]>(b, w) }",
        {"k": np.float32(1e-5), "m": np.float32(1), "w": floats(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "normalization before a grouped convolution",
        fold_affine,
        "(float[B,6,5,5] x) => (float[B,4,3,3] y) {"
        "a = BatchNormalization(x, gamma, beta, mean, var)  y = Conv<group=2>(a, w) }",
        {"w": floats(4, 3, 3, 3), **norm(6)},
        "Conv:1",
    ),
    Rule(
        "normalization that others read",
        fold_affine,
        "(float[B,3,5,5] x) => (float[B,4,3,3] y, float[B,3,5,5] z) {"
        "a = BatchNormalization(x, gamma, beta, mean, var)  y = Conv(a, w)  z = Relu(a) }",
        {"w": floats(4, 3, 3, 3), **norm(3)},
        None,
    ),
    Rule(
        "a constant over positions",
        fold_affine,
        "(float[B,3,5,5] x) => (float[B,4,3,3] y) { a = Mul(x, k)  y = Conv(a, w) }",
        {"k": floats(5), "w": floats(4, 3, 3, 3)},
        None,
    ),
    # fold_pool
    Rule(
        "every second position",
        fold_pool,
        "(float[B,3,5,6] x) => (float[B,4,3,3] y) {"
        "a = AveragePool<kernel_shape=[1,1], strides=[2,2]>(x)  y = Conv<kernel_shape=[1,1]>(a, w) }",
        {"w": floats(4, 3, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "every second position before a window",
        fold_pool,
        "(float[B,3,5,5] x) => (float[B,4,1,1] y) {"
        "a = MaxPool<kernel_shape=[1,1], strides=[2,2]>(x)  y = Conv<kernel_shape=[3,3]>(a, w) }",
        {"w": floats(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "an average of everything",
        fold_pool,
        "(float[B,3,5,4] x) => (float[B,3,1,1] y) { y = AveragePool<kernel_shape=[5,4], strides=[5,4]>(x) }",
        {},
        "ReduceMean:1",
    ),
    Rule(
        "a maximum of all rows",
        fold_pool,
        "(float[B,3,5,4] x) => (float[B,3,1,2] y) { y = MaxPool<kernel_shape=[5,2], strides=[5,2]>(x) }",
        {},
        None,
    ),
    # fold_concat
    Rule(
        "a concatenation in the middle of another",
        fold_concat,
        "(float[B,3,2] x, float[B,3,2] z) => (float[B,12,2] y) {"
        "a = Concat<axis=1>(x, z)  b = Concat<axis=-2>(z, a, x)  y = Relu(b) }",
        {},
        "Concat:1,Relu:1",
    ),
    Rule(
        "a concatenation over another axis",
        fold_concat,
        "(float[B,3,2] x) => (float[B,6,4] y) { a = Concat<axis=1>(x, x)  y = Concat<axis=2>(a, a) }",
        {},
        None,
    ),
    Rule(
        "normalization of two convolutions",
        fold_concat,
        "(float[B,3,5,5] x) => (float[B,6,5,5] y) {"
        "a = Conv(x, w)  b = Conv(x, v)  c = Concat<axis=1>(a, b)"
        "y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(4, 3, 1, 1), "v": floats(2, 3, 1, 1), **norm(6)},
        "BatchNormalization:2,Concat:1,Conv:2",
    ),
    Rule(
        "normalization of a convolution and something else",
        fold_concat,
        "(float[B,3,5,5] x) => (float[B,6,5,5] y) {"
        "a = Conv(x, w)  c = Concat<axis=1>(a, x)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(3, 3, 1, 1), **norm(6)},
        None,
    ),
    Rule(
        "maps of one channel, which a Transpose puts in front",
        fold_concat,
        "(float[B,4,5] x, float[B,20] z) => (float[B,2,4,5] y) {"
        "a = Reshape(x, s)  b = Reshape(z, s)  c = Concat<axis=3>(a, b)  y = Transpose<perm=[0,3,1,2]>(c) }",
        {"s": np.asarray([-1, 4, 5, 1], np.int64)},
        "Concat:1,Reshape:2",
    ),
    Rule(
        "maps of one channel, whose rows and columns change places too",
        fold_concat,
        "(float[B,4,5] x) => (float[B,2,5,4] y) {"
        "a = Reshape(x, s)  b = Reshape(x, s)  c = Concat<axis=3>(a, b)  y = Transpose<perm=[0,3,2,1]>(c) }",
        {"s": np.asarray([-1, 4, 5, 1], np.int64)},
        None,
    ),
    # fold_hard_sigmoid
    Rule(
        "relu6(x + 3) / 6",
        fold_hard_sigmoid,
        "(float[B,3] x) => (float[B,3] y) { a = Add(t, x)  b = Clip(a, o, s)  y = Mul(b, k) }",
        {"t": THREE, "o": np.float32(0), "s": SIX, "k": SIXTH},
        "HardSigmoid:1",
    ),
    Rule(
        "a clip that is read twice",
        fold_hard_sigmoid,
        "(float[B,3] x) => (float[B,3] y, float[B,3] z) { b = Clip(x, o, s)  y = Div(b, s)  z = Relu(b) }",
        {"o": np.float32(0), "s": SIX},
        None,
    ),
    Rule(
        "another divisor than the ceiling",
        fold_hard_sigmoid,
        "(float[B,3] x) => (float[B,3] y) { b = Clip(x, o, s)  y = Mul(b, k) }",
        {"o": np.float32(0), "s": SIX, "k": np.float32(0.2)},
        None,
    ),
    Rule(
        "x times a hard sigmoid of x",
        fold_hard_sigmoid,
        "(float[B,3] x) => (float[B,3] y) { a = Add(x, t)  b = Clip(a, o, s)  c = Div(b, s)  y = Mul(x, c) }",
        {"t": THREE, "o": np.float32(0), "s": SIX},
        "HardSwish:1",
    ),
    Rule(
        "x times relu6(x + 3), divided by 6",
        fold_hard_sigmoid,
        "(float[B,3] x) => (float[B,3] y) { a = Add(x, t)  b = Clip(a, o, s)  c = Mul(x, b)  y = Div(c, s) }",
        {"t": THREE, "o": np.float32(0), "s": SIX},
        "HardSwish:1",
    ),
    Rule(
        "x times a hard sigmoid of something else",
        fold_hard_sigmoid,
        "(float[B,3] x, float[B,3] z) => (float[B,3] y) {"
        "a = HardSigmoid<alpha=0.16666667, beta=0.5>(z)  y = Mul(x, a) }",
        {},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)


def test_a_normalization_behind_a_concatenation_ends_in_the_convolutions() -> None:
    rule = next(rule for rule in RULES if rule.name == "normalization of two convolutions")
    model = graph(rule.text, rule.constants)
    clean(model)
    assert [node.op_type for node in model.graph] == ["Conv", "Conv", "Concat"]
