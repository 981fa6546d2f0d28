"""Each pass: where its rule applies, where it must not, and that the numbers stay."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converters.passes import clean
from converters.passes.fold_batch_norm import fold_batch_norm
from converters.passes.fold_bias import fold_bias
from converters.passes.fold_concat import fold_concat
from converters.passes.fold_flatten import fold_flatten
from converters.passes.fold_ones import fold_ones
from converters.passes.fold_pad import fold_pad
from converters.passes.fold_reshape import fold_reshape
from converters.passes.fold_unflatten import fold_unflatten
from converters.passes.lift_transpose import lift_transpose
from converters.passes.rewriting import per_channel
from converters.passes.spell_eye import spell_eye
from converters.passes.swap_reshape import swap_reshape
from tests.converters.rules import Rule, check_rule, execute, floats, graph, integers, norm

RULES = [
    # spell_eye
    Rule(
        "an identity matrix of open sizes",
        spell_eye,
        "(float[A,B] x) => (float[A,B] y) { y = EyeLike(x) }",
        {},
        "Cast:1,Equal:1,Gather:2,Range:2,Shape:1,Unsqueeze:1",
    ),
    Rule(
        "an identity matrix of sizes that are computed, and its diagonal moved",
        spell_eye,
        "(float[A,B] x) => (int64[A,B] y) { s = Shape(x)  z = ConstantOfShape(s)  y = EyeLike<k=1, dtype=7>(z) }",
        {},
        "Add:1,Cast:1,Equal:1,Gather:2,Range:2,Shape:1,Unsqueeze:1",
    ),
    Rule(
        "an identity matrix of known sizes stays",
        spell_eye,
        "(float[3,4] x) => (float[3,4] y) { y = EyeLike(x) }",
        {},
        None,
    ),
    # fold_ones
    Rule(
        "axes of size 1 that are taken away again",
        fold_ones,
        "(float[A,B] x) => (float[A,B] y) { u = Unsqueeze(x, n)  s = Squeeze(u, n)  y = Relu(s) }",
        {"n": integers(1)},
        "Relu:1",
    ),
    Rule(
        "an axis of size 1 that moves",
        fold_ones,
        "(float[A,B] x) => (float[1,A,B] y) { r = Reshape(x, t)  s = Squeeze(r, m)  y = Unsqueeze(s, n) }",
        {"t": integers(0, 0, 1), "m": integers(2), "n": integers(0)},
        "Unsqueeze:1",
    ),
    Rule(
        "an axis of size 1 that moves past two unknown sizes",
        fold_ones,
        "(float[1,A,B] x) => (float[A,B,1] y) { s = Squeeze(x, n)  y = Unsqueeze(s, m) }",
        {"n": integers(0), "m": integers(2)},
        None,
    ),
    Rule(
        "a value that is read elsewhere stays",
        fold_ones,
        "(float[A,B] x) => (float[A,B] y, float[A,1,B] z) { u = Unsqueeze(x, n)  y = Squeeze(u, n)  z = Neg(u) }",
        {"n": integers(1)},
        None,
    ),
    # fold_bias
    Rule(
        "conv bias",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": floats(4, 3, 3, 3), "b": floats(1, 4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "conv bias on the left, added to one that is there",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w, a)  y = Add(b, c) }",
        {"w": floats(4, 3, 3, 3), "a": floats(4), "b": floats(4, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "scalar bias",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": floats(4, 3, 3, 3), "b": floats()},
        "Conv:1",
    ),
    Rule(
        "transposed convolution",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,8,8] y) { c = ConvTranspose(x, w)  y = Add(c, b) }",
        {"w": floats(3, 4, 3, 3), "b": floats(1, 4, 1, 1)},
        "ConvTranspose:1",
    ),
    Rule(
        "conv read twice",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] z) { c = Conv(x, w)  y = Add(c, b)  z = Relu(c) }",
        {"w": floats(4, 3, 3, 3), "b": floats(1, 4, 1, 1)},
        None,
    ),
    Rule(
        "conv added to itself",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, c) }",
        {"w": floats(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "conv that is an output",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] c) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": floats(4, 3, 3, 3), "b": floats(1, 4, 1, 1)},
        None,
    ),
    Rule(
        "constant over columns, as many as channels",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": floats(4, 3, 3, 3), "b": floats(4)},
        None,
    ),
    Rule(
        "constant over all positions",
        fold_bias,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, b) }",
        {"w": floats(4, 3, 3, 3), "b": floats(1, 4, 4, 4)},
        None,
    ),
    Rule(
        "computed addend",
        fold_bias,
        "(float[B,3,6,6] x, float[B,4,4,4] a) => (float[B,4,4,4] y) { c = Conv(x, w)  y = Add(c, a) }",
        {"w": floats(4, 3, 3, 3)},
        None,
    ),
    Rule(
        "matrix product and vector",
        fold_bias,
        "(float[B,3] x) => (float[B,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": floats(3, 4), "b": floats(4)},
        "Gemm:1",
    ),
    Rule(
        "matrix product alone",
        fold_bias,
        "(float[B,3] x) => (float[B,4] y) { y = MatMul(x, w) }",
        {"w": floats(3, 4)},
        "Gemm:1",
    ),
    Rule(
        "matrix product and a constant of a row for each item",
        fold_bias,
        "(float[2,3] x) => (float[2,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": floats(3, 4), "b": floats(2, 4)},
        "Add:1,Gemm:1",
    ),
    Rule(
        "matrix product and a column",
        fold_bias,
        "(float[4,3] x) => (float[4,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": floats(3, 4), "b": floats(4, 1)},
        "Add:1,Gemm:1",
    ),
    Rule(
        "matrix product of rank 3",
        fold_bias,
        "(float[B,2,3] x) => (float[B,2,4] y) { c = MatMul(x, w)  y = Add(c, b) }",
        {"w": floats(3, 4), "b": floats(4)},
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
        {"w": floats(4, 3, 3, 3), "b": floats(4), **norm(4)},
        "Conv:1",
    ),
    Rule(
        "norm behind a grouped convolution without bias",
        fold_batch_norm,
        "(float[B,4,6,6] x) => (float[B,4,4,4] y)"
        "{ c = Conv<group=2>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(4, 2, 3, 3), **norm(4)},
        "Conv:1",
    ),
    Rule(
        "norm behind a Gemm",
        fold_batch_norm,
        "(float[B,3] x) => (float[B,4] y) { c = Gemm(x, w, b)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(3, 4), "b": floats(4), **norm(4)},
        "Gemm:1",
    ),
    Rule(
        "norm behind a transposed convolution",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,8,8] y)"
        "{ c = ConvTranspose(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(3, 4, 3, 3), **norm(4)},
        "ConvTranspose:1",
    ),
    Rule(
        "norm behind a grouped transposed convolution",
        fold_batch_norm,
        "(float[B,4,6,6] x) => (float[B,4,8,8] y)"
        "{ c = ConvTranspose<group=2>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(4, 2, 3, 3), **norm(4)},
        None,
    ),
    Rule(
        "norm behind a convolution that is read twice",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y, float[B,4,4,4] z)"
        "{ c = Conv(x, w)  y = BatchNormalization(c, gamma, beta, mean, var)  z = Relu(c) }",
        {"w": floats(4, 3, 3, 3), **norm(4)},
        None,
    ),
    Rule(
        "norm behind a ReLU",
        fold_batch_norm,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y)"
        "{ c = Conv(x, w)  r = Relu(c)  y = BatchNormalization(r, gamma, beta, mean, var) }",
        {"w": floats(4, 3, 3, 3), **norm(4)},
        None,
    ),
    Rule(
        "norm behind a convolution with a computed kernel",
        fold_batch_norm,
        "(float[B,3,6,6] x, float[4,3,3,3] w) => (float[B,4,4,4] y)"
        "{ c = Conv(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        norm(4),
        None,
    ),
    Rule(
        "norm behind a transposed Gemm",
        fold_batch_norm,
        "(float[B,4] x) => (float[B,4] y)"
        "{ c = Gemm<transB=1>(x, w)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(4, 4), **norm(4)},
        None,
    ),
    Rule(
        "norm behind a scaled Gemm",
        fold_batch_norm,
        "(float[B,3] x) => (float[B,4] y)"
        "{ c = Gemm<alpha=0.5, beta=2.0>(x, w, b)  y = BatchNormalization(c, gamma, beta, mean, var) }",
        {"w": floats(3, 4), "b": floats(4), **norm(4)},
        None,
    ),
    # fold_pad
    Rule(
        "zeros before a convolution",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,7,6] y) { p = Pad(x, n)  y = Conv<pads=[0,0,1,1]>(p, w) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 0, 0, 0, 1, 1)},
        "Conv:1",
    ),
    Rule(
        "zeros between a ReLU and a maximum",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y)"
        "{ r = Relu(x)  p = Pad(r, n)  y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        "MaxPool:1,Relu:1",
    ),
    Rule(
        "zeros before a maximum of values of any sign",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y) { p = Pad(x, n)  y = MaxPool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "zeros as wide as the window of a maximum",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,9,9] y)"
        "{ r = Relu(x)  p = Pad(r, n)  y = MaxPool<kernel_shape=[2,2], strides=[1,1]>(p) }",
        {"n": integers(0, 0, 2, 2, 0, 0, 2, 2)},
        None,
    ),
    Rule(
        "zeros before an average",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,3,3] y)"
        "{ p = Pad(x, n)  y = AveragePool<kernel_shape=[3,3], strides=[2,2]>(p) }",
        {"n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        "AveragePool:1",
    ),
    Rule(
        "zeros before an average that is padded without them",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,3,4,4] y)"
        "{ p = Pad(x, n)  y = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(p) }",
        {"n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "zeros before two convolutions",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y, float[B,4,6,6] z) { p = Pad(x, n)  y = Conv(p, w)  z = Conv(p, v) }",
        {"w": floats(4, 3, 3, 3), "v": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        "Conv:2",
    ),
    Rule(
        "zeros behind, cut off in front",
        fold_pad,
        "(float[B,3,5,6] x) => (float[B,4,3,3] y)"
        "{ p = Pad(x, n)  c = Slice(p, s, e, a)  y = Conv<strides=[2,2]>(c, w) }",
        {
            "w": floats(4, 3, 1, 1),
            "n": integers(0, 0, 0, 0, 0, 0, 1, 1),
            "s": integers(1, 1),
            "e": integers(2**62, 2**62),
            "a": integers(2, 3),
        },
        "Conv:1,Slice:1",
    ),
    Rule(
        "zeros behind, cut off behind",
        fold_pad,
        "(float[B,3,5,5] x) => (float[B,4,4,4] y) { p = Pad(x, n)  c = Slice(p, s, e, a)  y = Conv(c, w) }",
        {
            "w": floats(4, 3, 1, 1),
            "n": integers(0, 0, 0, 0, 0, 0, 1, 1),
            "s": integers(1, 1),
            "e": integers(5, 5),
            "a": integers(2, 3),
        },
        None,
    ),
    Rule(
        "another number than zero",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y) { p = Pad(x, n, f)  y = Conv(p, w) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 1, 0, 0, 1, 1), "f": np.float32(2.0)},
        None,
    ),
    Rule(
        "reflection",
        fold_pad,
        '(float[B,3,6,6] x) => (float[B,4,6,6] y) { p = Pad<mode="reflect">(x, n)  y = Conv(p, w) }',
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "channels",
        fold_pad,
        "(float[B,2,6,6] x) => (float[B,4,4,4] y) { p = Pad(x, n)  y = Conv(p, w) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 1, 0, 0, 0, 0, 0, 0)},
        None,
    ),
    Rule(
        "cropping",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,2,2] y) { p = Pad(x, n)  y = Conv(p, w) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, -1, -1, 0, 0, -1, -1)},
        None,
    ),
    Rule(
        "padded value read twice",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,6,6] y, float[B,3,8,8] z) { p = Pad(x, n)  y = Conv(p, w)  z = Relu(p) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 1, 0, 0, 1, 1)},
        None,
    ),
    Rule(
        "convolution that pads by itself",
        fold_pad,
        "(float[B,3,6,6] x) => (float[B,4,4,4] y)"
        '{ p = Pad(x, n)  y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(p, w) }',
        {"w": floats(4, 3, 3, 3), "n": integers(0, 0, 1, 1, 0, 0, 0, 0)},
        None,
    ),
    Rule(
        "zeros, then a Transpose",
        fold_pad,
        "(float[B,6,6,3] x) => (float[B,4,6,6] y) { p = Pad(x, n)  t = Transpose<perm=[0,3,1,2]>(p)  y = Conv(t, w) }",
        {"w": floats(4, 3, 3, 3), "n": integers(0, 1, 1, 0, 0, 1, 1, 0)},
        "Conv:1,Transpose:1",
    ),
    # fold_flatten
    Rule(
        "rows of a Gemm",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w, b) }",
        {"s": integers(0, 24), "w": floats(24, 5), "b": floats(5)},
        "Gemm:1,Reshape:1",
    ),
    Rule(
        "rows of a Gemm, flattened by -1",
        fold_flatten,
        "(float[B,3,4] x) => (float[B,5] y) { t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": integers(-1, 12), "w": floats(12, 5)},
        "Gemm:1,Reshape:1",
    ),
    Rule(
        "flattened value read twice",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,24] z)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w)  z = Relu(r) }",
        {"s": integers(0, 24), "w": floats(24, 5)},
        None,
    ),
    Rule(
        "flattened value that is an output",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,24] r)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": integers(0, 24), "w": floats(24, 5)},
        None,
    ),
    Rule(
        "transposed value read twice",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[B,5] y, float[B,2,4,3] z)"
        "{ t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w)  z = Relu(t) }",
        {"s": integers(0, 24), "w": floats(24, 5)},
        "Gemm:1,Relu:1,Reshape:1,Transpose:1",
    ),
    Rule(
        "the batch moves",
        fold_flatten,
        "(float[2,3,4] x) => (float[3,5] y) { t = Transpose<perm=[1,0,2]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": integers(3, 8), "w": floats(8, 5)},
        None,
    ),
    Rule(
        "tokens, not a vector",
        fold_flatten,
        "(float[B,3,2,4] x) => (float[N,5] y) { t = Transpose<perm=[0,2,3,1]>(x)  r = Reshape(t, s)  y = Gemm(r, w) }",
        {"s": integers(-1, 3), "w": floats(3, 5)},
        None,
    ),
    # swap_reshape
    Rule(
        "shuffled channels",
        swap_reshape,
        "(float[B,2,3,4,5] x) => (float[B,6,4,5] y)"
        "{ t = Transpose<perm=[0,3,4,2,1]>(x)  r = Reshape(t, s)  y = Transpose<perm=[0,3,1,2]>(r) }",
        {"s": integers(0, 4, 5, 6)},
        "Reshape:1,Transpose:1",
    ),
    Rule(
        "split channels, an unknown size that moves",
        swap_reshape,
        "(float[6,4,B] x) => (float[2,3,4,B] y)"
        "{ t = Transpose<perm=[2,1,0]>(x)  r = Reshape(t, s)  y = Transpose<perm=[2,3,1,0]>(r) }",
        {"s": integers(0, 4, 2, 3)},
        "Reshape:1,Transpose:1",
    ),
    Rule(
        "a Transpose that takes the joined axes apart",
        swap_reshape,
        "(float[B,6,4] x) => (float[B,2,4,3] y)"
        "{ t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Transpose<perm=[0,2,1,3]>(r) }",
        {"s": integers(0, 4, 2, 3)},
        None,
    ),
    Rule(
        "a reshaped value read twice",
        swap_reshape,
        "(float[B,6,4] x) => (float[B,2,3,4] y, float[B,4,2,3] z)"
        "{ t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Transpose<perm=[0,2,3,1]>(r)  z = Relu(r) }",
        {"s": integers(0, 4, 2, 3)},
        None,
    ),
    # lift_transpose
    Rule(
        "the parts of a Split",
        lift_transpose,
        "(float[B,4,5,6] x) => (float[B,2,4,5] y, float[B,4,4,5] z)"
        "{ a, b = Split<axis=-1>(x, s)  y = Transpose<perm=[0,3,1,2]>(a)  z = Transpose<perm=[0,3,1,2]>(b) }",
        {"s": integers(2, 4)},
        "Split:1,Transpose:1",
    ),
    Rule(
        "slices that are all of it",
        lift_transpose,
        "(float[B,4,6] x) => (float[B,3,4] y, float[B,3,4] z) { a = Slice(x, o, three, last)  b = Slice(x, three, six,"
        " last)  y = Transpose<perm=[0,2,1]>(a)  z = Transpose<perm=[0,2,1]>(b) }",
        {"o": integers(0), "three": integers(3), "six": integers(6), "last": integers(-1)},
        "Slice:2,Transpose:1",
    ),
    Rule(
        "slices of a small part",
        lift_transpose,
        "(float[B,4,6] x) => (float[B,1,4] y, float[B,1,4] z) { a = Slice(x, o, one, last)  b = Slice(x, one, two,"
        " last)  y = Transpose<perm=[0,2,1]>(a)  z = Transpose<perm=[0,2,1]>(b) }",
        {"o": integers(0), "one": integers(1), "two": integers(2), "last": integers(-1)},
        None,
    ),
    Rule(
        "parts in different orders",
        lift_transpose,
        "(float[B,4,6] x) => (float[B,3,4] y, float[4,B,3] z)"
        "{ a, b = Split<axis=2>(x, s)  y = Transpose<perm=[0,2,1]>(a)  z = Transpose<perm=[1,0,2]>(b) }",
        {"s": integers(3, 3)},
        None,
    ),
    # fold_unflatten
    Rule(
        "columns of a Gemm",
        fold_unflatten,
        "(float[B,5] x) => (float[B,4,2,3] y)"
        "{ g = Gemm(x, w, b)  r = Reshape(g, s)  y = Transpose<perm=[0,3,1,2]>(r) }",
        {"s": integers(-1, 2, 3, 4), "w": floats(5, 24), "b": floats(24)},
        "Gemm:1,Reshape:1",
    ),
    Rule(
        "columns of a Gemm, through activations, one number as its bias",
        fold_unflatten,
        "(float[B,5] x) => (float[B,4,6] y) { g = Gemm(x, w, b)  l = LeakyRelu<alpha=0.2>(g)  t = Tanh(l)"
        "  r = Reshape(t, s)  y = Transpose<perm=[0,2,1]>(r) }",
        {"s": integers(0, 6, 4), "w": floats(5, 24), "b": floats(1)},
        "Gemm:1,LeakyRelu:1,Reshape:1,Tanh:1",
    ),
    Rule(
        "unflattened value read twice",
        fold_unflatten,
        "(float[B,5] x) => (float[B,4,6] y, float[B,6,4] z)"
        "{ g = Gemm(x, w)  r = Reshape(g, s)  y = Transpose<perm=[0,2,1]>(r)  z = Relu(r) }",
        {"s": integers(-1, 6, 4), "w": floats(5, 24)},
        None,
    ),
    Rule(
        "vector read twice",
        fold_unflatten,
        "(float[B,5] x) => (float[B,4,6] y, float[B,24] z)"
        "{ g = Gemm(x, w)  r = Reshape(g, s)  y = Transpose<perm=[0,2,1]>(r)  z = Relu(g) }",
        {"s": integers(-1, 6, 4), "w": floats(5, 24)},
        None,
    ),
    Rule(
        "tokens from a vector",
        fold_unflatten,
        "(float[B,5] x) => (float[N,4,3] y) { g = Gemm(x, w)  r = Reshape(g, s)  y = Transpose<perm=[0,2,1]>(r) }",
        {"s": integers(-1, 3, 4), "w": floats(5, 24)},
        None,
    ),
    Rule(
        "the batch moves behind a Gemm",
        fold_unflatten,
        "(float[2,5] x) => (float[6,2,4] y) { g = Gemm(x, w)  r = Reshape(g, s)  y = Transpose<perm=[1,0,2]>(r) }",
        {"s": integers(2, 6, 4), "w": floats(5, 24)},
        None,
    ),
    Rule(
        "transposed weights",
        fold_flatten,
        "(float[B,3,4] x) => (float[B,12] y)"
        "{ t = Transpose<perm=[0,2,1]>(x)  r = Reshape(t, s)  y = Gemm<transB=1>(r, w) }",
        {"s": integers(0, 12), "w": floats(12, 12)},
        None,
    ),
    # fold_reshape
    Rule(
        "two reshapes",
        fold_reshape,
        "(float[B,6,4] x) => (float[B,2,12] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": integers(0, 24), "b": integers(0, 2, 12)},
        "Reshape:1",
    ),
    Rule(
        "two reshapes, the batch in another place between them",
        fold_reshape,
        "(float[B,4] x) => (float[B,2,2] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": integers(1, -1, 4), "b": integers(-1, 2, 2)},
        "Reshape:1",
    ),
    Rule(
        "two reshapes, whose zeros copy different unknown sizes",
        fold_reshape,
        "(float[B,T,4] x) => (float[M,2,2] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": integers(-1, 4), "b": integers(0, 2, 2)},
        "Reshape:1",
    ),
    Rule(
        "a concatenation that two others read",
        fold_concat,
        "(float[B,2,4] x, float[B,3,4] z) => (float[B,7,4] y, float[B,10,4] u) "
        "{ c = Concat<axis=1>(x, z)  y = Concat<axis=-2>(x, c)  u = Concat<axis=1>(c, c) }",
        {},
        "Concat:2",
    ),
    Rule(
        "two reshapes, whose zeros copy unknown sizes without a name",
        fold_reshape,
        "(float[B,T,4] x) => (float[M,1,2,2] y) { s = Concat<axis=0>(x, x)  r = Reshape(s, a)  y = Reshape(r, b) }",
        {"a": integers(-1, 2, 2, 1), "b": integers(0, 1, 2, 2)},
        "Concat:1,Reshape:1",
    ),
    Rule(
        "two reshapes, of which the second has a -1 and copies a size that the first one makes",
        fold_reshape,
        "(float[B,T,4] x) => (float[M,2,2] y) { r = Reshape(x, a)  y = Reshape(r, b) }",
        {"a": integers(-1, 4), "b": integers(0, -1, 2)},
        None,
    ),
    Rule(
        "a reshape to the same shape",
        fold_reshape,
        "(float[B,6,4] x) => (float[B,6,4] y) { r = Reshape(x, a)  y = Relu(r) }",
        {"a": integers(0, 6, 4)},
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
    Rule(
        "an activation between two reshapes",
        fold_reshape,
        "(float[B,12] x) => (float[B,3,4] y) { a = Reshape(x, s)  b = Sigmoid(a)  y = Reshape(b, t) }",
        {"s": integers(0, 12, 1), "t": integers(0, 3, 4)},
        "Reshape:1,Sigmoid:1",
    ),
    Rule(
        "an activation that others read between two reshapes",
        fold_reshape,
        "(float[B,12] x) => (float[B,3,4] y, float[B,12,1] z) {"
        "a = Reshape(x, s)  b = Sigmoid(a)  y = Reshape(b, t)  z = Relu(b) }",
        {"s": integers(0, 12, 1), "t": integers(0, 3, 4)},
        None,
    ),
]


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules(rule: Rule) -> None:
    check_rule(rule)


def test_clean_leaves_nothing_for_a_second_round() -> None:
    model = graph(
        "(float[B,6,6,3] x) => (float[B,5] y) {"
        "p = Pad(x, n)  t = Transpose<perm=[0,3,1,2]>(p)  c = Conv(t, w)  d = Add(c, b)"
        "e = BatchNormalization(d, gamma, beta, mean, var)  f = Transpose<perm=[0,2,3,1]>(e)"
        "g = Reshape(f, s)  h = MatMul(g, v)  y = Add(h, u) }",
        {
            "n": integers(0, 1, 1, 0, 0, 1, 1, 0),
            "w": floats(4, 3, 3, 3),
            "b": floats(1, 4, 1, 1),
            "s": integers(0, 144),
            "v": floats(144, 5),
            "u": floats(5),
            **norm(4),
        },
    )
    (expected,) = execute(model)
    clean(model)
    assert [node.op_type for node in model.graph] == ["Transpose", "Conv", "Reshape", "Gemm"]
    np.testing.assert_allclose(execute(model)[0], expected, atol=1e-4)
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
    found = per_channel(floats(*shape), 4, 4)
    assert (found is not None) == expected
    assert found is None or found.shape == (4,)
