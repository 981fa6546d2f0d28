"""Clean-ups of the lowered graph, one rule a file, in an order that leaves nothing to do for a second round.

Each pass takes a graph, changes it in place and says whether it changed anything. A node that absorbs its consumer
takes over the consumer's name and that of its value, so that a layer's name stays on the value the layer gives.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
    LiftSubgraphInitializersToMainGraphPass,
    RemoveUnusedNodesPass,
)

from converters.arrays import contiguous
from converters.passes.fold_affine import fold_affine
from converters.passes.fold_batch_norm import fold_batch_norm
from converters.passes.fold_bias import fold_bias
from converters.passes.fold_branches import fold_branches
from converters.passes.fold_chain import fold_chain
from converters.passes.fold_concat import fold_concat
from converters.passes.fold_flatten import fold_flatten
from converters.passes.fold_hard_sigmoid import fold_hard_sigmoid
from converters.passes.fold_keepdims import fold_keepdims
from converters.passes.fold_norm import fold_norm
from converters.passes.fold_ones import fold_ones
from converters.passes.fold_pad import fold_pad
from converters.passes.fold_patches import fold_patches
from converters.passes.fold_pool import fold_pool
from converters.passes.fold_repeated import fold_repeated
from converters.passes.fold_reshape import fold_reshape
from converters.passes.fold_scale import fold_scale
from converters.passes.fold_softmax import fold_softmax
from converters.passes.fold_sum import fold_sum
from converters.passes.fold_unflatten import fold_unflatten
from converters.passes.join_slices import join_slices
from converters.passes.lift_constant import lift_constant
from converters.passes.lift_gate import lift_gate
from converters.passes.lift_transpose import lift_transpose
from converters.passes.merge_shared import merge_shared
from converters.passes.remove_identity import remove_identity
from converters.passes.rewriting import constant
from converters.passes.spell_eye import spell_eye
from converters.passes.swap_reshape import swap_reshape

Pass = Callable[[ir.Graph], bool]

PASSES: tuple[Pass, ...] = (
    fold_repeated,
    fold_reshape,
    fold_ones,
    fold_hard_sigmoid,
    fold_softmax,
    fold_norm,
    fold_pad,
    fold_pool,
    fold_concat,
    lift_constant,
    fold_bias,
    fold_batch_norm,
    fold_branches,
    fold_scale,
    fold_affine,
    fold_chain,
    fold_keepdims,
    lift_gate,
    fold_flatten,
    fold_unflatten,
    lift_transpose,
    join_slices,
    swap_reshape,
    fold_reshape,
    fold_patches,
    merge_shared,
    fold_sum,
    spell_eye,
)
"""For the main graph."""
BODY_PASSES: tuple[Pass, ...] = (fold_reshape, fold_bias, fold_batch_norm)
"""For the bodies of branches and loops: those that leave a node of the graph around alone."""


def clean(model: ir.Model) -> None:
    """Runs the passes until none changes the graph. Outputs keep their names and stay one value each."""
    names = [value.name for value in model.graph.outputs]
    _run(model, RemoveUnusedNodesPass())
    _run(model, CommonSubexpressionEliminationPass())
    for graph in model.graphs():
        changed = True
        while changed:
            changed = False
            for fold in PASSES if graph is model.graph else BODY_PASSES:
                changed |= fold(graph)
        remove_identity(graph)
    _run(model, LiftSubgraphInitializersToMainGraphPass())
    _run(model, DeduplicateInitializersPass())
    _run(model, CommonSubexpressionEliminationPass())
    _run(model, RemoveUnusedNodesPass())
    _separate_outputs(model.graph, names)
    for value in model.graph.initializers.values():
        _in_order(value)


def _in_order(value: ir.Value) -> None:
    """Gives an initializer that is a transposed view numbers of its own, in ONNX's order."""
    array = constant(value)
    if array is not None and not array.flags.c_contiguous:
        value.const_value = ir.Tensor(contiguous(array), name=value.name)


def _separate_outputs(graph: ir.Graph, names: list[str | None]) -> None:
    """Gives an output of its own, by an Identity, to each that a pass joined with another, an input or a constant."""
    nodes = {node.name for node in graph}
    for index, name in enumerate(names):
        value = graph.outputs[index]
        if value in graph.outputs[:index] or value.is_graph_input() or value.is_initializer():
            label, number = f"{name}/Identity", 1
            while label in nodes:
                label, number = f"{name}/Identity_{number}", number + 1
            copy = ir.node("Identity", [value], name=label)
            copy.outputs[0].type, copy.outputs[0].shape = value.type, value.shape
            graph.append(copy)
            value = graph.outputs[index] = copy.outputs[0]
        value.name = name


def _run(model: ir.Model, transformation: ir.passes.InPlacePass) -> None:
    transformation(model)
