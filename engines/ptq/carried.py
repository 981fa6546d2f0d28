"""How a recipe carries what was repaired, and how it gets into the graph again.

1. ``equalized``: what makes a value is divided by the factors of its channels (`engines.ptq.equalize`).
2. ``bias`` of an INT8 layer: takes the place of the graph's own, after 1.
3. ``rounding`` of an INT8 layer: the steps from the nearest integer that each weight takes, with a checksum of the
   integers. The graph's weight becomes integers times scales, which any quantizer rounds to these integers.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from deploy.errors import BuildError
from engines.apply.placement import quantize
from engines.graphs import weights_of
from engines.ptq.equalize import equalize, replace_constant
from engines.recipe import INT8_MAXIMUM, LayerPrecision, Recipe


def write_repairs(model: ir.Model, recipe: Recipe) -> None:
    """Writes a recipe's repairs into its FP32 graph, in place. Raises BuildError where they are for another one."""
    equalize(model, recipe.equalized)
    layers = {layer.name: layer for layer in recipe.layers if layer.precision == "int8"}
    for node in model.graph:
        layer = layers.get(node.name or "")
        if layer is not None and layer.bias:
            _write_bias(model, node, layer)
        if layer is not None and layer.rounding:
            _write_rounding(model, node, layer)


def _write_bias(model: ir.Model, node: ir.Node, layer: LayerPrecision) -> None:
    old = node.inputs[2] if len(node.inputs) > 2 else None
    weights = weights_of(node)
    if old is None or weights is None or weights.array.shape[weights.axis] != len(layer.bias):
        raise BuildError(
            "the recipe has a bias that does not fit",
            where=f"layer {layer.name}",
            expected=f"{weights.array.shape[weights.axis] if weights and old else 'no'} numbers",
            found=f"{len(layer.bias)}",
            fix="leave the bias out of the recipe, or make the recipe again from this model",
        )
    replace_constant(model, node, 2, np.asarray(layer.bias))


def _write_rounding(model: ir.Model, node: ir.Node, layer: LayerPrecision) -> None:
    weights = weights_of(node)
    if weights is None:
        return
    along = [1] * weights.array.ndim
    along[weights.axis] = -1
    scale = np.asarray(layer.weight_scales, np.float16).astype(np.float32).reshape(along)
    near = quantize(weights.array, scale)
    integers = decoded(layer.rounding, near)
    if integers is None:
        raise BuildError(
            "its rounding was learned for other weights or scales",
            where=f"layer {layer.name}",
            fix="leave the rounding out of the recipe, or make the recipe again",
        )
    replace_constant(model, node, weights.index, integers.astype(np.float32) * scale)


def digits(numbers: Iterable[float]) -> tuple[float, ...]:
    """Nine digits, which tell any two FP32 numbers apart."""
    return tuple(float(f"{number:.9g}") for number in numbers)


def encoded(steps: npt.NDArray[np.generic], integers: npt.NDArray[np.generic]) -> str:
    """A checksum of the integers (8 hex digits), and the steps from the nearest ones, compressed, in base64."""
    packed = zlib.compress(np.ascontiguousarray(steps, np.int8).tobytes(), 9)
    return f"{_checksum(integers):08x}{base64.b64encode(packed).decode()}"


def decoded(text: str, near: npt.NDArray[np.int8]) -> npt.NDArray[np.int8] | None:
    """The integers, from the nearest ones; None where the text does not fit them."""
    try:
        steps = np.frombuffer(zlib.decompress(base64.b64decode(text[8:], validate=True)), np.int8)
        expected = int(text[:8], 16)
    except (ValueError, zlib.error, binascii.Error):
        return None
    if steps.size != near.size:
        return None
    sums = near.astype(np.int16) + steps.reshape(near.shape)
    integers: npt.NDArray[np.int8] = np.clip(sums, -INT8_MAXIMUM, INT8_MAXIMUM).astype(np.int8)
    return integers if _checksum(integers) == expected else None


def _checksum(integers: npt.NDArray[np.generic]) -> int:
    return zlib.crc32(np.ascontiguousarray(integers, np.int8).tobytes())
