"""Times parallel convolutions against one merged convolution on ONNX Runtime's CPU, one thread.

python -m benchmarks.horizontal_merging [-o benchmarks/results/horizontal_merging.md]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

BRANCHES = ((192, 35, (64, 48, 64)), (768, 17, (192, 128, 128)), (1280, 8, (320, 384, 448)))
"""Channels, size and filters of InceptionV3's parallel 1x1 convolutions."""

STREAMS = (3, 3, 8)
"""Filters of MEAN_Spot's streams."""

RNG = np.random.default_rng(0)


def main() -> None:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/horizontal_merging.md"))
    arguments = parser.parse_args()
    rows = [_branches(*case) for case in BRANCHES]
    rows.append(_streams())
    lines = [
        "# Parallel convolutions as one",
        "",
        "`python -m benchmarks.horizontal_merging`: ONNX Runtime's CPU, one thread, batch 1, processor time of a run, "
        "median of 9 rounds of 200; the ratio is the median of the rounds' ratios. Outputs are equal to 1e-5.",
        "",
        "| what | apart µs | merged µs | ratio | nodes apart | merged |",
        "|---|---|---|---|---|---|",
        *rows,
    ]
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _float(*shape: int) -> Any:
    return (RNG.standard_normal(shape) * 0.1).astype(np.float32)


def _branches(channels: int, size: int, filters: tuple[int, ...]) -> str:
    """Convolution and ReLU for each branch, or once for all and a Split."""
    x = _float(1, channels, size, size)
    kernels, biases = [_float(count, channels, 1, 1) for count in filters], [_float(count) for count in filters]
    constants = {f"w{i}": w for i, w in enumerate(kernels)} | {f"b{i}": b for i, b in enumerate(biases)}
    apart = [node for i in range(len(filters)) for node in _conv_relu("x", f"w{i}", f"b{i}", f"y{i}")]
    outputs = [f"y{i}" for i in range(len(filters))]
    merged = [*_conv_relu("x", "w", "b", "c"), helper.make_node("Split", ["c", "s"], outputs, axis=1)]
    joined = {"w": np.concatenate(kernels), "b": np.concatenate(biases), "s": np.asarray(filters, np.int64)}
    name = f"1x1 convolutions of {channels}x{size}x{size} to {', '.join(map(str, filters))}"
    return _row(name, (apart, constants), (merged, joined), {"x": x}, outputs)


def _streams() -> str:
    """Three streams of convolution, ReLU, BatchNormalization and MaxPool; or one with zeros between the streams."""
    inputs = {f"x{i}": _float(1, 42, 42, 1) for i in range(len(STREAMS))}
    kernels, scales = [_float(count, 1, 5, 5) for count in STREAMS], [abs(_float(count)) for count in STREAMS]
    shape = {"s": np.asarray([0, 1, 42, 42], np.int64)}
    reshapes = [helper.make_node("Reshape", [name, "s"], [f"r{i}"]) for i, name in enumerate(inputs)]
    parts = [f"p{i}" for i in range(len(STREAMS))]
    apart = [*reshapes]
    for i, part in enumerate(parts):
        apart += _stream(f"r{i}", f"w{i}", f"g{i}", part)
    apart.append(helper.make_node("Concat", parts, ["y"], axis=1))
    constants = shape | {f"w{i}": w for i, w in enumerate(kernels)} | {f"g{i}": g for i, g in enumerate(scales)}
    wide = np.zeros((sum(STREAMS), len(STREAMS), 5, 5), np.float32)
    ends = np.cumsum(STREAMS)
    for i, (end, kernel) in enumerate(zip(ends, kernels, strict=True)):
        wide[end - len(kernel) : end, i : i + 1] = kernel
    sources = [f"r{i}" for i in range(len(STREAMS))]
    merged = [*reshapes, helper.make_node("Concat", sources, ["x"], axis=1), *_stream("x", "w", "g", "y")]
    joined = shape | {"w": wide, "g": np.concatenate(scales)}
    return _row("MEAN_Spot's three streams, up to their Concat", (apart, constants), (merged, joined), inputs, ["y"])


def _conv_relu(x: str, kernel: str, bias: str, y: str) -> list[Any]:
    return [helper.make_node("Conv", [x, kernel, bias], [f"{y}/c"]), helper.make_node("Relu", [f"{y}/c"], [y])]


def _stream(x: str, kernel: str, scale: str, y: str) -> list[Any]:
    return [
        helper.make_node("Conv", [x, kernel], [f"{y}/c"], pads=[2, 2, 2, 2]),
        helper.make_node("Relu", [f"{y}/c"], [f"{y}/r"]),
        helper.make_node("BatchNormalization", [f"{y}/r", scale, scale, scale, scale], [f"{y}/n"]),
        helper.make_node("MaxPool", [f"{y}/n"], [y], kernel_shape=[3, 3], strides=[3, 3]),
    ]


def _session(graph: tuple[list[Any], dict[str, Any]], inputs: dict[str, Any], outputs: list[str]) -> Any:
    nodes, constants = graph
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, x.shape) for name, x in inputs.items()]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    arrays = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "graph", values, results, arrays),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _row(name: str, apart: Any, merged: Any, inputs: dict[str, Any], outputs: list[str]) -> str:
    sessions = [_session(graph, inputs, outputs) for graph in (apart, merged)]
    for a, b in zip(*(session.run(None, inputs) for session in sessions), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    times: list[list[float]] = [[], []]
    for _ in range(9):
        for session, found in zip(sessions, times, strict=True):
            start = time.process_time()
            for _ in range(200):
                session.run(None, inputs)
            found.append((time.process_time() - start) / 200 * 1e6)
    first, second = (statistics.median(found) for found in times)
    ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
    return f"| {name} | {first:.0f} | {second:.0f} | {ratio:.2f} | {len(apart[0])} | {len(merged[0])} |"


if __name__ == "__main__":
    main()
