"""What a quantized graph does to the logits, which of its layers are INT8, and what TensorRT-RTX makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.graphs import compute_nodes
from engines.layer_table import lowered, read_builder
from engines.logits import logits, return_values
from engines.recipe import Recipe
from engines.sessions import session

Array = NDArray[Any]

BATCH = 256
_PASSED = ("QuantizeLinear", "DequantizeLinear", "Identity")


@dataclass(frozen=True)
class Judged:
    """``sqnr``: of the logits, dB. ``agreement``: part of the inputs whose largest logit is FP32's (NaN of one output).

    ``int8``: names of the INT8 layers; ``lowered``: how many of them TensorRT-RTX lowered as INT8, or why it did not
    build the graph. ``placed``: SQNR of the same scales in our placement, dB.
    """

    sqnr: float
    agreement: float
    int8: frozenset[str]
    lowered: int | str
    placed: float | None = None


def outputs(model: ir.Model, inputs: Mapping[str, Array], value: str) -> Array:
    """One value of a graph for all inputs, every optimization off: FP32 arithmetic between Q and DQ."""
    return_values(model, [value])
    run = session(model, optimize=False)
    count = len(next(iter(inputs.values())))
    parts = [run.run(None, {n: a[i : i + BATCH] for n, a in inputs.items()})[0] for i in range(0, count, BATCH)]
    return np.concatenate(parts).astype(np.float64)


def logits_of(model: ir.Model) -> str:
    """The value that stands for the only output.

    A Q/DQ pair that a tool put behind a Softmax is passed over, and the Identity that is left where it was taken out.
    """
    (value,) = model.graph.outputs
    while (producer := value.producer()) is not None and producer.op_type in _PASSED:
        source = producer.inputs[0]
        assert source is not None
        value = source
    found = logits(value)
    return found.value if found.squashing else logits(model.graph.outputs[0]).value


def sqnr(found: Array, exact: Array) -> float:
    """Signal power over noise power, in dB."""
    return float(10 * np.log10((exact**2).sum() / max(float(((found - exact) ** 2).sum()), 1e-30)))


def agreement(found: Array, exact: Array) -> float:
    """Part of the inputs that keep their class; NaN of a model with one output."""
    if exact.shape[-1] == 1:
        return float("nan")
    return float((found.argmax(-1) == exact.argmax(-1)).mean())


def int8_layers(model: ir.Model) -> frozenset[str]:
    """Conv, Gemm and MatMul whose two operands both come from a DequantizeLinear."""
    return frozenset(
        node.name or "" for node in compute_nodes(model) if all(_dequantized(value) for value in node.inputs[:2])
    )


def _dequantized(value: ir.Value | None) -> bool:
    """Whether a value is dequantized, perhaps reshaped since."""
    producer = value.producer() if value is not None else None
    if producer is not None and producer.op_type in ("Reshape", "Transpose", "Unsqueeze", "Squeeze"):
        return _dequantized(producer.inputs[0])
    return producer is not None and producer.op_type == "DequantizeLinear"


def lowered_as_int8(model: ir.Model, profile: Profile) -> int | str:
    """How many products TensorRT-RTX lowers as INT8 (for SM80 and newer: on SM75 there is none), or what it says."""
    import tensorrt_rtx

    from engines.targets import nvidia
    from engines.targets.rtx import CAPABILITIES, UNSUITED

    capabilities = [name for name in CAPABILITIES if name not in UNSUITED["int8"]]
    nodes = {node.name or "": node.op_type for node in compute_nodes(model)}
    try:
        built = nvidia.build(tensorrt_rtx, ir.to_proto(model).SerializeToString(), profile, capabilities)
    except (BuildError, nvidia.Failure) as error:
        return str(error).partition("\n")[0][:160]
    table = read_builder(built.layers)
    return sum(layer.found == "int8" for layer in lowered(table, Recipe("int8", "fp32"), nodes))


def judge(model: ir.Model, inputs: Mapping[str, Array], exact: Array, built: bool = True) -> Judged:
    """Judges a graph with Q/DQ against the logits ``exact`` of the FP32 graph."""
    result = lowered_as_int8(model, Profile()) if built else ""
    layers = int8_layers(model)
    found = outputs(model, inputs, logits_of(model))
    return Judged(sqnr(found, exact), agreement(found, exact), layers, result)


def judge_logits(path: Path, exact: Array) -> Judged:
    """Judges what a tool without an ONNX graph computed itself (`benchmarks.peers.run_mct`)."""
    with np.load(path) as archive:
        floating, found, layers = (archive[name] for name in ("float", "int8", "layers"))
    error = np.abs(floating - exact).max() / np.abs(exact).max()
    assert error < 1e-4, f"{path.stem}: the model that was built again errs by {error:.2g}"
    return Judged(sqnr(found, exact), agreement(found, exact), frozenset(map(str, layers)), "")
