"""Batch and layer normalization."""

from __future__ import annotations

from typing import Any

import numpy as np

from converters import layout
from converters.keras_internals import nn
from converters.lowering import Builder, Tensor
from converters.lowerings.broadcasting import Operand, cast, elementwise, unary
from converters.lowerings.reduction import axes_of, reduce
from converters.registry import lowers
from deploy.errors import ConversionError


@lowers(nn.BatchNorm)
def batch_norm(
    g: Builder,
    op: Any,
    x: Tensor,
    mean: Operand,
    variance: Operand,
    offset: Operand | None = None,
    scale: Operand | None = None,
) -> Tensor:
    """Scale * (x - mean) / sqrt(variance + epsilon) + offset: one BatchNormalization where all four are constant."""
    axis = op.axis % x.rank
    constants = [v for v in (mean, variance, offset, scale) if v is not None]
    if any(isinstance(v, Tensor) for v in constants) or axis == 0:
        return _computed(g, op, x, mean, variance, offset, scale)
    dtype = g.out.dtype
    arrays = [np.asarray(v, dtype) for v in constants if not isinstance(v, Tensor)]
    size = arrays[0].shape
    beta = np.zeros(size, dtype) if offset is None else np.asarray(offset, dtype)
    gamma = np.ones(size, dtype) if scale is None else np.asarray(scale, dtype)
    x = cast(g, x, dtype)
    order = x.order if x.order[0] == 0 and x.axis(axis) == 1 else layout.channels_first(x.rank, axis)
    x = g.arrange(x, order)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    inputs = [g.constant(v, n) for v, n in zip((gamma, beta, arrays[0], arrays[1]), names, strict=True)]
    return Tensor(g.op("BatchNormalization", x.value, *inputs, epsilon=float(op.epsilon)), order)


def _computed(g: Builder, op: Any, x: Tensor, mean: Any, variance: Any, offset: Any, scale: Any) -> Tensor:
    """Statistics that the model computes, elementwise."""
    axis = op.axis % x.rank
    shape = tuple(x.shape[axis] if a == axis else 1 for a in range(x.rank))

    def along(value: Any) -> Any:
        return g.reshape(value, shape) if isinstance(value, Tensor) else np.asarray(value).reshape(shape)

    deviation = unary(g, "Sqrt", elementwise(g, "Add", _tensor(g, along(variance)), float(op.epsilon)))
    y = elementwise(g, "Div", elementwise(g, "Sub", x, along(mean)), deviation)
    if scale is not None:
        y = elementwise(g, "Mul", y, along(scale))
    return y if offset is None else elementwise(g, "Add", y, along(offset))


def _tensor(g: Builder, value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(g.constant(value), layout.identity(value.ndim))


@lowers(nn.LayerNorm)
def layer_norm(g: Builder, op: Any, x: Tensor, gamma: Operand | None = None, beta: Operand | None = None) -> Tensor:
    """Ba et al. 2016 over the last axes, which ONNX's LayerNormalization wants last physically too."""
    axes = [op.axis] if isinstance(op.axis, int) else list(op.axis)
    axes = sorted(axis % x.rank for axis in axes)
    dtype = g.out.dtype
    x = cast(g, x, dtype)
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    contiguous = axes == list(range(x.rank - len(axes), x.rank))
    constant = not isinstance(gamma, Tensor) and not isinstance(beta, Tensor)
    if not contiguous or not constant or op.rms_scaling:
        return _decomposed(g, op, x, axes, gamma, beta, epsilon)
    shape = [int(x.shape[axis] or 0) for axis in axes]
    scale = np.ones(shape, dtype) if gamma is None else np.asarray(gamma, dtype).reshape(shape)
    bias = None if beta is None else g.constant(np.asarray(beta, dtype).reshape(shape), "beta")
    x = g.identity(x)
    value = g.op("LayerNormalization", x.value, g.constant(scale, "gamma"), bias, axis=axes[0], epsilon=epsilon)
    return Tensor(value, x.order)


@lowers(nn.RMSNorm)
def rms_norm(g: Builder, op: Any, x: Tensor, scale: Operand | None = None) -> Tensor:
    """X / sqrt(mean(x^2) + epsilon) * scale, in float32 at least (Zhang and Sennrich 2019)."""
    high = "float32" if x.dtype.itemsize < 4 else str(x.dtype)
    wide = cast(g, x, high)
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    mean = reduce(g, "ReduceMean", elementwise(g, "Mul", wide, wide), axes_of(op.axis, x.rank), keepdims=True)
    y = elementwise(g, "Div", wide, unary(g, "Sqrt", elementwise(g, "Add", mean, epsilon)))
    return cast(g, y if scale is None else elementwise(g, "Mul", y, scale, dtype=high), g.out.dtype)


@lowers(nn.Moments)
def moments(g: Builder, op: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and mean of squared deviations."""
    axes, dtype = axes_of(op.axes, x.rank), g.out.dtype
    x = cast(g, x, "float32") if x.dtype.itemsize < 4 else x
    mean = reduce(g, "ReduceMean", x, axes, keepdims=True)
    centred = elementwise(g, "Sub", x, mean)
    variance = reduce(g, "ReduceMean", elementwise(g, "Mul", centred, centred), axes, keepdims=op.keepdims)
    if not op.keepdims:
        mean = g.reshape(mean, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))
    return cast(g, mean, dtype), cast(g, variance, dtype)


@lowers(nn.Normalize)
def normalize(g: Builder, op: Any, x: Tensor) -> Tensor:
    """X / max(norm(x), epsilon), for orders 1 and 2 of the norm."""
    op_type = {1: "ReduceL1", 2: "ReduceL2"}.get(op.order)
    if op_type is None:
        raise ConversionError(
            f"a norm of order {op.order} has no lowering", where=g.where, expected="order 1 or 2", fix="use keras.ops"
        )
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    x = cast(g, x, g.out.dtype)
    norm = reduce(g, op_type, x, axes_of(op.axis, x.rank), keepdims=True)
    return elementwise(g, "Div", x, elementwise(g, "Max", norm, epsilon))


def _decomposed(g: Builder, op: Any, x: Tensor, axes: list[int], gamma: Any, beta: Any, epsilon: float) -> Tensor:
    shape = tuple(x.shape[a] if a in axes else 1 for a in range(x.rank))

    def along(value: Any) -> Any:
        return g.reshape(value, shape) if isinstance(value, Tensor) else np.asarray(value).reshape(shape)

    def mean(value: Tensor) -> Tensor:
        return Tensor(g.op("ReduceMean", value.value, g.axes(value, axes), keepdims=1), value.order)

    centred = x if op.rms_scaling else elementwise(g, "Sub", x, mean(x))
    variance = mean(elementwise(g, "Mul", centred, centred))
    y = elementwise(g, "Div", centred, unary(g, "Sqrt", elementwise(g, "Add", variance, epsilon)))
    if gamma is not None:
        y = elementwise(g, "Mul", y, along(gamma))
    return y if beta is None else elementwise(g, "Add", y, along(beta))
