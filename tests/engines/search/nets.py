"""A hostile network: what makes INT8 fail, each in a layer of its own, among layers that are harmless."""

from __future__ import annotations

import numpy as np
import onnx

from tests.engines.graphs import Graph

HUGE = {"huge", "after_huge"}
"""Layers that write and read activations of 1e5."""
OUTLIER = "after_outlier"
"""The layer that reads one channel which is 1000 times as large as the others."""
GATE = "gate"


def hostile(channels: int = 8, size: int = 8) -> onnx.ModelProto:
    """X -> calm1 -> huge -> after_huge -> outlier -> after_outlier -> calm2, times a gate near 0 -> calm3 -> logits."""
    g = Graph()
    axes = g.constant("axes", np.array([2, 3], np.int64))
    square = (channels, channels, 3, 3)
    x = g.node("Relu", [g.conv("x", "calm1", square, 1.4)], "calm1/relu")
    x = _scaled(g, x, "huge", square, rows=np.full(channels, 1e5))
    x = _scaled(g, x, "after_huge", square, columns=np.full(channels, 1e-5))
    loud = np.ones(channels)
    loud[0] = 1000.0
    x = _scaled(g, x, "outlier", square, rows=loud)
    x = _scaled(g, x, OUTLIER, square, columns=1 / loud)
    x = g.node("Relu", [g.conv(x, "calm2", square, 1.4)], "calm2/relu")
    pooled = g.node("ReduceMean", [x, axes], "gate/pool", keepdims=1)
    offset = g.constant("gate/offset", np.float32(-4.0))
    gate = g.node("Add", [g.conv(pooled, GATE, (channels, channels, 1, 1)), offset], "gate/offset_added")
    x = g.node("Mul", [x, g.node("Sigmoid", [gate], "gate/sigmoid")], "gated")
    x = g.node("Relu", [g.conv(x, "calm3", square, 40.0)], "calm3/relu")
    g.gemm(g.node("ReduceMean", [x, axes], "average", keepdims=0), "logits", channels, 5)
    return g.model({"x": ["batch", channels, size, size]}, ["logits"])


def _scaled(g: Graph, x: str, name: str, shape: tuple[int, ...], rows: object = 1.0, columns: object = 1.0) -> str:
    """A convolution whose output channels are scaled by ``rows`` and its input channels by ``columns``, and a Relu."""
    weight = g.random.normal(size=shape) * 1.4 / np.sqrt(np.prod(shape[1:]))
    weight *= np.broadcast_to(rows, shape[0])[:, None, None, None] * np.broadcast_to(columns, shape[1])[:, None, None]
    w = g.constant(f"{name}/w", weight.astype(np.float32))
    return g.node("Relu", [g.node("Conv", [x, w], name, pads=[1, 1, 1, 1])], f"{name}/relu")


def chain(layers: int = 10, channels: int = 8, classes: int = 20) -> onnx.ModelProto:
    """As many convolutions in a row, of widths that differ, and a classifier: one group each."""
    g = Graph(seed=3)
    axes = g.constant("axes", np.array([2, 3], np.int64))
    x, width = "x", 3
    for index in range(layers - 1):
        out = channels * (1 + index % 3)
        x = g.node("Relu", [g.conv(x, f"conv{index}", (out, width, 3, 3), 1.4)], f"conv{index}/relu")
        width = out
    g.gemm(g.node("ReduceMean", [x, axes], "average", keepdims=0), "logits", width, classes)
    return g.model({"x": ["batch", 3, 8, 8]}, ["logits"])


def normal(shape: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Samples of the input x."""
    return {"x": np.random.default_rng(seed).normal(size=shape).astype(np.float32)}
