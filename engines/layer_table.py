"""The layers an engine really consists of, and whether they compute in the precision that the recipe asked for.

Two readers of one table: the text that TensorRT-RTX's builder prints (`Layers:`, VERBOSE, detailed profiling verbosity;
no GPU needed), and the JSON of the engine inspector of a deserialized engine. It is the compiler's own account of the
program, so what it shows is what a layer was *lowered as*.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.errors import BuildError
from engines.recipe import Recipe

PRECISION = {
    "Float": "fp32",
    "FP32": "fp32",
    "Half": "fp16",
    "FP16": "fp16",
    "BFloat16": "bf16",
    "BF16": "bf16",
    "Int8": "int8",
    "INT8": "int8",
    "FP8": "fp8",
}
"""NVIDIA's names of the types in our terms; others stay as they are."""

_NUMBERS = frozenset(PRECISION.values())

_ROW = re.compile(
    r"^Name: (.*?), LayerType: (.*?), Inputs: \[(.*?)\], Constants: \[(.*?)\], Outputs: \[(.*?)\]"
    r", TacticName: (.*?), StreamId: -?\d+(?:, \w+: \w+)*, Metadata: ?(.*)$"
)
_OPERAND = re.compile(r"\{ Name: ([^{}]*?), Dimensions: \[([^\]{}]*)\],[^{}]*?Datatype: (\w+)[^{}]*\}")
_NODE = re.compile(r"\[ONNX Layer: (.*?)(?: \| .*?)?\]")
"""The node's name; of one in a branch the branch and the If follow it."""
_ELEMENTWISE = frozenset({"kgen", "shape_call", "Reformat", "NoOp", "Constant", "signal", "wait", "jmp", "cjmp"})
_NO_ARITHMETIC = frozenset({"Reformat", "NoOp", "Constant", "signal", "wait", "jmp", "cjmp"})
_CASTS = {"f16": "fp16", "bf16": "bf16", "f32": "fp32"}
"""How the names of the graph's own Casts end, by the type they give."""
_PRODUCT = re.compile(r"Fc|Gemm|Conv|MatMul|Dot|_gemm_")


@dataclass(frozen=True)
class Operand:
    """A tensor of a layer: -1 in ``shape`` is a size known at run time; ``dtype`` as in `PRECISION`."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def elements(self) -> int:
        """Elements per item of the batch: an unknown size counts as 1."""
        return math.prod(abs(size) for size in self.shape)


@dataclass(frozen=True)
class Row:
    """One kernel: its kind, operands, constants, results, and the ONNX nodes that it computes (or helps to)."""

    name: str
    kind: str
    inputs: tuple[Operand, ...]
    constants: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    tactic: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class LayerTable:
    """All kernels of an engine, in order."""

    rows: tuple[Row, ...]

    def to_json(self) -> str:
        """The table as the file of a bundle."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"


@dataclass(frozen=True)
class Lowered:
    """What became of one Conv, ConvTranspose, Gemm or MatMul: asked for and lowered as (empty: it is in no kernel)."""

    name: str
    operator: str
    asked: str
    found: str


def read_builder(message: str) -> LayerTable:
    """The table in the builder's VERBOSE message that begins with ``Layers:``.

    Raises BuildError where a line of it is of an unknown form: a table read by half would prove nothing.
    """
    body = message.partition("Layers:")[2].partition("\n\nI/O Tensors:")[0]
    rows = []
    for line in filter(None, body.splitlines()):
        found = _ROW.match(line)
        if found is None:
            raise _unknown_form("the builder prints its layers", line)
        name, kind, inputs, constants, outputs, tactic, nodes = found.groups()
        tensors = (_operands(inputs), _operands(constants), _operands(outputs))
        rows.append(Row(name, kind, *tensors, tactic, tuple(_NODE.findall(nodes))))
    return LayerTable(tuple(rows))


def read_inspector(text: str) -> LayerTable:
    """The table in the engine inspector's JSON (TensorRT 10 and 11, engine built with detailed profiling verbosity)."""
    try:
        layers = list(json.loads(text)["Layers"])
    except (ValueError, TypeError, KeyError) as error:
        raise _unknown_form(f"the engine inspector answers ({error!r})", text) from error
    if any(not isinstance(layer, Mapping) for layer in layers):
        raise BuildError(
            "the engine's layers have names only",
            where="layer table",
            expected="an engine built with detailed profiling verbosity",
            fix="build the engine again with kerasrt build",
        )
    return LayerTable(tuple(_inspected(layer) for layer in layers))


def lowered(table: LayerTable, recipe: Recipe, nodes: Mapping[str, str]) -> tuple[Lowered, ...]:
    """For each compute node (``nodes``: name → operator) the precision of the kernels that compute it."""
    return tuple(Lowered(name, kind, recipe.precision_of(name), _found(table, name)) for name, kind in nodes.items())


def check(results: Iterable[Lowered]) -> None:
    """Raises BuildError, naming the layers, where one was lowered in another precision than asked, or is missing."""
    wrong = [result for result in results if result.asked != result.found]
    if not wrong:
        return
    rest = ", ".join(f"{r.name} ({r.found or 'missing'})" for r in wrong[1:6])
    raise BuildError(
        "the engine does not compute this layer in the precision asked for",
        where=f"layer {wrong[0].name} ({wrong[0].operator})",
        expected=wrong[0].asked,
        found=(wrong[0].found or "no kernel with this layer")
        + (f"; likewise {len(wrong) - 1} more: {rest}" if rest else ""),
        fix="give the layer another precision in the recipe, and report this graph",
    )


def _found(table: LayerTable, name: str) -> str:
    """The precisions of the kernels that multiply for this node.

    A product over very few channels is written out as multiplications and additions in an elementwise kernel; both
    products of an attention can be one generated kernel (``_gemm_mha_v2``).
    """
    rows = [row for row in table.rows if name in row.nodes and row.kind not in _NO_ARITHMETIC]
    products = [row for row in rows if row.kind not in _ELEMENTWISE]
    products = products or [row for row in rows if _PRODUCT.search(row.name)]
    products = products or [row for row in rows if "Mul" in row.name and (row.constants or len(row.inputs) > 1)]
    return "+".join(sorted({_precision(row) for row in products}))


def _precision(row: Row) -> str:
    """The type of both factors of a product.

    Of its largest constant and the input that it multiplies, or else of its first two inputs; a mask of an attention is
    none of both. An elementwise kernel whose name has a Cast before a Mul has cast its inputs itself: what it
    multiplies in is then said by the constant, or where both factors are computed by the graph's Casts
    (`engines.apply.casting`) that are in the kernel.
    """
    inputs = [operand for operand in row.inputs if operand.dtype in _NUMBERS]
    constants = [operand for operand in row.constants if operand.dtype in _NUMBERS]
    weight = max(constants, key=lambda operand: operand.elements, default=None)
    second = inputs[1] if len(inputs) > 1 else None
    if second is not None and (weight is None or weight.elements == 1):
        weight = second
    factors = [_multiplied(inputs, weight).dtype] if inputs else []
    if row.kind in _ELEMENTWISE and weight is not None and "Cast" in row.name.rpartition("Mul")[0]:
        factors = [] if weight is not second else [_CASTS[end] for end in _ends(row.nodes) if end in _CASTS]
        weight = None if factors else weight
    return "x".join(dict.fromkeys([*factors, *([weight.dtype] if weight is not None else [])]))


def _multiplied(inputs: Sequence[Operand], weight: Operand | None) -> Operand:
    """Which input a kernel multiplies by its weight: the first, but a residual of another type can stand before it."""
    if weight is None or weight in inputs:
        return inputs[0]
    fitting = [operand for operand in inputs if _fits(operand, weight)]
    return next((operand for operand in fitting if operand.dtype == weight.dtype), (fitting or inputs)[0])


def _fits(operand: Operand, weight: Operand) -> bool:
    """Whether a weight sums over the channels of an operand, as far as their shapes tell."""
    if len(weight.shape) < 2 or len(operand.shape) < 2:
        return True
    if len(weight.shape) == 2:
        return operand.shape[-1] in weight.shape
    return operand.shape[1] % weight.shape[1] == 0


def _ends(names: Iterable[str]) -> list[str]:
    return [name.rpartition("/")[2] for name in names]


def _unknown_form(who: str, found: str) -> BuildError:
    return BuildError(
        f"{who} in a form that this version of kerasrt does not know, so what it built cannot be checked",
        where="layer table",
        found=found[:200],
        fix="use the builder's version that constraints.txt names, and report this line",
    )


def _operands(text: str) -> tuple[Operand, ...]:
    if rest := _OPERAND.sub("", text).strip(" ,"):
        raise _unknown_form("the builder prints its tensors", rest)
    return tuple(Operand(n, _shape(d.split(",")), PRECISION.get(t, t)) for n, d, t in _OPERAND.findall(text))


def _shape(sizes: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(size) for size in sizes if str(size).strip())


def _inspected(layer: Mapping[str, Any]) -> Row:
    constants = [_tensor(tensor) for tensor in layer.get("Constants", [])]
    weights = layer.get("Weights")
    if isinstance(weights, Mapping) and "Type" in weights:
        kind = str(weights["Type"])
        constants.append(Operand("weights", (int(weights.get("Count", 0)),), PRECISION.get(kind, kind)))
    return Row(
        str(layer.get("Name", "")),
        str(layer.get("LayerType", "")),
        tuple(_tensor(tensor) for tensor in layer.get("Inputs", [])),
        tuple(constants),
        tuple(_tensor(tensor) for tensor in layer.get("Outputs", [])),
        str(layer.get("TacticName", "")),
        tuple(_NODE.findall(str(layer.get("Metadata", "")))),
    )


def _tensor(tensor: Mapping[str, Any]) -> Operand:
    text = str(tensor.get("Datatype") or tensor.get("Format/Datatype") or "")
    known = next((name for name in PRECISION if re.search(rf"\b{name}\b", text)), None)
    return Operand(
        str(tensor.get("Name", "")), _shape(tensor.get("Dimensions", [])), PRECISION[known] if known else text
    )
