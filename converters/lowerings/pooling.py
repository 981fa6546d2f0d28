"""Maximum and average pooling of one to three dimensions; both data formats."""

from __future__ import annotations

from typing import Any

from converters import layout
from converters.keras_internals import nn
from converters.lowering import Builder, Tensor
from converters.lowerings.convolution import channel_axis, padding, per_axis
from converters.registry import lowers


@lowers(nn.MaxPool, nn.AveragePool)
def pool(g: Builder, op: Any, inputs: Tensor) -> Tensor:
    """Padding is never counted in an average, in Keras as in ONNX's default."""
    count = inputs.rank - 2
    order = layout.channels_first(inputs.rank, channel_axis(op, inputs.rank))
    x = g.arrange(inputs, order)
    window = per_axis(op.pool_size, count)
    strides = per_axis(op.strides, count) if op.strides is not None else window
    value = g.op(
        "MaxPool" if isinstance(op, nn.MaxPool) else "AveragePool",
        x.value,
        kernel_shape=window,
        strides=strides,
        **padding(g, op.padding, [x.shape[axis] for axis in order[2:]], window, strides),
    )
    return Tensor(value, order)
