"""The fewest Casts, against all assignments of small graphs."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest

from engines.apply.casting import typed_inputs
from engines.apply.fewest_casts import joined
from engines.graphs import COMPUTE, constant, load
from tests.engines.graphs import Graph


def random_graph(seed: int) -> tuple[ir.Model, set[str]]:
    """Ten nodes, each of which reads one or two earlier ones; two must stay high."""
    random = np.random.default_rng(seed)
    g = Graph(seed)
    values = ["x"]
    for index in range(10):
        first, second = (str(random.choice(values[-4:])) for _ in range(2))
        operator = str(random.choice(["Conv", "Add", "Relu", "Mul", "Max"]))
        if operator == "Conv":
            values.append(g.conv(first, f"n{index}", (2, 2, 1, 1)))
        else:
            values.append(g.node(operator, [first] if operator == "Relu" else [first, second], f"n{index}"))
    read = {name for node in g.nodes for name in node.input}
    model = load(g.model({"x": ["batch", 2, 2, 2]}, [value for value in values if value not in read]))
    return model, {f"n{index}" for index in random.choice(10, 2, replace=False)}


def casts(model: ir.Model, high: set[str]) -> int:
    """Casts inside of the graph: its border is of either type, and so the cheaper one."""
    count = 0
    for value in (*model.graph.inputs, *(node.outputs[0] for node in model.graph)):
        readers = {node.name in high for node in model.graph for _, read in typed_inputs(node) if read is value}
        maker = value.producer()
        if constant(value) is None and maker is not None:
            count += len(readers - {maker.name in high})
        elif maker is None:
            count += max(len(readers) - 1, 0)
    return count


@pytest.mark.parametrize("seed", range(12))
def test_no_assignment_has_fewer_casts_or_as_many_with_fewer_nodes_in_fp32(seed: int) -> None:
    model, high = random_graph(seed)
    free = [node.name or "" for node in model.graph if node.op_type not in COMPUTE and node.name not in high]
    added = joined(model, high)
    assert added <= set(free)
    every = ({*itertools.compress(free, bits)} for bits in itertools.product((0, 1), repeat=len(free)))
    best = min((casts(model, high | chosen), len(chosen)) for chosen in every)
    assert (casts(model, high | added), len(added)) == best


def test_nothing_joins_where_nothing_is_high() -> None:
    for seed in range(12):
        assert not joined(random_graph(seed)[0], set())
