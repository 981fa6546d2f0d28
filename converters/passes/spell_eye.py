"""An identity matrix of a size that is known at run time alone: rows and columns are numbered and compared.

TensorRT's parser takes EyeLike of known sizes only ("Eyelike does not work for dynamically shaped tensors"); tf2onnx
writes one over the batch where it opens `tf.image.combined_non_max_suppression`.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes.rewriting import initializer, producer, replace_node


def spell_eye(graph: ir.Graph) -> bool:
    """Spells every such EyeLike. Returns whether the graph changed."""
    changed = False
    for node in list(graph):
        value = node.inputs[0] if node.op_type == "EyeLike" else None
        if value is not None and (value.shape is None or value.shape.is_dynamic()):
            _spell(graph, node, value)
            changed = True
    return changed


def _spell(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    name = node.name or "eye"

    def emit(op_type: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        label = f"{name}/{op_type}"
        number = sum(one.op_type == op_type and (one.name or "").startswith(label) for one in graph)
        made = ir.node(op_type, inputs, attributes or None, name=f"{label}_{number}")
        made.outputs[0].name, made.outputs[0].dtype = made.name, ir.DataType.INT64
        graph.insert_before(node, made)
        return made.outputs[0]

    def number(array: object, label: str) -> ir.Value:
        return initializer(graph, np.asarray(array, np.int64), f"{name}/{label}")

    zero, one, offset = number(0, "zero"), number(1, "one"), node.attributes.get_int("k", 0)
    filled = producer(value, "ConstantOfShape")
    sizes = emit("Shape", value) if filled is None else filled.inputs[0]
    assert sizes is not None
    rows, columns = (emit("Range", zero, emit("Gather", sizes, axis), one) for axis in (zero, one))
    if offset:
        rows = emit("Add", rows, number(offset, "offset"))
    equal = emit("Equal", emit("Unsqueeze", rows, number([1], "axis")), columns)
    equal.dtype = ir.DataType.BOOL
    replace_node(graph, node, "Cast", [equal], to=node.outputs[0].dtype or value.dtype or ir.DataType.FLOAT)
