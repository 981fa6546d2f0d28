"""Which nodes compute in FP32 between those that must, so that a graph has the fewest Casts: a minimum cut.

A value costs one Cast where it is made in one type and read in the other, however many readers there are; constants
cost nothing. Every node is on one of two sides:
1. FP32: what must stay high, and what ONNX does not define for the lower type.
2. The lower type: every product (Conv, Gemm, MatMul) that need not stay high.
3. All others are free. Of the assignments with the fewest Casts the one with the fewest nodes in FP32 is taken.
4. What an input or output of the graph costs is left open, since both can be of either type (`engines.apply.io_types`):
   so nothing is in FP32 but beside what must be.
Both costs of a value are hyperedges from its maker to its readers, each of which an auxiliary vertex turns into edges,
so the least cost is a minimum cut (Ford and Fulkerson 1956; Lawler 1973, "Cutsets and partitions of hypergraphs").
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from engines.apply.casting import possible, typed_inputs
from engines.graphs import COMPUTE, constant, is_float

_HIGH, _LOW = 0, 1
_NEVER = 1 << 30


def joined(model: ir.Model, high: Collection[str], kind: ir.DataType = ir.DataType.FLOAT16) -> frozenset[str]:
    """Names of the nodes that join those in FP32 (``high``), for a graph of that type elsewhere."""
    nodes = [node for node in model.graph if any(map(is_float, (*node.inputs, *node.outputs)))]
    free = [n for n in nodes if n.op_type not in COMPUTE and n.name not in high and possible(n, kind)]
    cut = _Cut(cast=len(free) + 1)
    vertices = {node: cut.vertex() for node in nodes}
    for node in nodes:
        if node.name in high or not possible(node, kind):
            cut.edge(_HIGH, vertices[node], _NEVER)
        elif node.op_type in COMPUTE:
            cut.edge(vertices[node], _LOW, _NEVER)
        else:
            cut.edge(vertices[node], _LOW, 1)
    readers: dict[ir.Value, list[int]] = {}
    for node in nodes:
        for _, value in typed_inputs(node):
            if constant(value) is None:
                readers.setdefault(value, []).append(vertices[node])
    for value, vertices_of in readers.items():
        maker = value.producer()
        cut.value(cut.vertex() if maker is None else vertices[maker], vertices_of)
    side = cut.high_side()
    return frozenset(node.name or "" for node in free if vertices[node] in side)


class _Cut:
    """A flow network: vertex 0 is FP32's side, 1 the other's; ``cast`` is what a Cast costs."""

    def __init__(self, cast: int) -> None:
        self._cast = cast
        self._count = 2
        self._edges: dict[tuple[int, int], int] = {}

    def vertex(self) -> int:
        self._count += 1
        return self._count - 1

    def edge(self, start: int, end: int, capacity: int) -> None:
        """It is paid where ``start`` is in FP32 and ``end`` is not."""
        if start != end:
            self._edges[start, end] = min(self._edges.get((start, end), 0) + capacity, _NEVER)

    def value(self, maker: int, readers: Collection[int]) -> None:
        """A Cast down where any reader is low, and one up where any is in FP32."""
        down, up = self.vertex(), self.vertex()
        self.edge(maker, down, self._cast)
        self.edge(up, maker, self._cast)
        for reader in readers:
            self.edge(down, reader, _NEVER)
            self.edge(reader, up, _NEVER)

    def high_side(self) -> set[int]:
        """The vertices that are in FP32 in a cut of least cost."""
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import breadth_first_order, maximum_flow

        starts, ends = np.array(list(self._edges), np.int32).T
        capacities = np.array(list(self._edges.values()), np.int32)
        graph = csr_array((capacities, (starts, ends)), (self._count, self._count), np.int32)
        residual = graph - maximum_flow(graph, _HIGH, _LOW).flow
        residual.eliminate_zeros()
        return set(breadth_first_order(residual, _HIGH, return_predecessors=False).tolist())
