"""Batch, layer, group, root-mean-square and unit normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers

from converters import layout
from converters.builder import Builder, Tensor, elements
from converters.keras_internals import nn
from converters.lowerings.broadcasting import Operand, cast, elementwise, unary
from converters.lowerings.linalg import norm
from converters.lowerings.reduction import axes_of, reduce
from converters.registry import lowers


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


def _wide(x: Tensor) -> str:
    """The dtype in which Keras normalizes: float32 at least."""
    return "float32" if x.dtype.kind != "f" or x.dtype.itemsize < 4 else str(x.dtype)


def _variance(g: Builder, x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """What is left of ``x`` without its mean, and the mean of its squares; axes stay, of size 1."""
    centred = elementwise(g, "Sub", x, reduce(g, "ReduceMean", x, axes, keepdims=True))
    return centred, reduce(g, "ReduceMean", elementwise(g, "Mul", centred, centred), axes, keepdims=True)


@lowers(nn.LayerNorm)
def layer_norm(g: Builder, op: Any, x: Tensor, gamma: Operand | None = None, beta: Operand | None = None) -> Tensor:
    """Ba et al. 2016 over any axes, which ONNX's LayerNormalization wants last physically."""
    axes = axes_of(op.axis, x.rank)
    high, dtype = _wide(x), g.out.dtype
    x = cast(g, x, high)
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    if isinstance(gamma, Tensor) or isinstance(beta, Tensor) or op.rms_scaling:
        return cast(g, _decomposed(g, op, x, axes, gamma, beta, epsilon), dtype)
    shape = [int(x.shape[axis] or 0) for axis in axes]
    scale = np.ones(shape, high) if gamma is None else np.asarray(gamma, high).reshape(shape)
    bias = None if beta is None else g.constant(np.asarray(beta, high).reshape(shape), "beta")
    last = g.arrange(x, (*(axis for axis in range(x.rank) if axis not in axes), *axes))
    first = x.rank - len(axes)
    value = g.op("LayerNormalization", last.value, g.constant(scale, "gamma"), bias, axis=first, epsilon=epsilon)
    # a map goes back to where it lay: what follows are convolutions, or Dense layers that become 1x1 convolutions
    return g.arrange(cast(g, Tensor(value, last.order), dtype), x.order if x.rank > 3 else last.order)


def _decomposed(g: Builder, op: Any, x: Tensor, axes: list[int], gamma: Any, beta: Any, epsilon: float) -> Tensor:
    """The formula spelled out; with ``rms_scaling`` Keras divides x by its deviation as it is, and adds no beta."""
    shape = tuple(x.shape[a] if a in axes else 1 for a in range(x.rank))

    def along(value: Any) -> Any:
        return g.reshape(value, shape) if isinstance(value, Tensor) else np.asarray(value).reshape(shape)

    centred, variance = _variance(g, x, axes)
    deviation = unary(g, "Sqrt", elementwise(g, "Add", variance, epsilon))
    y = elementwise(g, "Div", x if op.rms_scaling else centred, deviation)
    if gamma is not None:
        y = elementwise(g, "Mul", y, along(gamma), dtype=str(x.dtype))
    if beta is None or op.rms_scaling:
        return y
    return elementwise(g, "Add", y, along(beta), dtype=str(x.dtype))


@lowers(layers.GroupNormalization)
def group_norm(g: Builder, layer: Any, x: Tensor, **options: Any) -> Tensor:
    """Wu and He 2018: an InstanceNormalization of (batch, group, the rest), then gamma and beta over channels.

    Lowered as a layer: opened, it is fifteen operations. A group for each channel is one InstanceNormalization.

    ONNX's GroupNormalization is not used: its shape inference gives no shape, and that of opset 18 to 20 has other
    weights.
    """
    axis, high, own = layer.axis % x.rank, _wide(x), str(x.dtype)
    x = cast(g, x, high)
    order = x.order if x.order[0] == 0 and x.axis(axis) == 1 else layout.channels_first(x.rank, axis)
    x = g.arrange(x, order)
    x = Tensor(x.value, layout.identity(x.rank))  # from here on as it lies
    batch, channels, *rest = x.shape
    groups = layer.groups
    gamma = np.asarray(layer.gamma, high) if layer.scale else np.ones(channels or 0, high)
    beta = np.asarray(layer.beta, high) if layer.center else np.zeros(channels or 0, high)
    if groups == channels and rest:
        value = g.op("InstanceNormalization", x.value, gamma, beta, epsilon=float(layer.epsilon))
        return cast(g, cast(g, Tensor(value, order), own), g.out.dtype)
    size = (channels or 0) // groups
    one, zero = np.ones(groups, high), np.zeros(groups, high)
    several = rest.count(None) > 1  # only the graph knows how to take them apart again
    if several:
        grouped = Tensor(g.op("Reshape", x.value, np.asarray([0, groups, -1], np.int64)), layout.identity(3))
    else:
        grouped = g.reshape(x, (batch, groups, *((size, *rest) if None in rest else (size * elements(rest),))))
    value = g.op("InstanceNormalization", grouped.value, one, zero, epsilon=float(layer.epsilon))
    if several:
        y = Tensor(g.op("Reshape", value, g.op("Shape", x.value)), x.order)
        y.value.shape = x.value.shape
    else:
        y = g.reshape(Tensor(value, grouped.order), x.shape)
    over = (-1, *[1] * len(rest))
    y = elementwise(g, "Mul", y, gamma.reshape(over)) if layer.scale else y
    y = elementwise(g, "Add", y, beta.reshape(over)) if layer.center else y
    return cast(g, cast(g, Tensor(y.value, order), own), g.out.dtype)


@lowers(nn.RMSNorm)
def rms_norm(g: Builder, op: Any, x: Tensor, scale: Operand | None = None) -> Tensor:
    """X / sqrt(mean(x^2) + epsilon) * scale, in float32 at least (Zhang and Sennrich 2019).

    ONNX has it from opset 23 on, with a constant scale and over the last axes; where these lie elsewhere, elementwise
    nodes cost less than two Transposes.
    """
    high, axes = _wide(x), axes_of(op.axis, x.rank)
    wide = cast(g, x, high)
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    sizes = [size for axis in axes if (size := x.shape[axis]) is not None]
    lies_last = list(x.order[x.rank - len(axes) :]) == axes
    if g.opset >= 23 and lies_last and not isinstance(scale, Tensor) and len(sizes) == len(axes):
        gamma = np.ones(sizes, high) if scale is None else np.broadcast_to(np.asarray(scale, high), sizes)
        value = g.op("RMSNormalization", wide.value, gamma, axis=x.rank - len(axes), epsilon=epsilon)
        return cast(g, Tensor(value, x.order), g.out.dtype)
    mean = reduce(g, "ReduceMean", elementwise(g, "Mul", wide, wide), axes, keepdims=True)
    y = elementwise(g, "Div", wide, unary(g, "Sqrt", elementwise(g, "Add", mean, epsilon)))
    return cast(g, y if scale is None else elementwise(g, "Mul", y, scale, dtype=high), g.out.dtype)


@lowers(nn.Moments)
def moments(g: Builder, op: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and mean of squared deviations; in half precision no larger than its largest number."""
    axes, dtype, narrow = axes_of(op.axes, x.rank), g.out.dtype, x.dtype.itemsize == 2
    x = cast(g, x, _wide(x))
    mean = reduce(g, "ReduceMean", x, axes, keepdims=True)
    centred = elementwise(g, "Sub", x, mean)
    variance = reduce(g, "ReduceMean", elementwise(g, "Mul", centred, centred), axes, keepdims=op.keepdims)
    if not op.keepdims:
        mean = g.reshape(mean, tuple(size for axis, size in enumerate(x.shape) if axis not in axes))
    if narrow:
        bounds = [g.scalar(bound, mean) for bound in (-65504.0, 65504.0)]
        mean, variance = (Tensor(g.op("Clip", y.value, *bounds), y.order) for y in (mean, variance))
    return cast(g, mean, dtype), cast(g, variance, dtype)


@lowers(nn.Normalize)
def normalize(g: Builder, op: Any, x: Tensor) -> Tensor:
    """X / max(norm(x), epsilon)."""
    epsilon = float(op.epsilon) if op.epsilon is not None else 1e-7
    x = cast(g, x, g.out.dtype)
    axes = axes_of(op.axis, x.rank) if op.order == 2 else _axes(op.axis, x.rank)
    length = norm(g, x, None if op.order == 2 else op.order, axes, keepdims=True)
    return elementwise(g, "Div", x, elementwise(g, "Max", length, epsilon))


def _axes(axis: Any, rank: int) -> list[int]:
    """Axes in the order given: a matrix norm's rows come first."""
    return list(range(rank)) if axis is None else [a % rank for a in ([axis] if isinstance(axis, int) else axis)]
