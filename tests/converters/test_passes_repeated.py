"""Constants, those repeated over the batch among them: what is computed at once, and what must stay."""

from __future__ import annotations

import numpy as np
import pytest

from converters.passes.fold_chain import fold_chain
from converters.passes.fold_repeated import fold_repeated
from tests.converters.rules import Rule, check_rule, floats, integers

BATCH = "n = Shape<start=0, end=1>(x)  s = Concat<axis=0>(n, k)  c = Expand(v, s)  "
"""The constant v, repeated over the batch."""
BY_FOUR = {"k": integers(4, 6), "v": floats(1, 4, 6)}
ZEROS = {"k": integers(4, 6), "v": np.zeros((1, 1, 1), np.float32)}

RULES = [
    Rule(
        "beside a value of the batch, after a Transpose, a product and a Softmax",
        fold_repeated,
        "(float[B,4,4] x) => (float[B,4,5] y) "
        f"{{ {BATCH} m = MatMul(c, w)  q = Softmax<axis=2>(m)  t = Transpose<perm=[0,2,1]>(q)  "
        "z = Transpose<perm=[0,2,1]>(t)  y = MatMul(x, z) }",
        {**BY_FOUR, "w": floats(6, 5)},
        "MatMul:1",
    ),
    Rule(
        "a mask with an axis for the heads",
        fold_repeated,
        f"(float[B,2,4,6] x) => (float[B,2,4,6] y) {{ {BATCH} r = Reshape(c, to)  y = Mul(r, x) }}",
        {**BY_FOUR, "to": integers(0, 1, 4, 6)},
        "Mul:1",
    ),
    Rule(
        "into a node that needs its sizes",
        fold_repeated,
        f"(float[B,4] x) => (float[B,6,4] y) {{ {BATCH} t = Transpose<perm=[0,2,1]>(c)  "
        "d = CumSum(t, a)  y = Relu(d) }",
        {**BY_FOUR, "a": np.asarray(1, np.int64)},
        "Concat:1,CumSum:1,Expand:1,Relu:1,Shape:1",
    ),
    Rule(
        "nothing else has its sizes",
        fold_repeated,
        f"(float[B,4] x) => (float[B,4,6] y) {{ {BATCH} y = Identity(c) }}",
        BY_FOUR,
        None,
    ),
    Rule(
        "the sum over what it is repeated to",
        fold_repeated,
        f"(float[B,4] x) => (float[1,4,6] y) {{ {BATCH} y = ReduceSum(c, a) }}",
        {**BY_FOUR, "a": integers(0)},
        None,
    ),
    Rule(
        "zeros through a product and a gate",
        fold_repeated,
        f"(float[B,4,6] x) => (float[B,4,6] y) {{ {BATCH} m = MatMul(c, w)  g = Sigmoid(x)  f = Mul(g, c)  "
        "a = Add(f, m)  y = Add(a, x) }",
        {**ZEROS, "w": floats(6, 6)},
        "Add:1",
    ),
    Rule(
        "zeros times what may be infinite",
        fold_repeated,
        f"(float[B,4,6] x) => (float[B,4,6] y) {{ {BATCH} e = Exp(x)  y = Mul(e, c) }}",
        ZEROS,
        "Exp:1,Mul:1",
    ),
    Rule(
        "a convolution of zeros",
        fold_repeated,
        "(float[B,4,6,6] x) => (float[B,5,6,6] y) { n = Shape<start=0, end=1>(x)  s = Concat<axis=0>(n, k)  "
        "c = Expand(v, s)  f = Conv<pads=[1,1,1,1]>(c, w, b)  g = Conv(x, u)  y = Add(f, g) }",
        {"k": integers(4, 6, 6), "v": np.zeros((1, 1, 1, 1), np.float32), "w": floats(5, 4, 3, 3), "b": floats(5)}
        | {"u": floats(5, 4, 1, 1)},
        "Add:1,Conv:1",
    ),
    Rule(
        "a class token",
        fold_repeated,
        "(float[B,4,6] x) => (float[B,5,6] y) { n = Shape<start=0, end=1>(x)  s = Concat<axis=0>(n, k)  "
        "c = Expand(v, s)  y = Concat<axis=1>(c, x) }",
        {"k": integers(1, 6), "v": floats(1, 1, 6)},
        "Add:1,Pad:1",
    ),
    Rule(
        "a border of one number",
        fold_repeated,
        f"(float[B,4,3] x) => (float[B,4,15] y) {{ {BATCH} y = Concat<axis=2>(c, x, c) }}",
        {**ZEROS, "v": np.full((1, 1, 1), 2.5, np.float32)},
        "Pad:1",
    ),
    Rule(
        "zeros as the first state",
        fold_repeated,
        "(float[7,B,4] x) => (float[7,1,B,3] y) { n = Shape<start=1, end=2>(x)  s = Concat<axis=0>(one, n, k)  "
        "c = Expand(v, s)  y = RNN<hidden_size=3>(x, w, r, , , c) }",
        {"one": integers(1), "k": integers(3), "v": np.zeros((1, 1, 1), np.float32)}
        | {"w": floats(1, 3, 4), "r": floats(1, 3, 3)},
        "RNN:1",
    ),
    Rule(
        "two of them joined",
        fold_repeated,
        f"(float[B,4,12] x) => (float[B,4,12] y) {{ {BATCH} d = Concat<axis=2>(c, c)  y = Mul(d, x) }}",
        BY_FOUR,
        "Mul:1",
    ),
    Rule(
        "constants alone",
        fold_repeated,
        "(float[B,4] x) => (float[B,4] y) { m = MatMul(v, w)  r = Relu(m)  y = Add(x, r) }",
        {"v": floats(1, 4), "w": floats(4, 4)},
        "Add:1",
    ),
    Rule(
        "two factors",
        fold_chain,
        "(float[B,4] x) => (float[B,4] y) { m = Mul(a, x)  d = Div(m, b)  y = Mul(d, a) }",
        {"a": floats(4) + np.float32(4), "b": floats() + np.float32(4)},
        "Mul:1",
    ),
    Rule(
        "two summands, of which one is taken away",
        fold_chain,
        "(float[B,4] x) => (float[B,4] y) { d = Sub(x, a)  y = Add(b, d) }",
        {"a": floats(4), "b": floats(4)},
        "Add:1",
    ),
    Rule(
        "a factor and what is divided by it",
        fold_chain,
        "(float[B,4] x) => (float[B,4] y) { m = Mul(x, a)  y = Div(b, m) }",
        {"a": floats(4), "b": floats(4)},
        None,
    ),
    Rule(
        "factors whose product is nearly nothing in half precision",
        fold_chain,
        "(float[B,4] x) => (float[B,4] y) { m = Mul(x, a)  y = Mul(m, a) }",
        {"a": np.full(4, 1e-4, np.float32)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)
