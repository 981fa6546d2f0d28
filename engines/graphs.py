"""What the engines need to know of an ONNX graph: its compute nodes, their weights, and which of them form a gate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from deploy.errors import BuildError
from engines.kinds import is_file

COMPUTE = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by weights: what INT8 is for, and what must appear in an engine in the asked precision."""

POOLED = frozenset({"ReduceMean", "ReduceMax", "ReduceSum", "GlobalAveragePool", "GlobalMaxPool"})
_SQUASHING = frozenset({"Sigmoid", "HardSigmoid"})
_FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE})


@dataclass(frozen=True)
class Weights:
    """The weight of a compute node: its position among the inputs, its array and the axis of its output channels."""

    index: int
    array: npt.NDArray[np.float32]
    axis: int


def load(source: object) -> ir.Model:
    """A private copy of a graph: from an `onnx.ModelProto`, an `onnx_ir.Model` or the path of an .onnx file.

    Its constants are initializers, also those that were Constant nodes.

    Raises BuildError where it is none of these, cannot be read, or has a node without a name.
    """
    if isinstance(source, ir.Model):
        source = ir.to_proto(source)
    path = str(source) if is_file(source) else ""
    if path:
        try:
            source = onnx.load(path)
        except Exception as error:
            raise BuildError(
                f"cannot be read as an ONNX graph ({first_line(error)})",
                where=path,
                expected="a whole .onnx file, its external data beside it",
                fix="export or copy the file again",
            ) from error
    if not isinstance(source, onnx.ModelProto):
        raise BuildError(
            "is not an ONNX graph",
            where=path or "graph",
            expected="a ModelProto or an .onnx path",
            found=type(source).__name__,
            fix="convert a Keras model with converters.convert",
        )
    if not source.graph.node or not source.graph.output:
        raise BuildError(
            "is an ONNX graph without a node or an output",
            where=path or "graph",
            found=f"{len(source.graph.node)} nodes, {len(source.graph.output)} outputs",
            fix="export or copy the file again",
        )
    model = ir.from_proto(_inlined(source))
    common.RemoveInitializersFromInputsPass()(model)  # which old exporters list there
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    seen: set[str] = set()
    for node in model.graph:
        if not node.name or node.name in seen:
            raise BuildError(
                f"a {node.op_type} node has no name of its own, so no recipe can speak of it",
                where=path or "graph",
                found=repr(node.name),
                fix="convert the Keras model with converters.convert, or give every node a unique name",
            )
        seen.add(node.name)
    return model


def _inlined(source: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without functions of its own: a layer inside of one would escape every recipe."""
    if not source.functions:
        return source
    from onnx import inliner, shape_inference

    try:
        return shape_inference.infer_shapes(inliner.inline_local_functions(source), data_prop=True)
    except Exception as error:
        raise BuildError(
            f"the graph's own functions cannot be written out ({first_line(error)})",
            where="graph",
            found=", ".join(function.name for function in source.functions[:5]),
            fix="inline them with onnx.inliner.inline_local_functions, and check the graph with onnx.checker",
        ) from error


def with_opset(model: ir.Model, minimum: int) -> ir.Model:
    """The model at opset ``minimum`` or above.

    17 to 22 are read alike but for reductions, whose axes became an input at 18. What is older goes through onnx's
    version converter, and so does a graph with a Split without sizes (changed at 18), GridSample or DFT (20) or
    GroupNormalization (21).
    """
    version = model.opset_imports.get("", 0)
    if version >= minimum:
        return model
    if version >= 17 and not any(_changed(node) for node in model.graph.all_nodes()):
        for node in model.graph.all_nodes():
            _axes_as_input(node, model.graph)
        model.opset_imports[""] = minimum
        model.ir_version = max(model.ir_version, 9 if minimum < 21 else 10)  # which came with these opsets
        for node in model.graph:
            if node.version is not None and not node.domain:
                node.version = minimum
        return model
    from onnx import version_converter

    try:
        return ir.from_proto(version_converter.convert_version(ir.to_proto(model), minimum))
    except Exception as error:
        raise BuildError(
            f"the graph cannot be raised from opset {version} to {minimum} ({first_line(error)})",
            where="graph",
            fix="export it at opset 19 or newer",
        ) from error


def _changed(node: ir.Node) -> bool:
    sizes = len(node.inputs) > 1 or "num_outputs" in node.attributes
    return node.op_type in ("DFT", "GridSample", "GroupNormalization") or (node.op_type == "Split" and not sizes)


def _axes_as_input(node: ir.Node, graph: ir.Graph) -> None:
    """A reduction's axes as an initializer, as from opset 18 on."""
    axes = node.attributes.get_ints("axes") if node.op_type.startswith("Reduce") else None
    if not axes:
        return
    del node.attributes["axes"]
    number, name = 0, f"{node.name}/axes"
    while name in graph.initializers:
        number, name = number + 1, f"{node.name}/axes_{number + 1}"
    tensor = ir.tensor(np.asarray(axes, np.int64), name=name)
    value = ir.Value(name=name, shape=ir.Shape([len(axes)]), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    node.resize_inputs(2)
    node.replace_input_with(1, value)


def first_line(error: Exception) -> str:
    """What an error of another library says, on one line."""
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:300]


def is_float(value: ir.Value | None) -> bool:
    """Whether a value is of a floating type (one without a type is not)."""
    return value is not None and value.dtype in _FLOATS


def name_of(value: ir.Value) -> str:
    """A value's name; graphs that passed `load` have one on every value that is used."""
    return value.name or ""


def remove_unread(model: ir.Model) -> None:
    """Removes constants that nothing reads any more, in place."""
    used = {id(value) for node in model.graph.all_nodes() for value in node.inputs if value is not None}
    used |= {id(value) for value in model.graph.outputs}
    for name, value in list(model.graph.initializers.items()):
        if id(value) not in used:
            del model.graph.initializers[name]


def constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The array of an initializer, or None where the value is computed or an input."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy()


def compute_nodes(model: ir.Model) -> Iterator[ir.Node]:
    """Every Conv, ConvTranspose, Gemm and MatMul of the main graph, in its order."""
    return (node for node in model.graph if node.op_type in COMPUTE and not node.domain)


def weights_of(node: ir.Node) -> Weights | None:
    """The weight of a compute node, or None where both operands are computed (attention) or the weight comes first."""
    array = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if array is None or not np.issubdtype(array.dtype, np.floating):
        return None
    return Weights(1, array.astype(np.float32), output_axis(node, array.ndim))


def elements(value: ir.Value | None) -> int:
    """Elements of a value per sample: without the first axis; a size that is not known counts as 1."""
    if value is None or value.shape is None:
        return 1
    sizes = [size for size in list(value.shape)[1:] if isinstance(size, int)]
    return math.prod(sizes)


def products(node: ir.Node) -> float:
    """Multiplications of a compute node per sample; 0 where it has no constant weight."""
    weights = weights_of(node)
    if weights is None:
        return 0.0
    return float(elements(node.outputs[0]) * weights.array.size / weights.array.shape[weights.axis])


def output_axis(node: ir.Node, rank: int) -> int:
    """The axis of the output channels in a compute node's weight of that rank.

    0 of a Conv (M, C/group, …), 1 of a ConvTranspose (C, M/group, …), the last of a MatMul (…, K, N), 1 of a Gemm (K,
    N), or 0 where transB is set (N, K). ONNX operator specifications.
    """
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return {"Conv": 0, "ConvTranspose": 1}.get(node.op_type, rank - 1)


def attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute of a node, or its default."""
    found = node.attributes.get(name)
    return default if found is None else found.as_int()


def gate_nodes(model: ir.Model) -> frozenset[str]:
    """Names of the compute nodes that only make a gate: squeeze-and-excitation, ECA, CBAM's channel and spatial
    attention.

    A gate is a Sigmoid (or HardSigmoid) that is computed from pooled statistics alone and multiplies what is not one: a
    feature map. (Swish's x * sigmoid(x) is none, nor is a gated vector behind global pooling.)
    """
    statistics = _statistics(model)
    found: set[str] = set()
    for node in model.graph:
        if node.op_type in _SQUASHING and name_of(node.outputs[0]) in statistics and _scales_map(node, statistics):
            found |= {n.name or "" for n in _behind(node, statistics) if n.op_type in COMPUTE}
    return frozenset(found)


def _statistics(model: ir.Model) -> set[str]:
    """Values computed from pooled features and constants alone."""
    found: set[str] = set()
    for node in model.graph:
        computed = [value for value in node.inputs if value is not None and constant(value) is None]
        if computed and (node.op_type in POOLED or all(name_of(value) in found for value in computed)):
            found |= {name_of(value) for value in node.outputs}
    return found


def _scales_map(node: ir.Node, statistics: set[str]) -> bool:
    """Whether the node's output, perhaps reshaped, multiplies a value that is no statistic."""
    for user, _ in node.outputs[0].uses():
        if user.op_type in ("Reshape", "Unsqueeze", "Transpose", "Expand", "Identity"):
            if _scales_map(user, statistics):
                return True
        elif user.op_type == "Mul" and any(
            value is not None and name_of(value) not in statistics for value in user.inputs
        ):
            return True
    return False


def _behind(node: ir.Node, statistics: set[str]) -> list[ir.Node]:
    """The nodes from the pooled features to ``node``."""
    found: list[ir.Node] = []
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.append(current)
            producers = [v.producer() for v in current.inputs if v is not None and name_of(v) in statistics]
            waiting += [producer for producer in producers if producer is not None]
    return found
