"""Small FP32 graphs as converters write them, made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Graph:
    """Collects nodes and constants; every node's output has the node's name."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(seed)

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def conv(self, x: str, name: str, shape: tuple[int, ...], gain: float = 1.0, **attributes: Any) -> str:
        fan = float(np.prod(shape[1:]))
        w = self.constant(f"{name}/w", (self.random.normal(size=shape) * gain / np.sqrt(fan)).astype(np.float32))
        b = self.constant(f"{name}/b", (self.random.normal(size=shape[0]) * 0.1).astype(np.float32))
        return self.node("Conv", [x, w, b], name, **{"pads": [shape[2] // 2, shape[3] // 2] * 2, **attributes})

    def gemm(self, x: str, name: str, inputs: int, outputs: int, transpose: bool = False) -> str:
        shape = (outputs, inputs) if transpose else (inputs, outputs)
        w = self.constant(f"{name}/w", (self.random.normal(size=shape) / np.sqrt(inputs)).astype(np.float32))
        b = self.constant(f"{name}/b", (self.random.normal(size=outputs) * 0.1).astype(np.float32))
        return self.node("Gemm", [x, w, b], name, **({"transB": 1} if transpose else {}))

    def model(self, inputs: dict[str, list[Any]], outputs: list[str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "model",
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        onnx.checker.check_model(model, full_check=True)
        return model


def cbam_residual(channels: int = 16, size: int = 12, classes: int = 20) -> onnx.ModelProto:
    """A stem, a residual block with CBAM before its addition, and a classifier: every structure the rules speak of."""
    g = Graph()
    axes = g.constant("spatial_axes", np.array([2, 3], np.int64))
    channel = g.constant("channel_axis", np.array([1], np.int64))
    x = g.node("Transpose", ["image"], "to_nchw", perm=[0, 3, 1, 2])
    x = g.node("Relu", [g.conv(x, "stem/conv", (channels, 3, 3, 3))], "stem")
    x = g.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
    y = g.node("Relu", [g.conv(x, "block/conv1", (channels, channels, 3, 3))], "block/relu1")
    y = g.conv(y, "block/conv2", (channels, channels, 3, 3))
    mean = g.node("ReduceMean", [y, axes], "block/cbam/mean", keepdims=1)
    peak = g.node("ReduceMax", [y, axes], "block/cbam/max", keepdims=1)
    both = g.node("Concat", [mean, peak], "block/cbam/both", axis=2)
    mlp = g.node("Relu", [g.conv(both, "block/cbam/fc1", (channels // 4, channels, 1, 1))], "block/cbam/relu")
    mlp = g.conv(mlp, "block/cbam/fc2", (channels, channels // 4, 1, 1))
    two = g.constant("two", np.array([2], np.int64))
    mlp = g.node("ReduceSum", [mlp, two], "block/cbam/sum", keepdims=1)
    y = g.node("Mul", [y, g.node("Sigmoid", [mlp], "block/cbam/channel")], "block/cbam/scaled")
    spatial = g.node(
        "Concat",
        [
            g.node("ReduceMean", [y, channel], "block/cbam/smean", keepdims=1),
            g.node("ReduceMax", [y, channel], "block/cbam/smax", keepdims=1),
        ],
        "block/cbam/pooled",
        axis=1,
    )
    gate = g.node("Sigmoid", [g.conv(spatial, "block/cbam/conv7", (1, 2, 7, 7))], "block/cbam/spatial")
    y = g.node("Mul", [y, gate], "block/cbam")
    x = g.node("Relu", [g.node("Add", [y, x], "block/add")], "block")
    x = g.node("ReduceMean", [x, axes], "average", keepdims=0)
    g.gemm(x, "logits", channels, classes)
    return g.model({"image": ["batch", size, size, 3]}, ["logits"])
