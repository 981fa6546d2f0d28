"""What the tests of passes share: graphs in ONNX's text format, and rules that are checked by execution."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper

from tests.converters.checking import Array, run_session

RNG = np.random.default_rng(0)


def floats(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def integers(*values: int) -> Array:
    return np.asarray(values, np.int64)


def norm(channels: int) -> dict[str, Array]:
    return {
        "gamma": RNG.uniform(0.5, 1.5, channels).astype(np.float32),
        "beta": floats(channels),
        "mean": floats(channels),
        "var": RNG.uniform(0.5, 1.5, channels).astype(np.float32),
    }


def graph(text: str, constants: dict[str, Array]) -> ir.Model:
    """A model of ONNX's text format and initializers; each node is named after its first output."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 18]>\nmain {text}')
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in constants.items())
    for node in proto.graph.node:
        node.name = node.output[0]
    return ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True))


def execute(model: ir.Model) -> list[Array]:
    rng = np.random.default_rng(3)
    proto = ir.serde.serialize_model(model)
    onnx.checker.check_model(proto, full_check=True)
    inputs = []
    for value in model.graph.inputs:
        sizes = [size if isinstance(size, int) else 2 for size in value.shape or ()]
        inputs.append(rng.standard_normal(sizes).astype(np.float32))
    return run_session(proto)(inputs)


@dataclass(frozen=True)
class Rule:
    """A pass on a graph; ``expects``: the operations afterwards, or None where it must change nothing."""

    name: str
    fold: Any
    text: str
    constants: dict[str, Array]
    expects: str | None

    def __str__(self) -> str:
        return self.name


def check_rule(rule: Rule) -> None:
    """Applies the pass until it is still: the operations are those expected, the outputs and their names stay."""
    model = graph(rule.text, rule.constants)
    before, outputs = ir.serde.serialize_model(model), execute(model)
    names = [value.name for value in model.graph.outputs]
    changed = False
    while rule.fold(model.graph):
        changed = True
    ir.passes.common.RemoveUnusedNodesPass()(model)
    if rule.expects is None:
        assert not changed
        assert ir.serde.serialize_model(model).graph.node == before.graph.node
        return
    assert changed
    counts = Counter(node.op_type for node in model.graph)
    assert ",".join(f"{name}:{counts[name]}" for name in sorted(counts)) == rule.expects
    assert [value.name for value in model.graph.outputs] == names
    for old, new in zip(outputs, execute(model), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-5 * max(1.0, float(np.abs(old).max())))
