from __future__ import annotations

import json

import numpy as np
import pytest

from deploy.errors import BuildError
from engines.layer_table import Lowered, check, lowered, read_builder, read_inspector
from engines.recipe import LayerPrecision, Recipe

CONV = (
    "Name: c_myl0_2, LayerType: correlation, Inputs: [ { Name: x, Dimensions: [-1,16,8,8], Strides: [1024,1,128,16], "
    "StrideOrder: [3,0,2,1], Datatype: DATA, Format: (NHWC) Channel major format }], Constants: [ { Name: w, "
    "Dimensions: [8,16,3,3], Strides: [144,1,48,16], StrideOrder: [3,0,2,1], Datatype: WEIGHT, Format: (NHWC) Channel "
    "major format }, { Name: a, Dimensions: [1,8,1,1], Strides: [8,1,8,8], StrideOrder: [3,0,2,1], Datatype: Float, "
    "Format: (NHWC) Channel major format }], Outputs: [ { Name: y, Dimensions: [-1,8,6,6], Strides: [288,1,48,8], "
    "StrideOrder: [3,0,2,1], Datatype: Float, Format: (NHWC) Channel major format }], TacticName: stub, StreamId: 0, "
    "Metadata: [ONNX Layer: outer/c][ONNX Layer: x/dequantize]"
)
NOTHING = "Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0"
SIGNAL = f"Name: s, LayerType: signal, {NOTHING}, EventId: 1, Metadata: "


def message(data: str, weight: str) -> str:
    rows = [SIGNAL, CONV.replace("DATA", data).replace("WEIGHT", weight)]
    return "Layers:\n" + "\n".join(rows) + "\n\nI/O Tensors:\n Name: x, IOMode: Input"


def asked(precision: str) -> Recipe:
    return Recipe("int8", "fp16", (LayerPrecision("outer/c", precision, ""),))


def test_a_row_is_read_whole() -> None:
    row = read_builder(message("Int8", "Int8")).rows[1]
    assert (row.name, row.kind, row.nodes) == ("c_myl0_2", "correlation", ("outer/c", "x/dequantize"))
    assert [(o.name, o.shape, o.dtype) for o in row.inputs] == [("x", (-1, 16, 8, 8), "int8")]
    assert [(o.name, o.dtype) for o in row.constants] == [("w", "int8"), ("a", "fp32")]
    assert row.outputs[0].elements == 8 * 6 * 6


@pytest.mark.parametrize(
    ("data", "weight", "found"),
    [
        ("Int8", "Int8", "int8"),
        ("Half", "Half", "fp16"),
        ("Float", "Float", "fp32"),
        ("BFloat16", "BFloat16", "bf16"),
        ("Half", "Int8", "fp16xint8"),
        ("Int8", "Half", "int8xfp16"),
    ],
)
def test_int8_is_real_only_if_both_factors_are(data: str, weight: str, found: str) -> None:
    results = lowered(read_builder(message(data, weight)), asked("int8"), {"outer/c": "Conv"})
    assert results == (Lowered("outer/c", "Conv", "int8", found),)
    if found == "int8":
        check(results)
    else:
        with pytest.raises(BuildError, match="layer outer/c"):
            check(results)


@pytest.mark.parametrize(
    ("weight", "residual", "channels", "found"),
    [("Half", "Float", 16, "fp16"), ("Int8", "Int8", 7, "fp16xint8"), ("Int8", "Half", 8, "fp16xint8")],
)
def test_which_input_is_multiplied(weight: str, residual: str, channels: int, found: str) -> None:
    """A residual can stand before it, of other channels or of as many: then the type of the weight tells."""
    other = CONV.partition("Inputs: [ ")[2].partition("}")[0].replace("DATA", residual)
    other = other.replace("16,8,8", f"{channels},8,8")
    table = read_builder(message("Half", weight).replace("Inputs: [ ", f"Inputs: [ {other}}}, "))
    assert lowered(table, asked("fp16"), {"outer/c": "Conv"})[0].found == found


def test_a_mask_is_no_factor() -> None:
    mask = "{ Name: m, Dimensions: [1,1,64,64], Strides: [1], StrideOrder: [0], Datatype: Bool, Format: Row major }"
    text = message("Half", "Half").replace("Constants: [ ", f"Constants: [ {mask}, ")
    assert lowered(read_builder(text), asked("fp16"), {"outer/c": "Conv"})[0].found == "fp16"


def test_an_elementwise_kernel_casts_before_its_product() -> None:
    """The first Mul of this kernel belongs to a normalization in FP32, the second to a Gemm of one number."""
    row = CONV.replace("c_myl0_2", "__myl_SqrtMulAddCastMulSigm").replace("correlation", "kgen")
    row = row.replace("[8,16,3,3]", "[1,1]").replace("[1,8,1,1]", "[1,1,1,1]")
    text = "Layers:\n" + row.replace("DATA", "Float").replace("WEIGHT", "Half") + "\n\nI/O Tensors:"
    assert lowered(read_builder(text), asked("fp16"), {"outer/c": "Gemm"})[0].found == "fp16"


def test_a_layer_in_no_kernel_is_a_fault() -> None:
    table = read_builder(message("Half", "Half"))
    with pytest.raises(BuildError, match=r"layer lost.*\n.*\n.*no kernel with this layer"):
        check(lowered(table, asked("fp16"), {"outer/c": "Conv", "lost": "Gemm"}))


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(BuildError, match="form that this version of kerasrt does not know"):
        read_builder("Layers:\nName: x, Kind: y\n\nI/O Tensors:")


@pytest.mark.parametrize(("old", "new"), [(", Datatype: Int8", ""), ("Dimensions: [8,16,3,3]", "Shape: 8x16x3x3")])
def test_a_tensor_of_an_unknown_form_is_refused(old: str, new: str) -> None:
    """It must not take over the type of the tensor behind it, nor be passed over."""
    text = message("Half", "Int8")
    read_builder(text)
    assert old in text
    with pytest.raises(BuildError, match="tensors in a form that this version of kerasrt does not know"):
        read_builder(text.replace(old, new))


def test_a_copy_of_a_tensor_is_no_product() -> None:
    """TensorRT names a copy after the layer that reads it, so the layer's own kernel may be missing beside it."""
    tensor = {"Name": "x", "Dimensions": [1, 16, 8, 8], "Format/Datatype": "Thirty-two wide INT8"}
    copy = {
        "Name": "Reformatting CopyNode for Input Tensor 0 to Conv_1",
        "LayerType": "Reformat",
        "Inputs": [tensor],
        "Outputs": [tensor],
        "Metadata": "[ONNX Layer: outer/c]",
    }
    results = lowered(read_inspector(json.dumps({"Layers": [copy]})), asked("int8"), {"outer/c": "Conv"})
    with pytest.raises(BuildError, match="no kernel with this layer"):
        check(results)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": null}'])
def test_an_inspector_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match="inspector"):
        read_inspector(text)


def test_the_inspector_gives_the_same_table() -> None:
    tensor = {"Name": "x", "Location": "Device", "Dimensions": [1, 16, 8, 8], "Format/Datatype": "Thirty-two wide INT8"}
    layer = {
        "Name": "c",
        "LayerType": "CaskConvolution",
        "Inputs": [tensor],
        "Outputs": [{**tensor, "Format/Datatype": "FP16 channels last"}],
        "Weights": {"Type": "Int8", "Count": 1152},
        "Bias": {"Type": "Float", "Count": 8},
        "TacticName": "sm80_xmma",
        "Metadata": "[ONNX Layer: outer/c]\u001e[ONNX Layer: relu]",
    }
    table = read_inspector(json.dumps({"Layers": [layer], "Bindings": ["x"]}))
    assert table.rows[0].nodes == ("outer/c", "relu")
    assert table.rows[0].outputs[0].dtype == "fp16"
    check(lowered(table, asked("int8"), {"outer/c": "Conv"}))
    with pytest.raises(BuildError, match="names only"):
        read_inspector(json.dumps({"Layers": ["c"]}))


def test_a_table_survives_as_json() -> None:
    table = read_builder(message("Half", "Half"))
    rows = json.loads(table.to_json())["rows"]
    assert len(rows) == len(table.rows)
    assert np.prod(rows[1]["inputs"][0]["shape"]) == -1 * 16 * 8 * 8
