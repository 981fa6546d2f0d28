"""Constants that are repeated over the batch, and what is computed of them and of constants alone.

1. A node of such values and constants alone gives one again, which is computed now: the first step of a loop from a
   state of zeros, the queries of learned latents, a mask for each sample.
2. A node that broadcasts, or a MatMul over its batch, takes the constant as it is, where the other operands have the
   sizes that it is repeated to.
3. Zeros times what is finite (the result of a Sigmoid, say) are zeros.
4. A Concat with one other part is a Pad of it, and an Add where the constants are not one number: class tokens.
5. A recurrent node starts from zeros by itself.

What other nodes read is repeated to its sizes there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from converters.passes.repeated import BROADCASTING, MOST, Repeated, computed, joined, repeated
from converters.passes.rewriting import Array, constant, initializer, replace_node, same_size
from converters.size_names import product

_FINITE = frozenset(("HardSigmoid", "Sigmoid", "Softmax", "Softsign", "Tanh"))
_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))


def fold_repeated(graph: ir.Graph) -> bool:
    """Applies every rule. Returns whether the graph changed."""
    return _Folding(graph).run()


class _Folding:
    """One round over a graph: what is known of its values, and where the sizes come from."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self.found: dict[ir.Value, Repeated] = {}
        self.made: set[ir.Value] = set()  # those of them that are computed now
        self.count = 0
        self.sizes = {
            size.value: (value, axis)
            for value in graph.inputs
            for axis, size in enumerate(value.shape or ())
            if not isinstance(size, int) and size.value
        }

    def run(self) -> bool:
        changed = False
        for node in list(self.graph):
            if node.graph is not None:
                changed |= self._visit(node)
        for node in reversed(list(self.graph)):
            if any(value in self.made for value in node.outputs):
                changed |= self._settle(node)
        return changed

    def _visit(self, node: ir.Node) -> bool:
        source = repeated(node)
        if source is not None:
            self.found[node.outputs[0]] = source
            return False
        operands = [value for value in node.inputs if value in self.found]
        if not operands and any(constant(value) is None for value in node.inputs if value is not None):
            return False
        results = computed(node, self.found) or self._product(node)
        if results is not None and all(self._has_sizes(result) for result in results):
            self.found.update(zip(node.outputs, results, strict=True))
            self.made.update(node.outputs)
            return False
        return bool(operands) and (self._broadcast(node) or self._pad(node) or self._start(node))

    def _has_sizes(self, value: Repeated) -> bool:
        """Whether it can be repeated where it must be."""
        sizes = [product([size]) for size in value.dims]
        return all(
            size is not None and len(size.names) < 2 and all(name in self.sizes for name in size.names)
            for size in sizes
        )

    def _product(self, node: ir.Node) -> list[Repeated] | None:
        """Rule 3."""
        shape, others = node.outputs[0].shape, [value for value in node.inputs if value not in self.found]
        if node.op_type != "Mul" or shape is None or len(others) != 1 or others[0] is None:
            return None
        producer = others[0].producer()
        (zeros,) = (self.found[value] for value in node.inputs if value in self.found)
        if not zeros.is_zero or producer is None or producer.op_type not in _FINITE:
            return None
        return [Repeated(np.zeros((1,) * len(shape), zeros.array.dtype), tuple(shape))]

    def _broadcast(self, node: ir.Node) -> bool:
        """Rule 2."""
        result = node.outputs[0].shape
        if result is None or node.op_type not in (*BROADCASTING, "MatMul"):
            return False
        shapes = [value.shape if value is not None and value not in self.found else None for value in node.inputs]
        others = [tuple(shape) for shape in shapes if shape is not None]
        arrays = {index: self.found[value] for index, value in enumerate(node.inputs) if value in self.found}
        wanted = tuple(result)
        if node.op_type == "MatMul":
            if not all(len(x.dims) > 1 and x.is_whole(-1) and x.is_whole(-2) for x in arrays.values()):
                return False
            others, wanted = [(*shape[:-2], 1, 1) for shape in others], (*wanted[:-2], 1, 1)
            small = [(*x.array.shape[:-2], 1, 1) for x in arrays.values()]
        else:
            small = [x.array.shape for x in arrays.values()]
        if not others or not joined([*others, *small], wanted):
            return False
        for index, value in arrays.items():
            node.replace_input_with(index, initializer(self.graph, value.array, f"{node.name}/constant"))
        return True

    def _pad(self, node: ir.Node) -> bool:
        """Rule 4."""
        shape, value = node.outputs[0].shape, node.outputs[0]
        if node.op_type != "Concat" or shape is None or value.dtype not in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
            return False
        axis = node.attributes.get_int("axis") % len(shape)
        parts = [self._known(part) for part in node.inputs]
        places = [index for index, part in enumerate(parts) if part is None]
        source = node.inputs[places[0]] if len(places) == 1 else None
        length = source.shape[axis] if source is not None and source.shape is not None else None
        if source is None or source.shape is None or not isinstance(length, int):
            return False
        if any(not same_size(a, b) for n, (a, b) in enumerate(zip(source.shape, shape, strict=True)) if n != axis):
            return False
        arrays = [part for part in parts if part is not None]
        if not all(isinstance(part.dims[axis], int) for part in arrays):
            return False
        before, after = (_length(side, axis) for side in (parts[: places[0]], parts[places[0] + 1 :]))
        numbers = {float(number) for part in arrays for number in np.unique(part.array)[:2]}
        fill = numbers.pop() if len(numbers) == 1 else 0.0
        added = _laid_out(parts, length, axis) if numbers else None
        if added is not None and added.size > MOST:
            return False
        widths = np.zeros(2 * len(shape), np.int64)
        widths[axis], widths[axis + len(shape)] = before, after
        dtype = value.dtype.numpy()
        ends = [initializer(self.graph, widths, f"{node.name}/widths")]
        ends += [initializer(self.graph, np.asarray(fill, dtype), f"{node.name}/fill")] if fill else []
        pad = replace_node(self.graph, node, "Pad", [source, *ends])
        if added is not None:
            self._add(pad, added)
        return True

    def _add(self, pad: ir.Node, array: Array) -> None:
        """Adds a constant behind a Pad, under the names that the Pad has."""
        value = pad.outputs[0]
        name, label = value.name, pad.name
        total = ir.node("Add", [value, initializer(self.graph, array, f"{label}/constant")])
        result = total.outputs[0]
        result.type, result.shape = value.type, value.shape
        self.graph.insert_after(pad, total)
        value.replace_all_uses_with(result, replace_graph_outputs=True)
        total.replace_input_with(0, value)
        value.name, pad.name = f"{name}/padded", f"{label}/padded"
        result.name, total.name = name, label

    def _known(self, value: ir.Value | None) -> Repeated | None:
        array = constant(value)
        if array is not None:
            return Repeated(array, array.shape)
        return self.found.get(value) if value is not None else None

    def _start(self, node: ir.Node) -> bool:
        """Rule 5."""
        changed = False
        for index in (5, 6) if node.op_type in _RECURRENT else ():
            state = self._known(node.inputs[index]) if index < len(node.inputs) else None
            if state is not None and state.is_zero:
                node.replace_input_with(index, None)
                changed = True
        return changed

    def _settle(self, node: ir.Node) -> bool:
        """Puts what was computed now in a node's place; the node goes where nothing reads it any more."""
        changed = False
        for value in node.outputs:
            known = self.found[value]
            if not value.uses() and not value.is_graph_output():
                continue
            if known.array.shape == known.dims:
                array = initializer(self.graph, known.array, f"{value.name}/constant")
                value.replace_all_uses_with(array, replace_graph_outputs=True)
                changed = True
            elif len(node.outputs) == 1:
                array = initializer(self.graph, known.array, f"{node.name}/constant")
                replace_node(self.graph, node, "Expand", [array, self._shape(node, known)])
                return True
        if all(not value.uses() and not value.is_graph_output() for value in node.outputs):
            self.graph.remove(node, safe=True)
            changed = True
        return changed

    def _shape(self, node: ir.Node, value: Repeated) -> ir.Value:
        """A value's sizes as an int64 vector, of numbers and of what the graph's inputs have."""
        pieces: list[ir.Value] = []
        for known, group in itertools.groupby(value.dims, lambda size: isinstance(size, int)):
            if known:
                pieces.append(initializer(self.graph, np.asarray(list(group), np.int64), f"{node.name}/sizes"))
            else:
                pieces.extend(self._size(node, size) for size in group if not isinstance(size, int))
        return pieces[0] if len(pieces) == 1 else self._node(node, "Concat", pieces, len(value.dims), axis=0)

    def _size(self, node: ir.Node, size: ir.SymbolicDim) -> ir.Value:
        whole = product([size])
        assert whole is not None
        source, axis = self.sizes[whole.names[0]]
        value = self._node(node, "Shape", [source], 1, start=axis, end=axis + 1)
        if whole.times == 1:
            return value
        factor = initializer(self.graph, np.asarray([int(whole.times)], np.int64), f"{node.name}/factor")
        return self._node(node, "Mul", [value, factor], 1)

    def _node(self, before: ir.Node, op_type: str, inputs: list[ir.Value], length: int, **attributes: int) -> ir.Value:
        """A new node in front of another one, that gives a vector of whole numbers."""
        node = ir.node(op_type, inputs, attributes or None, name=f"{before.name}/{op_type}", version=before.version)
        value = node.outputs[0]
        value.name, self.count = f"{node.name}_{self.count}", self.count + 1
        node.name = value.name
        value.type, value.shape = ir.TensorType(ir.DataType.INT64), ir.Shape([length])
        self.graph.insert_before(before, node)
        return value


def _length(parts: Sequence[Repeated | None], axis: int) -> int:
    return sum(size for part in parts if part is not None and isinstance(size := part.dims[axis], int))


def _laid_out(parts: Sequence[Repeated | None], size: int, axis: int) -> Array:
    """The constants of a Concat in their places along its axis, zeros in that of its other part."""
    arrays = []
    for part in parts:
        if part is None:
            continue
        length = part.dims[axis]
        assert isinstance(length, int)
        arrays.append(np.repeat(part.array, length // part.array.shape[axis], axis))
    rank, dtype = arrays[0].ndim, arrays[0].dtype
    others = [max(array.shape[place] for array in arrays) for place in range(rank)]
    rest = iter(arrays)
    laid = []
    for part in parts:
        array = next(rest) if part is not None else np.zeros([size if n == axis else 1 for n in range(rank)], dtype)
        laid.append(np.broadcast_to(array, [array.shape[n] if n == axis else count for n, count in enumerate(others)]))
    return np.concatenate(laid, axis)
