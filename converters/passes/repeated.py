"""Constants, and constants repeated over sizes that only the graph knows: what a node makes of them, computed now."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from converters.passes.rewriting import Array, constant, same_size

MOST = 1 << 22
"""Elements up to which a constant is computed."""
_REDUCTIONS = frozenset(f"Reduce{kind}" for kind in ("L1", "L2", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"))
BROADCASTING = frozenset({
    "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Or",
    "Pow", "Sub", "Where", "Xor",
})  # fmt: skip
_UNARY = frozenset({
    "Abs", "Cast", "Ceil", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "HardSigmoid", "HardSwish", "LeakyRelu", "Log",
    "Neg", "Not", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh",
})  # fmt: skip


@dataclass(frozen=True)
class Repeated:
    """A constant of size 1 in each axis over which it is repeated to the sizes ``dims``."""

    array: Array
    dims: tuple[int | ir.SymbolicDim, ...]

    def is_whole(self, axis: int) -> bool:
        """Whether it is not repeated along an axis."""
        return bool(self.array.shape[axis] == self.dims[axis])

    def spelled(self) -> Repeated:
        """The same with the constant as large as the sizes that are known, if that is not too large."""
        shape = [size if isinstance(size, int) else 1 for size in self.dims]
        return self if math.prod(shape) > MOST else Repeated(np.broadcast_to(self.array, shape), self.dims)

    @property
    def is_zero(self) -> bool:
        return not self.array.any()


Found = Mapping[ir.Value, Repeated]


def repeated(node: ir.Node) -> Repeated | None:
    """What a node that repeats a constant gives: Expand, and Where of one number on both sides."""
    dims = _named(node.outputs[0])
    if dims is None:
        return None
    if node.op_type == "Expand":
        array = constant(node.inputs[0])
    elif node.op_type == "Where":
        array, other = (constant(value) for value in node.inputs[1:3])
        if array is None or other is None or array.size != 1 or not np.array_equal(array, other):
            return None
        array = array.reshape(())
    else:
        return None
    if array is None or array.ndim > len(dims):
        return None
    return Repeated(array.reshape((1,) * (len(dims) - array.ndim) + array.shape), dims)


def computed(node: ir.Node, found: Found) -> list[Repeated] | None:
    """What a node gives of such values and constants alone; None where it is not known now."""
    operands: list[Repeated] = []
    for value in node.inputs:
        array = constant(value)
        if array is not None:
            operands.append(Repeated(array, array.shape))
        elif value is not None:
            if value not in found:
                return None
            operands.append(found[value])
    constants = not any(value in found for value in node.inputs)
    arrays = _arrays(node, operands, constants=constants)
    if arrays is None and not constants:
        arrays = _arrays(node, [operand.spelled() for operand in operands], constants=False)
    if arrays is None or sum(array.size for array in arrays) > MOST:
        return None
    results = []
    for value, array in zip(node.outputs, arrays, strict=True):
        dims = array.shape if constants else _named(value)
        if dims is None or len(dims) != array.ndim:
            return None
        if any(size not in (1, dim) for size, dim in zip(array.shape, dims, strict=True)):
            return None
        results.append(Repeated(array, dims))
    return results


def _arrays(node: ir.Node, operands: Sequence[Repeated], *, constants: bool) -> list[Array] | None:
    if any(x.array.dtype.kind not in "fib" or x.array.dtype == np.int8 for x in operands):
        return None  # the whole numbers of a quantized layer among them, which stay so
    if node.op_type in ("Reshape", "Squeeze", "Unsqueeze") and operands:
        moved = _moved(operands[0], node.outputs[0])
        return None if moved is None else [moved]
    if node.op_type in ("Conv", "ConvTranspose"):
        return _of_zeros(node, operands)
    allowed = (constants and node.op_type == "Gather") or _is_local(node, operands)
    return _evaluated(node, [x.array for x in operands]) if allowed else None


def _is_local(node: ir.Node, operands: Sequence[Repeated]) -> bool:
    """Whether the node's rule for the small constants is its rule for the repeated ones."""
    kind, first = node.op_type, operands[0] if operands else None
    if kind in BROADCASTING or kind in _UNARY or kind == "Transpose":
        return True
    if first is None:
        return False
    rank = len(first.dims)
    if kind in ("Softmax", "LogSoftmax"):
        return first.is_whole(node.attributes.get_int("axis", -1))
    if kind == "LayerNormalization":
        axis = node.attributes.get_int("axis", -1) % rank
        return all(first.is_whole(place) for place in range(axis, rank))
    if kind in _REDUCTIONS:
        axes = operands[1].array.tolist() if len(operands) > 1 else list(node.attributes.get_ints("axes", range(rank)))
        return all(first.is_whole(axis) for axis in axes)
    if kind == "Concat":
        axis = node.attributes.get_int("axis", 0) % rank
        shapes = {(*x.array.shape[:axis], *x.array.shape[axis + 1 :]) for x in operands}
        return len(shapes) == 1 and all(x.is_whole(axis) for x in operands)
    if kind == "Split":
        return first.is_whole(node.attributes.get_int("axis", 0))
    if kind == "Slice":
        return len(operands) > 3 and all(first.is_whole(axis) for axis in operands[3].array.tolist())
    if kind == "MatMul":
        return min(rank, len(operands[1].dims)) > 1 and first.is_whole(-1) and operands[1].is_whole(-2)
    if kind == "Gemm":
        plain = not node.attributes.get_int("transA", 0)
        return plain and first.is_whole(-1) and all(x.is_whole(axis) for x in operands[1:2] for axis in (0, 1))
    return False


def _moved(x: Repeated, result: ir.Value) -> Array | None:
    """The constant of a reshaped value: of one number, where axes of size 1 come and go, or repeated over the first."""
    if result.shape is None:
        return None
    dims = tuple(result.shape)
    if x.array.size == 1:
        return x.array.reshape((1,) * len(dims))
    old, new = ([size for size in sizes if size != 1] for sizes in (x.dims, dims))
    if len(old) == len(new) and all(map(same_size, old, new)):
        kept = iter(count for count, size in zip(x.array.shape, x.dims, strict=True) if size != 1)
        return x.array.reshape([1 if size == 1 else next(kept) for size in dims])
    first = 0 if x.is_whole(0) else 1
    sizes = [size for size in dims[first:] if isinstance(size, int)]
    whole = len(sizes) == len(dims) - first and all(x.is_whole(axis) for axis in range(first, len(x.dims)))
    if not whole or (first and not same_size(x.dims[0], dims[0])):
        return None
    return x.array.reshape([*(1,) * first, *sizes])


def _of_zeros(node: ir.Node, operands: Sequence[Repeated]) -> list[Array] | None:
    """A convolution of zeros is its bias, whatever its borders."""
    shape = node.outputs[0].shape
    if shape is None or not operands or not operands[0].is_zero or not isinstance(shape[1], int):
        return None
    bias = operands[2].array if len(operands) > 2 else np.zeros(1, operands[0].array.dtype)
    return [bias.reshape(1, -1, *(1,) * (len(shape) - 2))]


def _evaluated(node: ir.Node, arrays: Sequence[Array]) -> list[Array] | None:
    proto = ir.serde.serialize_node(node)
    names = [name for name in proto.input if name]
    places: dict[str, Array] = dict(zip(names, arrays, strict=True))
    inputs = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
              for name, a in places.items()]  # fmt: skip
    outputs = [onnx.ValueInfoProto(name=name) for name in proto.output]
    graph = onnx.helper.make_graph([proto], "node", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", node.version or 17)])
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(model).run(None, places)
    dtypes = [value.dtype.numpy() if value.dtype is not None else None for value in node.outputs]
    return [np.asarray(result, dtype) for result, dtype in zip(results, dtypes, strict=True)]


def _named(value: ir.Value) -> tuple[int | ir.SymbolicDim, ...] | None:
    """A value's sizes, if each unknown one has a name."""
    if value.shape is None or any(not isinstance(size, int) and size.value is None for size in value.shape):
        return None
    return tuple(value.shape)


def joined(shapes: Sequence[Sequence[int | ir.SymbolicDim]], wanted: Sequence[int | ir.SymbolicDim]) -> bool:
    """Whether shapes that are broadcast together have the wanted sizes."""
    columns = itertools.zip_longest(*(reversed(shape) for shape in shapes), reversed(wanted), fillvalue=1)
    return all(any(same_size(size, column[-1]) for size in column[:-1]) for column in columns)
