"""Moving pixels between channels and places."""

from __future__ import annotations

from typing import Any

from converters import layout
from converters.builder import Builder, Tensor
from converters.keras_internals import nn
from converters.lowerings.convolution import channel_axis
from converters.registry import lowers


@lowers(nn.DepthToSpace, nn.SpaceToDepth)
def depth_space(g: Builder, op: Any, x: Tensor) -> Tensor:
    """ONNX's DCR mode is TensorFlow's order of channels."""
    order = layout.channels_first(4, channel_axis(op, 4))
    x = g.arrange(x, order)
    if isinstance(op, nn.DepthToSpace):
        return Tensor(g.op("DepthToSpace", x.value, blocksize=int(op.block_size), mode="DCR"), order)
    return Tensor(g.op("SpaceToDepth", x.value, blocksize=int(op.block_size)), order)
