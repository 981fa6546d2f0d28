"""Scales of a simulated graph as its inputs: one session for every choice of ranges."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from engines.recipe import INT8_MAXIMUM


def open_scales(model: ir.Model) -> dict[str, str]:
    """Turns the scale of each quantized value into an input of the graph, in place; its name by the value's."""
    found: dict[str, str] = {}
    for node in list(model.graph):
        if node.op_type == "QuantizeLinear" and node.name:
            value = node.name.removesuffix("/quantize")
            scale = ir.val(f"{value}/open_scale", ir.DataType.FLOAT, ir.Shape([]))
            model.graph.inputs.append(scale)
            node.replace_input_with(1, scale)
            for reader, _ in list(node.outputs[0].uses()):
                reader.replace_input_with(1, scale)
            found[value] = f"{value}/open_scale"
    return found


def half(amax: float) -> npt.NDArray[np.float32]:
    """The scale of a range ±``amax``, rounded to FP16 as it is in the graph; 1 for a value that is always 0."""
    return np.asarray(np.float16(amax / INT8_MAXIMUM or 1.0), np.float32)
