"""Activation functions. Formulas are Keras's own (keras.activations); where ONNX has the function it is one node."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import layers

from converters.builder import Array, Builder, Tensor
from converters.keras_internals import activations, nn
from converters.lowerings.broadcasting import cast, elementwise, select, unary
from converters.lowerings.reduction import reduce
from converters.lowerings.sorting import top
from converters.registry import lowers

_ONE_NODE = {nn.Sigmoid: "Sigmoid", nn.Softplus: "Softplus", nn.Softsign: "Softsign"}


@lowers(*_ONE_NODE)
def one_node(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, _ONE_NODE[type(op)], cast(g, x, g.out.dtype))


@lowers(nn.Relu)
def relu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """ONNX Runtime has Relu for floats, int8 and int32; unsigned integers are never negative."""
    if x.dtype.kind in "ub":
        return cast(g, x, g.out.dtype)
    if x.dtype == np.int64:
        return elementwise(g, "Max", x, 0)
    kind = "int32" if x.dtype == np.int16 else g.out.dtype
    return cast(g, unary(g, "Relu", cast(g, x, kind)), g.out.dtype)


def _clip(g: Builder, x: Tensor, low: float | None, high: float | None) -> Tensor:
    bounds = [None if bound is None else g.scalar(bound, x) for bound in (low, high)]
    return Tensor(g.op("Clip", x.value, *bounds), x.order)


@lowers(nn.Relu6)
def relu6(g: Builder, op: Any, x: Tensor) -> Tensor:
    return _clip(g, x, 0.0, 6.0)


@lowers(activations.ReLU)
def relu_with_arguments(g: Builder, op: Any, x: Tensor) -> Tensor:
    """keras.layers.ReLU and keras.activations.relu with their arguments.

    f(x) = max_value for x >= max_value, x for threshold <= x < max_value, negative_slope * (x - threshold) below.
    """
    slope, high, threshold = float(op.negative_slope), op.max_value, float(op.threshold)
    if threshold == 0.0 and slope == 0.0:
        return unary(g, "Relu", x) if high is None else _clip(g, x, 0.0, float(high))
    if threshold == 0.0:
        y = unary(g, "LeakyRelu", x, alpha=slope)
    else:
        kept = x if high is None else _clip(g, x, 0.0, float(high))
        below = elementwise(g, "Mul", elementwise(g, "Sub", x, threshold), slope).value if slope else g.scalar(0.0, x)
        return Tensor(g.op("Where", elementwise(g, "Greater", x, threshold).value, kept.value, below), x.order)
    return y if high is None else _clip(g, y, None, float(high))


@lowers(activations.Mish)
def mish(g: Builder, op: Any, x: Tensor) -> Tensor:
    """X * tanh(softplus(x)), Misra 2019."""
    return elementwise(g, "Mul", x, unary(g, "Tanh", unary(g, "Softplus", x)))


@lowers(nn.Silu)
def silu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """X * sigmoid(x), Elfwing et al. 2017; ONNX has it as Swish from opset 24 on."""
    if g.opset >= 24:
        return unary(g, "Swish", x)
    return elementwise(g, "Mul", x, unary(g, "Sigmoid", x))


@lowers(nn.LeakyRelu)
def leaky_relu(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "LeakyRelu", x, alpha=float(op.negative_slope))


@lowers(layers.PReLU)
def prelu(g: Builder, layer: Any, x: Tensor, **options: Any) -> Tensor:
    """He et al. 2015, a slope for each element but along the shared axes; opened, it would be five nodes."""
    x = cast(g, x, g.out.dtype)
    slope = np.asarray(layer.alpha, g.out.dtype)[None].transpose(x.order)
    return Tensor(g.op("PRelu", x.value, slope), x.order)


@lowers(nn.Elu)
def elu(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Elu", x, alpha=float(op.alpha))


@lowers(nn.Celu)
def celu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """ONNX's Celu is for float32 alone."""
    return cast(g, unary(g, "Celu", cast(g, x, "float32"), alpha=float(op.alpha)), g.out.dtype)


@lowers(nn.Selu)
def selu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Klambauer et al. 2017, equation 2; the constants are ONNX's defaults too."""
    return unary(g, "Selu", x, alpha=1.6732632423543772, gamma=1.0507009873554805)


@lowers(nn.HardSigmoid)
def hard_sigmoid(g: Builder, op: Any, x: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return unary(g, "HardSigmoid", x, alpha=1.0 / 6.0, beta=0.5)


@lowers(nn.HardSilu)
def hard_silu(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "HardSwish", x)


@lowers(nn.LogSigmoid)
def log_sigmoid(g: Builder, op: Any, x: Tensor) -> Tensor:
    """-softplus(-x), which does not underflow."""
    return unary(g, "Neg", unary(g, "Softplus", unary(g, "Neg", x)))


@lowers(nn.Gelu)
def gelu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """Hendrycks and Gimpel 2016: x * (1 + erf(x / sqrt 2)) * 0.5, or its tanh approximation.

    ONNX has Gelu from opset 20 on; before, these five nodes in this form are what ONNX Runtime and TensorRT fuse.
    """
    if g.opset >= 20:
        return unary(g, "Gelu", x, approximate="tanh" if op.approximate else "none")
    if op.approximate:
        cubic = elementwise(g, "Mul", elementwise(g, "Mul", elementwise(g, "Mul", x, x), x), 0.044715)
        inner = elementwise(g, "Mul", elementwise(g, "Add", x, cubic), math.sqrt(2.0 / math.pi))
        bounded = unary(g, "Tanh", inner)
    else:
        bounded = unary(g, "Erf", elementwise(g, "Div", x, math.sqrt(2.0)))
    return elementwise(g, "Mul", elementwise(g, "Mul", x, elementwise(g, "Add", bounded, 1.0)), 0.5)


@lowers(nn.HardTanh)
def hard_tanh(g: Builder, op: Any, x: Tensor) -> Tensor:
    return _clip(g, x, -1.0, 1.0)


@lowers(nn.Threshold)
def threshold(g: Builder, op: Any, x: Tensor) -> Tensor:
    """X where it is above the threshold, else the default value."""
    keep = elementwise(g, "Greater", x, op.threshold)
    return Tensor(g.op("Where", keep.value, x.value, g.scalar(op.default_value, x)), x.order)


@lowers(nn.Squareplus)
def squareplus(g: Builder, op: Any, x: Tensor) -> Tensor:
    """(x + sqrt(x^2 + b)) / 2, Barron 2021."""
    root = unary(g, "Sqrt", elementwise(g, "Add", elementwise(g, "Mul", x, x), op.b))
    return elementwise(g, "Mul", elementwise(g, "Add", x, root), 0.5)


@lowers(nn.SparseSigmoid)
def sparse_sigmoid(g: Builder, op: Any, x: Tensor) -> Tensor:
    """(x + 1) / 2 clipped to 0 and 1."""
    return unary(g, "HardSigmoid", x, alpha=0.5, beta=0.5)


@lowers(nn.SparsePlus)
def sparse_plus(g: Builder, op: Any, x: Tensor) -> Tensor:
    """0 up to -1, (x + 1)^2 / 4 up to 1, x beyond."""
    lifted = elementwise(g, "Add", _clip(g, x, -1.0, 1.0), 1.0)
    curve = elementwise(g, "Mul", elementwise(g, "Mul", lifted, lifted), 0.25)
    return Tensor(g.op("Where", elementwise(g, "Less", x, 1.0).value, curve.value, x.value), x.order)


@lowers(nn.TanhShrink)
def tanh_shrink(g: Builder, op: Any, x: Tensor) -> Tensor:
    return elementwise(g, "Sub", x, unary(g, "Tanh", x))


@lowers(nn.SoftShrink)
def soft_shrink(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Shrink", x, lambd=float(op.threshold), bias=float(op.threshold))


@lowers(nn.HardShrink)
def hard_shrink(g: Builder, op: Any, x: Tensor) -> Tensor:
    return unary(g, "Shrink", x, lambd=float(op.threshold), bias=0.0)


@lowers(nn.Softmax, nn.LogSoftmax)
def softmax(g: Builder, op: Any, x: Tensor) -> Tensor:
    op_type = "Softmax" if isinstance(op, nn.Softmax) else "LogSoftmax"
    axes = [op.axis] if isinstance(op.axis, int) else list(range(x.rank) if op.axis is None else op.axis)
    if len(axes) == 1:
        return Tensor(g.op(op_type, x.value, axis=x.axis(axes[0])), x.order)
    # several axes: subtract the maximum, exponentiate, divide by the sum
    where = g.axes(x, axes)
    shifted = elementwise(g, "Sub", x, Tensor(g.op("ReduceMax", x.value, where, keepdims=1), x.order))
    power = unary(g, "Exp", shifted)
    total = Tensor(g.op("ReduceSum", power.value, where, keepdims=1), x.order)
    if op_type == "Softmax":
        return elementwise(g, "Div", power, total)
    return elementwise(g, "Sub", shifted, unary(g, "Log", total))


@lowers(nn.Sparsemax)
def sparsemax(g: Builder, op: Any, x: Tensor) -> Tensor:
    """max(x - tau, 0), Martins and Astudillo 2016, with the tau that Keras computes.

    Over the sorted values z and their running sums s, the support is where z_i > (s_i - 1) / i. The paper's tau is
    (s_k - 1) / k of its last member; Keras's adds up all the sums of the support, and the numbers shall be Keras's.
    """
    if x.dtype == np.float16:  # ONNX Runtime has no CumSum of it
        return cast(g, sparsemax(g, op, cast(g, x, "float32")), "float16")
    axis, size = op.axis % x.rank, x.shape[op.axis]
    place = np.asarray(x.axis(axis), np.int64)
    z, _ = top(g, x, axis, None, largest=True)
    sums = Tensor(g.op("CumSum", z.value, place), x.order)
    ranks: Tensor | Array
    if size is None:
        ones = cast(g, elementwise(g, "Equal", x, x), str(x.dtype))
        ranks = Tensor(g.op("CumSum", ones.value, place), x.order)
    else:
        ranks = np.arange(1, size + 1, dtype=x.dtype).reshape([-1 if a == axis else 1 for a in range(x.rank)])
    mean = elementwise(g, "Div", elementwise(g, "Sub", sums, 1.0), ranks)
    support = elementwise(g, "Greater", elementwise(g, "Sub", z, mean), 0.0)
    total = reduce(g, "ReduceSum", select(g, support, sums, 0.0, str(x.dtype)), [axis], keepdims=True)
    count = reduce(g, "ReduceSum", cast(g, support, str(x.dtype)), [axis], keepdims=True)
    tau = elementwise(g, "Div", elementwise(g, "Sub", total, 1.0), count)
    return unary(g, "Relu", elementwise(g, "Sub", x, tau))


@lowers(nn.Glu)
def glu(g: Builder, op: Any, x: Tensor) -> Tensor:
    """A * sigmoid(b) over the two halves of an axis (Dauphin et al. 2017)."""
    axis = op.axis % x.rank
    size = x.shape[axis]
    assert size is not None
    halves = np.asarray([size // 2, size - size // 2], np.int64)
    a, b = (Tensor(v, x.order) for v in g.op("Split", x.value, halves, outputs=2, axis=x.axis(axis)))
    return elementwise(g, "Mul", a, unary(g, "Sigmoid", b))
