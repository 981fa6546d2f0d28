"""A layer as a product of matrices is the layer that ONNX Runtime computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from engines.graphs import constant, load, weights_of
from engines.ptq.products import columns, from_columns, is_product, moments
from engines.sessions import session
from tests.engines.graphs import Graph


def conv(shape: tuple[int, ...], **attributes: Any) -> onnx.ModelProto:
    g = Graph()
    g.conv("x", "y", shape, **attributes)
    return g.model({"x": ["batch", shape[1] * attributes.get("group", 1), 9, 8]}, ["y"])


def gemm(transpose: bool) -> onnx.ModelProto:
    g = Graph()
    g.gemm("x", "y", 6, 4, transpose)
    return g.model({"x": ["batch", 6]}, ["y"])


@pytest.mark.parametrize(
    "model",
    [
        conv((5, 3, 3, 3)),
        conv((4, 2, 3, 2), strides=[2, 1], pads=[1, 0, 0, 1]),
        conv((4, 2, 3, 3), dilations=[2, 2], pads=[2, 1, 1, 2]),
        conv((6, 1, 3, 3), group=6),
        conv((6, 2, 1, 1), group=3, pads=[0, 0, 0, 0]),
        gemm(False),
        gemm(True),
    ],
)
def test_means_and_moments_are_those_of_the_layer(model: onnx.ModelProto) -> None:
    graph = load(model)
    (node,) = graph.graph
    shape = [3, *(size for size in graph.graph.inputs[0].shape or () if isinstance(size, int))]
    x = np.random.default_rng(1).normal(0.5, 1, shape).astype(np.float32)
    y = session(graph, optimize=False).run(None, {"x": x})[0]
    weights = weights_of(node)
    assert weights is not None
    assert is_product(node)
    kernel = columns(node, weights.array)
    assert np.array_equal(from_columns(node, kernel, weights.array.shape), weights.array)
    found = moments(node, [(x, y)], 10**6)
    bias = constant(node.inputs[2])
    assert bias is not None
    means = (found.inputs[:, None] @ kernel).reshape(-1) + bias
    others = tuple(axis for axis in range(y.ndim) if axis != 1)
    assert means == pytest.approx(y.mean(axis=others), abs=1e-5)
    assert found.outputs.reshape(-1) == pytest.approx(y.mean(axis=others), abs=1e-5)
    variance = np.einsum("gkm,gkl,glm->gm", kernel, found.gram, kernel).reshape(-1)
    assert variance == pytest.approx(y.var(axis=others), rel=1e-4)


def test_what_is_no_plain_product() -> None:
    (node,) = load(conv((5, 3, 3, 3), pads=None, auto_pad="SAME_UPPER")).graph
    assert not is_product(node)
