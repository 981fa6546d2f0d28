"""converters.inference: types and shapes are ONNX's own, and those of one node are never taken for another's."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from converters.inference import Known, infer


def value(name: str, *shape: int | str, dtype: ir.DataType = ir.DataType.FLOAT) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(dtype))


def constant(name: str, numbers: list[int]) -> ir.Value:
    tensor = ir.tensor(np.asarray(numbers, np.int64), name=name)
    return ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)


def node(op_type: str, *inputs: ir.Value | None, **attributes: object) -> ir.Node:
    made = ir.node(op_type, list(inputs), attributes, version=17)  # type: ignore[arg-type]
    made.outputs[0].name = "y"
    return made


def shape_of(made: ir.Node, known: Known) -> list[object]:
    infer(made, known)
    found = made.outputs[0].shape
    assert found is not None
    return [size if isinstance(size, int) else size.value for size in found]


def test_equal_nodes_are_inferred_once() -> None:
    known: Known = {}
    nodes = [node("Softmax", value(name, "batch", 8), axis=1) for name in ("a", "b")]
    assert [shape_of(x, known) for x in nodes] == [["batch", 8], ["batch", 8]]
    assert len(known) == 1
    assert [x.outputs[0].dtype for x in nodes] == [ir.DataType.FLOAT] * 2


def test_equal_nodes_share_no_shape() -> None:
    known: Known = {}
    first, second = (node("Relu", value("a", "batch", 8)) for _ in range(2))
    infer(first, known)
    infer(second, known)
    assert first.outputs[0].shape is not None
    first.outputs[0].shape[0] = 1
    assert shape_of(second, known) == ["batch", 8]


@pytest.mark.parametrize(
    ("first", "second", "shapes"),
    [
        (
            node("Reshape", value("a", 6), constant("s", [2, 3])),
            node("Reshape", value("a", 6), constant("s", [3, 2])),
            ([2, 3], [3, 2]),
        ),
        (
            node("Concat", value("a", 2, 4), value("b", 2, 4), axis=0),
            node("Concat", value("a", 2, 4), value("b", 2, 4), axis=1),
            ([4, 4], [2, 8]),
        ),
        (node("Relu", value("a", "batch")), node("Relu", value("a", "time")), (["batch"], ["time"])),
        (
            node("Clip", value("a", 2), None, value("b")),
            node("Clip", value("a", 3), value("b"), None),
            ([2], [3]),
        ),
    ],
    ids=["numbers", "attributes", "sizes", "places"],
)
def test_nodes_that_differ_are_told_apart(
    first: ir.Node, second: ir.Node, shapes: tuple[list[object], list[object]]
) -> None:
    known: Known = {}
    assert (shape_of(first, known), shape_of(second, known)) == shapes


def test_nodes_of_other_dtypes_are_told_apart() -> None:
    known: Known = {}
    nodes = [node("Relu", value("a", 2, dtype=dtype)) for dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE)]
    for each in nodes:
        infer(each, known)
    assert [each.outputs[0].dtype for each in nodes] == [ir.DataType.FLOAT, ir.DataType.DOUBLE]


def test_an_impossible_node_is_refused() -> None:
    with pytest.raises(Exception, match="Incompatible dimensions"):
        infer(node("MatMul", value("a", 2, 3), value("b", 2, 3)), {})


def test_a_node_of_unknown_rank_is_refused() -> None:
    sizes = value("s", "rank", dtype=ir.DataType.INT64)
    with pytest.raises(ValueError, match="no shape could be inferred"):
        infer(node("Reshape", value("a", 6), sizes), {})
