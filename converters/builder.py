"""What a lowering writes nodes with, and the values it writes them for, which carry their axis order."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import onnx_ir as ir
from keras import KerasTensor, tree
from numpy.typing import NDArray

from converters import layout
from converters.inference import Known, infer
from converters.layout import Order, Shape
from converters.size_names import Product, product
from deploy.errors import ConversionError

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """An ONNX value and the logical axis that each of its physical axes holds (see converters.layout)."""

    value: ir.Value
    order: Order

    @property
    def rank(self) -> int:
        return len(self.order)

    @property
    def dims(self) -> tuple[int | ir.SymbolicDim, ...]:
        """Physical sizes."""
        assert self.value.shape is not None
        return tuple(self.value.shape)

    @property
    def shape(self) -> Shape:
        """Logical sizes, None where unknown."""
        return layout.logical([d if isinstance(d, int) else None for d in self.dims], self.order)

    @property
    def dtype(self) -> np.dtype[Any]:
        assert self.value.dtype is not None
        return self.value.dtype.numpy()

    def axis(self, logical: int) -> int:
        """The physical axis that holds a logical one (negative counts from the end)."""
        return self.order.index(logical % self.rank)


class Builder:
    """What a lowering writes nodes with: it names them after the layer, infers shapes and brings values into an order.

    ``outputs`` is the structure of KerasTensors that the operation at hand gives: its shapes and dtypes; ``where`` says
    in an error which layer or operation that is; ``bodies`` are the functions it runs, each of which writes its nodes
    for the tensors it is given and returns its outputs.
    """

    def __init__(self, opset: int) -> None:
        self.root = self.graph = ir.Graph([], [], nodes=[], opset_imports={"": opset}, name="model")
        self.opset = opset
        self.path = ""
        self.where = "the model"
        self.outputs: Any = None
        self.bodies: tuple[Callable[[Sequence[Tensor]], list[Tensor]], ...] = ()
        self._inferred: Known = {}
        self._names: set[str] = set()
        self._constants: dict[tuple[bytes, str, tuple[int, ...]], ir.Value] = {}
        self._arranged: dict[tuple[ir.Value, Order, Order], Tensor] = {}

    @property
    def out(self) -> KerasTensor:
        """The one KerasTensor that the operation at hand gives."""
        return tree.flatten(self.outputs)[0]

    def unique(self, name: str) -> str:
        """``name``, with a number behind it where it is taken."""
        candidate, number = name, 1
        while candidate in self._names:
            candidate, number = f"{name}_{number}", number + 1
        self._names.add(candidate)
        return candidate

    def op(self, op_type: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        """Adds a node and returns its output value (a tuple of values when ``outputs`` > 1).

        Inputs are ONNX values, numpy arrays (which become initializers) or None; axes and shapes are physical.
        """
        name = self.unique(self._scoped(op_type))
        values = [self.constant(x) if isinstance(x, np.ndarray | np.generic) else x for x in inputs]
        names = [name] if outputs == 1 else [self.unique(f"{name}:{index}") for index in range(outputs)]
        node = ir.Node(
            "",
            op_type,
            values,
            [_attribute(key, value) for key, value in sorted(attributes.items()) if value is not None],
            outputs=[ir.Value(name=x) for x in names],
            version=self.opset,
            name=name,
        )
        self.graph.append(node)
        try:
            infer(node, self._inferred)
        except Exception as error:  # whatever ONNX says of the node
            raise ConversionError(
                f"an invalid {op_type} node was made ({error})",
                where=self.where,
                fix="report this with the layer's configuration",
            ) from error
        return node.outputs[0] if outputs == 1 else node.outputs

    def constant(self, array: Array | np.generic, name: str = "constant") -> ir.Value:
        """An initializer of the graph; small equal constants are one."""
        array = np.asarray(array)
        key = (array.tobytes(), str(array.dtype), array.shape) if array.size <= 16 else None
        if key is not None and key in self._constants:
            return self._constants[key]
        unique = self.unique(self._scoped(name))
        tensor = ir.Tensor(array, name=unique)
        value = ir.Value(name=unique, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.root.register_initializer(value)
        if key is not None:
            self._constants[key] = value
        return value

    def scalar(self, number: float, like: Tensor) -> Array:
        """A rank-0 array of a tensor's dtype."""
        return np.asarray(number, like.dtype)

    def axes(self, tensor: Tensor, axes: Sequence[int]) -> Array:
        """Physical axes, as the int64 input that ONNX's reductions take."""
        return np.asarray(sorted(tensor.axis(axis) for axis in axes), np.int64)

    def arrange(self, tensor: Tensor, order: Order) -> Tensor:
        """The tensor in another order: a Reshape where only axes of size 1 move, else one Transpose, made once."""
        if tensor.order == order:
            return tensor
        key = (tensor.value, tensor.order, order)
        if key not in self._arranged:
            with self._beside(tensor.value):
                if layout.only_ones_move(tensor.shape, tensor.order, order):
                    value = self._reshape(tensor, tensor.shape, order)
                else:
                    value = self.op("Transpose", tensor.value, perm=layout.permutation(tensor.order, order))
            self._arranged[key] = Tensor(value, order)
        return self._arranged[key]

    def identity(self, tensor: Tensor) -> Tensor:
        """The tensor as Keras has it: correct before fast, for operations without a rule for orders."""
        return self.arrange(tensor, layout.identity(tensor.rank))

    def reshape(self, tensor: Tensor, shape: Shape) -> Tensor:
        """Reshape to a logical shape: free of movement where the order algebra allows it, else over the identity order.

        A None in ``shape`` is an unknown size of the tensor, in order, where the other sizes have equal products;
        else the last None is what remains (a batch joined with windows, say).
        """
        shape = tuple(shape)
        same = _same_unknown(tensor.shape, shape)
        if same and tensor.shape == shape:
            return tensor
        order = layout.reshape(tensor.shape, tensor.order, shape) if same else None
        if order is None or not _is_possible(tensor, layout.physical(shape, order)):
            tensor, order = self.identity(tensor), layout.identity(len(shape))
        return Tensor(self._reshape(tensor, shape, order, same=same), order)

    def _reshape(self, tensor: Tensor, shape: Shape, order: Order, *, same: bool = True) -> ir.Value:
        """A Reshape node whose target has numbers, a 0 for an unknown size in its place, at most one -1.

        ``same``: the unknown sizes of the target are those of the tensor; else only leading ones are, and one other is
        what remains.
        """
        target = layout.physical(shape, order)
        dims = tensor.dims
        symbols = [d for d in dims if not isinstance(d, int)]
        pairs = zip(tensor.shape, shape, strict=False)
        leading = sum(1 for _ in itertools.takewhile(lambda pair: pair == (None, None), pairs))
        if not same and sum(size is None for size in shape) == leading:
            leading -= 1
        in_place = _in_place(dims, target) if same else range(leading)
        kept = [size if size is not None else 0 if n in in_place else -1 for n, size in enumerate(target)]
        if kept.count(-1) > 1 and same and _without_ones(dims) == _without_ones(target):
            return self._move_ones(tensor, target)
        if kept.count(-1) > 1:
            raise ConversionError(
                "a reshape moves several unknown sizes",
                where=self.where,
                found=f"{tensor.shape} to {shape}",
                fix="give the input's sizes with --shapes",
            )
        value: ir.Value = self.op("Reshape", tensor.value, np.asarray(kept, np.int64))
        if same:  # the unknown sizes in their order
            names = iter(symbols)
            value.shape = ir.Shape([next(names) if size is None else size for size in target])
        elif target.count(None) == 1 and (total := product(dims)) is not None:
            left = total.over(Product(Fraction(elements(target))))
            value.shape = ir.Shape([left.size if size is None and left else size for size in target])
        return value

    def _move_ones(self, tensor: Tensor, target: Shape) -> ir.Value:
        """A reshape among several unknown sizes that moves axes of size 1 alone: a Squeeze, an Unsqueeze."""
        value = tensor.value
        for op_type, sizes in (("Squeeze", tensor.dims), ("Unsqueeze", target)):
            ones = [place for place, size in enumerate(sizes) if size == 1]
            value = self.op(op_type, value, np.asarray(ones, np.int64)) if ones else value
        return value

    @contextlib.contextmanager
    def subgraph(self, label: str) -> Iterator[ir.Graph]:
        """A graph inside this one, for a node's attribute; nodes are added to it for the length of the block.

        Its names are unique in the whole model; values of the graphs around it can be used in it.
        """
        name = self.unique(self._scoped(label))
        graph = ir.Graph([], [], nodes=[], opset_imports={"": self.opset}, name=name)
        around = self.graph, self._arranged
        self.graph, self._arranged = graph, dict(self._arranged)
        try:
            yield graph
        finally:
            self.graph, self._arranged = around

    @contextlib.contextmanager
    def rehearsal(self) -> Iterator[ir.Graph]:
        """A subgraph that is only looked at: of what is written in it nothing stays, no name and no constant."""
        names, constants, initializers = set(self._names), dict(self._constants), set(self.root.initializers)
        with self.subgraph("rehearsal") as graph:
            yield graph
        self._names, self._constants = names, constants
        for name in [name for name in self.root.initializers if name not in initializers]:
            del self.root.initializers[name]

    def input(self, label: str, like: Tensor) -> Tensor:
        """A new input of the subgraph at hand, of another tensor's shape, dtype and order."""
        value = ir.Value(name=self.unique(self._scoped(label)), shape=like.value.shape, type=like.value.type)
        self.graph.inputs.append(value)
        return Tensor(value, like.order)

    def output(self, value: ir.Value) -> None:
        """Makes a value an output of the subgraph at hand; one from outside, or given already, goes by an Identity."""
        node = value.producer()
        if node is None or node.graph is not self.graph or value.is_graph_output():
            value = self.op("Identity", value)
        self.graph.outputs.append(value)

    def with_subgraphs(
        self, op_type: str, inputs: Sequence[ir.Value | None], outputs: Sequence[ir.Value], **attributes: Any
    ) -> list[ir.Value]:
        """Adds a node that has subgraphs, and gives values of the types and shapes of ``outputs``."""
        name = self.unique(self._scoped(op_type))
        node = ir.node(op_type, list(inputs), attributes, num_outputs=len(outputs), name=name, version=self.opset)
        for index, (value, like) in enumerate(zip(node.outputs, outputs, strict=True)):
            value.name = name if len(outputs) == 1 else self.unique(f"{name}:{index}")
            value.type, value.shape = like.type, like.shape
        self.graph.append(node)
        return list(node.outputs)

    @contextlib.contextmanager
    def _beside(self, value: ir.Value) -> Iterator[None]:
        """Names nodes after the layer that made ``value``, not after the one that asked for another order of it."""
        path, producer = self.path, value.producer()
        if producer is not None and producer.name:
            self.path = producer.name.rpartition("/")[0]
        elif value.is_graph_input():
            self.path = value.name or ""
        try:
            yield
        finally:
            self.path = path

    def _scoped(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


_KINDS: dict[type, tuple[Callable[..., ir.Attr], Callable[..., ir.Attr]]] = {
    int: (ir.AttrInt64, ir.AttrInt64s),
    bool: (ir.AttrInt64, ir.AttrInt64s),
    float: (ir.AttrFloat32, ir.AttrFloat32s),
    str: (ir.AttrString, ir.AttrStrings),
}


def _attribute(name: str, value: Any) -> ir.Attr:
    """A node's attribute, of the kind that the Python value is of."""
    several = isinstance(value, list | tuple)
    kinds = _KINDS.get(type(value[0]) if several and value else int if several else type(value))
    return kinds[several](name, value) if kinds else ir.convenience.convert_attribute(name, value)


def _without_ones(sizes: Sequence[Any]) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in sizes if size != 1]


def _in_place(dims: Sequence[Any], target: Shape) -> list[int]:
    """Places in a reshape's target of the unknown sizes, whose order is the value's, that stay in their place."""
    old = [place for place, size in enumerate(dims) if not isinstance(size, int)]
    new = [place for place, size in enumerate(target) if size is None]
    return [a for a, b in zip(old, new, strict=True) if a == b]


def _is_possible(tensor: Tensor, target: Shape) -> bool:
    """Whether one Reshape gives the target, whose unknown sizes are the tensor's: all but one in their places."""
    moved = target.count(None) - len(_in_place(tensor.dims, target))
    return moved <= 1 or _without_ones(tensor.dims) == _without_ones(target)


def _same_unknown(old: Shape, new: Shape) -> bool:
    """Whether the unknown sizes of a reshape's result can only be those of its input."""
    return old.count(None) == new.count(None) and elements(old) == elements(new)


def elements(shape: Sequence[int | None]) -> int:
    """Number of elements, an unknown size counted as one."""
    return math.prod(1 if size is None else size for size in shape)
