"""Nets that one repair helps, and their samples."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from deploy.npz import Array
from tests.engines.graphs import Graph

CHANNELS = 16


def with_outlier(gain: float = 1000.0) -> onnx.ModelProto:
    """Conv, Relu, Conv, Relu, mean, Gemm; the first makes channel 0 larger, the second reads it as much smaller."""
    g = Graph(seed=3)
    x = g.node("Relu", [g.conv("x", "conv1", (CHANNELS, 3, 3, 3))], "relu1")
    x = g.node("Relu", [g.conv(x, "conv2", (CHANNELS, CHANNELS, 3, 3))], "relu2")
    axes = g.constant("axes", np.array([2, 3], np.int64))
    g.gemm(g.node("ReduceMean", [x, axes], "mean", keepdims=0), "logits", CHANNELS, 16)
    for tensor in g.constants:
        array = numpy_helper.to_array(tensor).copy()
        if tensor.name in ("conv1/w", "conv1/b"):
            array[0] *= gain
        elif tensor.name == "conv2/w":
            array[:, 0] /= gain
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return g.model({"x": ["batch", 3, 10, 10]}, ["logits"])


def inputs(count: int, seed: int) -> dict[str, Array]:
    """Samples of it, with neighbouring pixels alike, as those of images are."""
    noise = np.random.default_rng(seed).normal(size=(count, 3, 12, 12)).astype(np.float32)
    smooth = sum(noise[:, :, i : i + 10, j : j + 10] for i in range(3) for j in range(3))
    return {"x": np.asarray(smooth, np.float32) / 3}


def with_coarse_weights(size: int = 64, outputs: int = 16) -> onnx.ModelProto:
    """One Gemm with a weight per output that is far larger than the others, so that these get few steps."""
    g = Graph(seed=5)
    array = g.random.normal(size=(size, outputs))
    array[np.arange(outputs), np.arange(outputs)] = 20
    weight, bias = (
        g.constant("logits/w", (array / 8).astype(np.float32)),
        g.constant("logits/b", np.zeros(16, np.float32)),
    )
    g.node("Gemm", ["x", weight, bias], "logits")
    return g.model({"x": ["batch", size]}, ["logits"])


def alike(count: int, seed: int, size: int = 64) -> dict[str, Array]:
    """Samples of it in four directions alone: what rounding does elsewhere costs nothing."""
    directions = np.random.default_rng(0).normal(size=(4, size))
    return {"x": (np.random.default_rng(seed).normal(size=(count, 4)) @ directions).astype(np.float32)}
