"""What a layer costs low and high, in bytes: those that move, and what else takes as long as moving that many.

1. Nominal, by the graph alone: each layer reads its weights and its input, one byte an element in INT8 or FP8 and two
   in FP16, and its multiplications take as long as moving ``2 * products / BALANCE`` bytes in FP16, half of it in 8
   bits (Williams et al. 2009, "Roofline"). What it writes is the next layer's input. This is what 8 bits promise.
2. Realised, by the layer tables of two builds, all low and all high (`engines.layer_table`): the operands of each
   kernel that computes a layer of the group or quantizes its input, and `KERNEL` for its launch. This is what the
   builder made of it: TensorRT-RTX lets an INT8 convolution write FP32 and requantizes in a second kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engines.layer_table import LayerTable, Operand, Row
from engines.search.groups import Group

BALANCE = 200.0
"""FP16 operations in the time of one byte: A100 153 (312 TFLOPS, 2039 GB/s), RTX 4090 164 (165, 1008), L4 403 (121,
300), by NVIDIA's data sheets, dense and with FP32 sums; 8 bits have twice the operations."""
KERNEL = 1 << 18
"""Bytes in the time of a launch: about a microsecond (in a CUDA graph) at 300 GB/s."""
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1, "Int32": 4, "Int64": 8, "Bool": 1}


@dataclass(frozen=True)
class Cost:
    """Of one group, in 8 bits and in the recipe's base."""

    low: float
    high: float


def nominal(groups: Sequence[Group], batch: int = 1) -> dict[str, Cost]:
    """Rule 1, by the group's value, for a batch of that size."""
    found = {}
    for group in groups:
        operands = group.weights + batch * group.read
        arithmetic = 2 * batch * group.products / BALANCE
        found[group.value] = Cost(operands + arithmetic / 2, 2 * operands + arithmetic)
    return found


def realised(groups: Sequence[Group], low: LayerTable, high: LayerTable, batch: int = 1) -> dict[str, Cost]:
    """Rule 2, by the group's value."""
    return {g.value: Cost(_of(g, groups, low, batch), _of(g, groups, high, batch)) for g in groups}


def total(table: LayerTable, batch: int = 1) -> float:
    """Bytes of all operands of all kernels, and `KERNEL` for each."""
    return sum(_row(row, batch) for row in table.rows)


def moved(table: LayerTable, batch: int = 1) -> int:
    """Bytes of all operands of all kernels."""
    return sum(_bytes(row, batch) for row in table.rows)


def _of(group: Group, groups: Sequence[Group], table: LayerTable, batch: int) -> float:
    """A kernel that computes layers of several groups is shared by them."""
    cost = 0.0
    for row in table.rows:
        if not _names(group).isdisjoint(row.nodes):
            cost += _row(row, batch) / sum(not _names(other).isdisjoint(row.nodes) for other in groups)
    return cost


def _names(group: Group) -> frozenset[str]:
    return frozenset((*group.layers, f"{group.value}/quantize"))


def _row(row: Row, batch: int) -> float:
    return KERNEL + _bytes(row, batch)


def _bytes(row: Row, batch: int) -> int:
    return sum(_size(operand, batch) for operand in (*row.inputs, *row.constants, *row.outputs))


def _size(operand: Operand, batch: int) -> int:
    many = batch if -1 in operand.shape else 1
    return operand.elements * BYTES.get(operand.dtype, 4) * many


def saved(costs: Mapping[str, Cost], low: Sequence[str]) -> float:
    """Part of the cost that these groups save in 8 bits, of what they cost all high."""
    whole = sum(cost.high for cost in costs.values())
    return sum(costs[value].high - costs[value].low for value in low) / whole if whole else 0.0
