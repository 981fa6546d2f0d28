"""Unknown sizes that a node keeps or multiplies, by name: ONNX's own inference leaves them without one.

A size without a name is equal to no other, so a later reshape or broadcast could not see that it is the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import onnx_ir as ir

from converters.size_names import multiple

Dims = Sequence[int | ir.SymbolicDim]


def named(node: ir.Node, shape: ir.Shape) -> ir.Shape:
    """The shape of a node's first output, with the names that its first input gives to unknown sizes."""
    source = node.inputs[0] if node.inputs else None
    factors_of = _FACTORS.get(node.op_type)
    if factors_of is None or source is None or source.shape is None or len(source.shape) != len(shape):
        return shape
    sizes = list(shape)
    for axis, (factor, old) in enumerate(zip(factors_of(node), source.shape, strict=False)):
        size = sizes[axis]
        if factor and not isinstance(size, int) and size.value is None and not isinstance(old, int):
            sizes[axis] = ir.SymbolicDim(multiple(old.value, factor))
    return ir.Shape(sizes)


def _constant(node: ir.Node, index: int) -> list[float] | None:
    value = node.inputs[index] if index < len(node.inputs) else None
    return None if value is None or value.const_value is None else value.const_value.numpy().tolist()


def _repeats(index: int) -> Any:
    def factors(node: ir.Node) -> Iterator[int]:
        """What each axis is multiplied by; 0 for no whole number."""
        for factor in _constant(node, index) or ():
            yield int(factor) if float(factor).is_integer() else 0

    return factors


def _windows(node: ir.Node) -> Iterator[int]:
    """1 for the batch and for each axis that windows of stride 1 are padded to keep; 0 for the channels and others."""
    yield from (1, 0)
    kernel = node.inputs[1].shape if node.op_type == "Conv" and node.inputs[1] is not None else None
    window = list(kernel)[2:] if kernel is not None else list(node.attributes.get_ints("kernel_shape", ()))
    count = len(window)
    strides, dilations = (node.attributes.get_ints(name, (1,) * count) for name in ("strides", "dilations"))
    pads = node.attributes.get_ints("pads", (0,) * 2 * count)
    for axis, size in enumerate(window):
        whole = isinstance(size, int) and pads[axis] + pads[axis + count] == (size - 1) * dilations[axis]
        yield int(whole and strides[axis] == 1)


def _blocks(node: ir.Node) -> Iterator[int]:
    size = node.attributes.get_int("blocksize", 1)
    yield from (1, 0, size, size)


def _borders(node: ir.Node) -> Iterator[int]:
    """1 for each axis that a Pad leaves alone."""
    widths = _constant(node, 1) or []
    for before, after in zip(widths, widths[len(widths) // 2 :], strict=False):
        yield int(before == after == 0)


_FACTORS: dict[str, Any] = {
    "Resize": _repeats(2),
    "Tile": _repeats(1),
    "Conv": _windows,
    "MaxPool": _windows,
    "AveragePool": _windows,
    "DepthToSpace": _blocks,
    "Pad": _borders,
}
