"""A walk through a graph gives what a run of it gives, and goes on from what was changed."""

from __future__ import annotations

import numpy as np
import onnx

from deploy.npz import Array
from engines.graphs import load
from engines.ptq.walk import Walk
from engines.sessions import session


def test_node_by_node(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    graph = load(model)
    batches = [{name: array[i : i + 4] for name, array in samples.items()} for i in (0, 4)]
    walk = Walk(graph, batches)
    node = walk.until("logits")
    walk.step({})
    run = session(graph, optimize=False)
    for found, batch in zip(walk.of(node.outputs[0]), batches, strict=True):
        assert np.allclose(found, run.run(None, batch)[0], atol=1e-6)


def test_a_changed_constant_is_used(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    walk = Walk(load(model), [{name: array[:4] for name, array in samples.items()}])
    node = walk.until("logits")
    walk.step({"logits/w": np.zeros((16, 5), np.float32), "logits/b": np.arange(5, dtype=np.float32)})
    assert np.array_equal(walk.of(node.outputs[0])[0], np.tile(np.arange(5, dtype=np.float32), (4, 1)))
