"""Each pass: where its rule applies, where it must not, and that the numbers stay."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from converters.passes import clean
from converters.passes.fold_batch_norm import fold_batch_norm
from converters.passes.fold_bias import fold_bias
from converters.passes.fold_flatten import fold_flatten
from converters.passes.fold_pad import fold_pad
from converters.passes.fold_reshape import fold_reshape
from converters.passes.rewriting import per_channel
from tests.converters.checking import Array, run_session

RNG = np.random.default_rng(0)


def _float(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def _int(*values: int) -> Array:
    return np.asarray(values, np.int64)


def _norm(channels: int) -> dict[str, Array]:
    return {
        "gamma": RNG.uniform(0.5, 1.5, channels).astype(np.float32),
        "beta": _float(channels),
        "mean": _float(channels),
        "var": RNG.uniform(0.5, 1.5, channels).astype(np.float32),
    }


def graph(text: str, constants: dict[str, Array]) -> ir.Model:
    """A model of ONNX's text format and initializers; each node is named after its first output."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]>\nmain {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    for node in proto.graph.node:
        node.name = node.output[0]
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def _execute(model: ir.Model) -> list[Array]:
    rng = np.random.default_rng(3)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    inputs = []
    for value in model.graph.inputs:
        sizes = [size if isinstance(size, int) else 2 for size in value.shape or ()]
        inputs.append(rng.standard_normal(sizes).astype(np.float32))
    return run_session(proto)(inputs)


@dataclass(frozen=True)
class Rule:
    """A pass on a graph; ``expects``: the operations afterwards, or None where it must change nothing."""

    name: str
    fold: Any
    text: str
    constants: dict[str, Array]
    expects: str | None

    def __str__(self) -> str:
        return self.name


RULES = [
    # fold_bias
    Rule(
        "conv bias",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": _float(4, 3, 3, 3), "b": _float(1, 4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "conv bias on the left, added to one that is there",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w, a)  y = Add(b, c) }",
        {"w": _float(4, 3, 3, 3), "a": _float(4), "b": _float(4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "scalar bias",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": _float(4, 3, 3, 3), "b": _float()},
        "Conv:1",
    ),
    Rule(
        "transposed convolution",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,8,8] y) { c = ConvTranspose(x, w)  y = Add(c, b) }",
        {"w": _float(3, 4, 3, 3), "b": _float(1, 4, 1, 1)},
        "ConvTranspose:1",
    ),
    Rule(
        "conv read twice",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] z) { c = Conv(x, w)  y = Add(c, b)  z = Relu(c) }",
        {"w": _float(4, 3, 3, 3), "b": _float(1, 4, 1, 1)},
        None,
    ),
    Rule(
        "conv added to itself",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, c) }",
        {"w": _float(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "conv that is an output",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] c) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": _float(4, 3, 3, 3), "b": _float(1, 4, 1, 1)},
        None,
    ),
    Rule(
        "constant over columns, as many as channels",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": _float(4, 3, 3, 3), "b": _float(4)},
        None,
    ),
    Rule(
        "constant over all positions",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": _float(4, 3, 3, 3), "b": _float(1, 4, 4, 4)},
        None,
    ),
    Rule(
        "computed addend",
        fold_bias,
        "(float[B,3,6,6] x, float[B,4,4,4] a) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, a) }",
        {"w": _float(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "matrix product and vector",
        fold_bias,
        "(float[B,3] x) => (float[B,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": _float(3, 4), "b": _float(4)},
        "Gemm:1",
    ),
    Rule(
        "matrix product alone",
        fold_bias,
        "(float[B,3] x) => (float[B,4] y) { y = MatMul(x, w) }",
        {"w": _float(3, 4)},
        "Gemm:1",
    ),
    Rule(
        "matrix product and a constant of a row for each item",
        fold_bias,
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": _float(3, 4), "b": _float(2, 4)},
        "Add:1,Gemm:1",
    ),
    Rule(
        "matrix product and a column",
        fold_bias,
        "(float[4,3] x) => (float[4,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": _float(3, 4), "b": _float(4, 1)},
        "Add:1,Gemm:1",
    ),
    Rule(
        "matrix product of rank 3",
        fold_bias,
        "(float[B,2,3] x) => (float[B,2,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": _float(3, 4), "b": _float(4)},
        None,
    ),
    Rule(
        "matrix product of two computed matrices",
        fold_bias,
        "(float[3,3] x) => (float[3,3] y) { y = MatMul(x, x) }",
        {},
        None,
    ),
    # fold_batch_norm
    Rule(
        "norm behind a convolution",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y)"
        "{ c = Conv(x, w, b)  y = BatchNormalization<epsilon=0.01>(c, gamma, beta, mean, var) }",
        {"w": _float(4, 3, 3, 3), "b": _float(4), **_norm(4)},
        "Conv:1",
    ),
    Rule(
        "norm behind a grouped convolution without bias",
        fold_batch_norm,
        "(float[B,4,6,6] x) => (float[B,4,4,4] y)"
        "{ c = Conv<group=2>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(4, 2, 3, 3), **_norm(4)},
        "Conv:1",
    ),
    Rule(
        "norm behind a Gemm",
        fold_batch_norm,
        "(float[B,3] x) => (float[B,4] y) { c = Gemm(x, w, b)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(3, 4), "b": _float(4), **_norm(4)},
        "Gemm:1",
    ),
    Rule(
        "norm behind a transposed convolution",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,8,8] y)"
        "{ c = ConvTranspose(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(3, 4, 3, 3), **_norm(4)},
        "ConvTranspose:1",
    ),
    Rule(
        "norm behind a grouped transposed convolution",
        fold_batch_norm,
        "(float[B,4,6,6] x) => (float[B,4,8,8] y)"
        "{ c = ConvTranspose<group=2>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(4, 2, 3, 3), **_norm(4)},
        None,
    ),
    Rule(
        "norm behind a convolution that is read twice",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] z)"
        "{ c = Conv(x, w)  y = BatchNormalization(c, gamma, beta, mean, var)  z = Relu(c) }",
        {"w": _float(4, 3, 3, 3), **_norm(4)},
        None,
    ),
    Rule(
        "norm behind a ReLU",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y)"
        "{ c = Conv(x, w)  r = Relu(c)  y = BatchNormalization(r, gamma, beta, mean, var) }",
        {"w": _float(4, 3, 3, 3), **_norm(4)},
        None,
    ),
    Rule(
        "norm behind a convolution with a computed kernel",
        fold_batch_norm,
        "(float[B,3,6,6] x, float[4,3,3,3] w) => (float[B,4,4,4] y)"
        "{ c = Conv(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        _norm(4),
        None,
    ),
    Rule(
        "norm behind a transposed Gemm",
        fold_batch_norm,
        "(float[B,4] x) => (float[B,4] y)"
        "{ c = Gemm<transB=1>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(4, 4), **_norm(4)},
        None,
    ),
    Rule(
        "norm behind a scaled Gemm",
        fold_batch_norm,
        "(float[B,3] x) => (float[B,4] y)"
        "{ c = Gemm<alpha=0.5, beta=2.0>(x, w, b)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": _float(3, 4), "b": _float(4), **_norm(4)},
        None,
    ),
    # fold_pad
    Rule(
        "zeros before a convolution",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,7,6] y) { p = Pad(x, n)  y = Conv<pads=[0,0,1,1]>(p, w) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, 1, 0, 0, 0, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "zeros between a ReLU and a maximum",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y)"
        "{ r = Relu(x)  p = Pad(r, n)  y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": _int(0, 0, 1, 1, 0, 0, 1, 1)},
        "MaxPool:1,Relu:1",
    ),
    Rule(
        "zeros before a maximum of values of any sign",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y) { p = Pad(x, n)  y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": _int(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "zeros as wide as the window of a maximum",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,9,9] y)"
        "{ r = Relu(x)  p = Pad(r, n)  y = MaxPool<kernel_shape=[2,2], strides=[1,1]>(p) }",
        {"n": _int(0, 0, 2, 2, 0, 0, 2, 2)},
        None,
    ),
    Rule(
        "zeros before an average",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y)"
        "{ r = Relu(x)  p = Pad(r, n)  y = AveragePool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": _int(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "another number than zero",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y) { p = Pad(x, n, f)  y = Conv(p, w) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, 1, 1, 0, 0, 1, 1), "f": np.float32(2.0)},
        None,
    ),
    Rule(
        "reflection",
        fold_pad,
        '(float[B,3,6,6] x) => (float[B,4,6,6] y) { p = Pad<mode="reflect">(x, n)  y = Conv(p, w) }',
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "channels",
        fold_pad,
        "(float[B,2,6,6] x) => (float[B,4,4,4] y) { p = Pad(x, n)  y = Conv(p, w) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 1, 0, 0, 0, 0, 0, 0)},
        None,
    ),
    Rule(
        "cropping",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,2,2] y) { p = Pad(x, n)  y = Conv(p, w) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, -1, -1, 0, 0, -1, -1)},
        None,
    ),
    Rule(
        "padded value read twice",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y, float[B,3,8,8] z) { p = Pad(x, n)  y = Conv(p, w)  z = Relu(p) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "convolution that pads by itself",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y)"
        '{ p = Pad(x, n)  y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(p, w) }',
        {"w": _float(4, 3, 3, 3), "n": _int(0, 0, 1, 1, 0, 0, 0, 0)},
        None,
    ),
    Rule(
        "zeros, then a Transpose",
        fold_pad,
        "(float[B,6,6,3] x) => (float[B,4,6,6] y) { p = Pad(x, n)  t = Transpose<perm=[0,3,1,2]>(p)  y = Conv(t, w) }",
        {"w": _float(4, 3, 3, 3), "n": _int(0, 1, 1, 0, 0, 1, 1, 0)},
        "Conv:1,Transpose:1",
    ),
    # fold_flatten
    Rule(
        "rows of a Gemm",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w, b) }",
        {"s": _int(0, 24), "w": _float(24, 5), "b": _float(5)},
        "Gemm:1,Reshape:1",
    ),
    Rule(
        "rows of a Gemm, flattened by -1",
        fold_flatten,
        "(float[B,3,4] x) => (float[B,5] y) { t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": _int(-1, 12), "w": _float(12, 5)},
        "Gemm:1,Reshape:1",
    ),
    Rule(
        "flattened value read twice",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,24] z)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w)  z = Relu(r) }",
        {"s": _int(0, 24), "w": _float(24, 5)},
        None,
    ),
    Rule(
        "flattened value that is an output",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,24] r)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": _int(0, 24), "w": _float(24, 5)},
        None,
    ),
    Rule(
        "transposed value read twice",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,2,4,3] z)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w)  z = Relu(t) }",
        {"s": _int(0, 24), "w": _float(24, 5)},
        "Gemm:1,Relu:1,Reshape:1,Transpose:1",
    ),
    Rule(
        "the batch moves",
        fold_flatten,
        "(float[2,3,4] x) => (float[3,5] y) { t = Transpose<perm=[1,0,2]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": _int(3, 8), "w": _float(8, 5)},
        None,
    ),
    Rule(
        "tokens, not a vector",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[N,5] y) { t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": _int(-1, 3), "w": _float(3, 5)},
        None,
    ),
    Rule(
        "transposed weights",
        fold_flatten,
        "(float[B,3,4] x) => (float[B,12] y)"
        "{ t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Gemm<transB=1>(r, w) }",
        {"s": _int(0, 12), "w": _float(12, 12)},
        None,
    ),
    # fold_reshape
    Rule(
        "two reshapes",
        fold_reshape,
        "(float[B,6,4] x) => (float[B,2,12] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": _int(0, 24), "b": _int(0, 2, 12)},
        "Reshape:1",
    ),
    Rule(
        "two reshapes, the batch in another place between them",
        fold_reshape,
        "(float[B,4] x) => (float[B,2,2] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": _int(1, -1, 4), "b": _int(-1, 2, 2)},
        "Reshape:1",
    ),
    Rule(
        "two reshapes, whose zeros copy different unknown sizes",
        fold_reshape,
        "(float[B,T,4] x) => (float[M,2,2] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": _int(-1, 4), "b": _int(0, 2, 2)},
        None,
    ),
    Rule(
        "a reshape to the same shape",
        fold_reshape,
        "(float[B,6,4] x) => (float[B,6,4] y) { r = Reshape(x, a)  y = Relu(r) }",
        {"a": _int(0, 6, 4)},
        "Relu:1",
    ),
    Rule(
        "a transposition and its inverse",
        fold_reshape,
        "(float[B,3,6,5] x) => (float[B,3,6,5] y)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  u = Transpose<perm=[0,3,1,2]>(t)  y = Relu(u) }",
        {},
        "Relu:1",
    ),
    Rule(
        "two transpositions",
        fold_reshape,
        "(float[B,3,6,5] x) => (float[B,6,3,5] y)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  y = Transpose<perm=[0,1,3,2]>(t) }",
        {},
        "Transpose:1",
    ),
    Rule(
        "one transposition",
        fold_reshape,
        "(float[B,3,6] x) => (float[B,6,3] y) { y = Transpose<perm=[0,2,1]>(x) }",
        {},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    model = graph(rule.text, rule.constants)
    before, outputs = ir.serde.serialize_model(model), _execute(model)
    names = [value.name for value in model.graph.outputs]
    changed = False
    while rule.fold(model.graph):
        changed = True
    ir.passes.common.RemoveUnusedNodesPass()(model)
    if rule.expects is None:
        assert not changed
        assert ir.serde.serialize_model(model).graph.node == before.graph.node
        return
    assert changed
    counts = Counter(node.op_type for node in model.graph)
    assert ",".join(f"{name}:{counts[name]}" for name in sorted(counts)) == rule.expects
    assert [value.name for value in model.graph.outputs] == names
    for old, new in zip(outputs, _execute(model), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5 * max(1.0, float(np.abs(old).max())))


def test_clean_leaves_nothing_for_a_second_round() -> None:
    model = graph(
        "(float[B,6,6,3] x) => (float[B,5] y) {"
        "p = Pad(x, n)  t = Transpose<perm=[0,3,1,2]>(p)  c = Conv(t, w)  d = Add(c, b)"
        "e = BatchNormalization(d, gamma, beta, mean, var)  f = Transpose<perm=[0,2,3,1]>(e)"
        "g = Reshape(f, s)  h = MatMul(g, v)  y = Add(h, u) }",
        {
            "n": _int(0, 1, 1, 0, 0, 1, 1, 0),
            "w": _float(4, 3, 3, 3),
            "b": _float(1, 4, 1, 1),
            "s": _int(0, 144),
            "v": _float(144, 5),
            "u": _float(5),
            **_norm(4),
        },
    )
    (expected,) = _execute(model)
    clean(model)
    assert [node.op_type for node in model.graph] == ["Transpose", "Conv", "Reshape", "Gemm"]
    np.testing.assert_allclose(_execute(model)[0], expected, atol=1e-4)
    first = ir.serde.serialize_model(model).SerializeToString()
    clean(model)
    assert ir.serde.serialize_model(model).SerializeToString() == first


def test_a_fusion_keeps_the_name_of_the_last() -> None:
    rule = next(rule for rule in RULES if rule.name == "norm behind a convolution")
    model = graph(rule.text, rule.constants)
    fold_batch_norm(model.graph)
    (node,) = list(model.graph)
    assert (node.op_type, node.name, node.outputs[0].name) == ("Conv", "y", "y")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), True), ((1,), True), ((4, 1, 1), True), ((1, 4, 1, 1), True), ((4,), False), ((1, 1, 4), False)],
)
def test_per_channel(shape: tuple[int, ...], expected: bool) -> None:
    found = per_channel(_float(*shape), 4, 4)
    assert (found is not None) == expected
    assert found is None or found.shape == (4,)
