from __future__ import annotations

from engines.layer_table import LayerTable, Operand, Row
from engines.search.guard import compare


def table(kernels: int, dtype: str) -> LayerTable:
    row = Row("k", "kgen", (Operand("i", (-1, 1 << 20), dtype),), (), (), "", ())
    return LayerTable((row,) * kernels)


def test_fewer_bytes_in_more_kernels_can_cost_more() -> None:
    assert compare("int8", table(2, "int8"), "fp16", table(2, "fp16")).cheaper
    verdict = compare("int8", table(9, "int8"), "fp16", table(5, "fp16"))
    assert not verdict.cheaper
    figures = "9 kernels moving 9.00 MiB against 5 kernels moving 10.00 MiB"
    assert verdict.text == f"int8 is not cheaper than fp16 here: {figures}"
    assert compare("int8", table(9, "int8"), "fp16", table(5, "fp16"), batch=64).cheaper
