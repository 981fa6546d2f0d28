"""The fallback ladder: a layer for which the builder has no kernel is raised in the recipe, and the engine built again.

Strong typing took away TensorRT's own fallback. What it cannot build it says in one of three ways: its parser refuses a
node (HardSwish in BF16, which TensorRT-RTX 1.7.1 spells with numbers in FP32), "Could not find any implementation for
node X" (NVIDIA/TensorRT issues 3987, 3385), or an engine in which no kernel computes the layer, or only one in FP32 a
ConvTranspose that was asked for in BF16. Such a layer goes from INT8 to the recipe's base, and from there to FP32; the
recipe says so, and so does the build.
ONNX's Attention has kernels for some shapes and types alone, and no step of the ladder: it is refused by name.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import onnx_ir

from deploy.errors import BuildError
from engines.apply.bodies import inner_nodes
from engines.apply.casting import TYPES
from engines.graphs import COMPUTE, compute_nodes
from engines.layer_table import LayerTable, Lowered, check, lowered
from engines.recipe import LayerPrecision, Recipe
from engines.targets.base import Built
from engines.targets.nvidia import Unparsed

PRECISION_OF = {kind: name for name, kind in TYPES.items()}

_NODE = re.compile(r"[Cc]ould not find any implementation for node (.+?)\.?(?:\)|;|$)")
_RANGE = re.compile(r"ForeignNode\[(.+?)\.\.\.(.+?)\]")

_NEVER = re.compile(r"(\S+?)(?:_\d+)? has no runners that implement it")
"""What TensorRT-RTX says of an operator that it has in no type; its layer is a node's name with a number behind it."""
_ATTENTION = "Attention operation was not supported by a dedicated kernel"
"""What TensorRT-RTX 1.7.1 says, without a node's name, of an Attention that it has no kernel for."""


class NoImplementation(Exception):
    """The builder cannot build ``layers``, nodes of the graph, and ``why``; ``error`` is for where they cannot be
    raised.
    """

    def __init__(self, layers: Sequence[str], error: BuildError, why: str = "the builder has no kernel") -> None:
        super().__init__(str(error))
        self.layers, self.error, self.why = tuple(layers), error, why


def climb(recipe: Recipe, attempt: Callable[[Recipe], Built]) -> Built:
    """What ``attempt`` builds of the recipe, or of the first one up the ladder that can be built.

    Each refusal (`NoImplementation`) raises at least one layer, so there is an end. Raises BuildError where a layer is
    refused in FP32 too.
    """
    notes: list[str] = []
    while True:
        try:
            built = attempt(recipe)
        except NoImplementation as refused:
            recipe, raised = _raise(recipe, refused)
            notes += raised
            continue
        return dataclasses.replace(built, details={**built.details, "notes": [*notes, *built.details["notes"]]})


def read_failure(reason: str, model: onnx_ir.Model, error: BuildError) -> Exception:
    """What a builder's failure means: `NoImplementation` where it names nodes that multiply, else ``error``.

    A failure of an Attention is a BuildError that names the graph's Attention nodes, which the builder's does not; that
    of an operator that it never has names its node.
    """
    if never := _NEVER.search(reason):
        operator = next((node.op_type for node in model.graph.all_nodes() if node.name == never.group(1)), "")
        return BuildError(
            "the builder has no kernel for this operator, in any precision",
            where=f"layer {never.group(1)}{f' ({operator})' if operator else ''}",
            found=error.where,
            fix="end the model before it and compute it in the application, or --target onnxruntime",
        )
    attention = [node.name or "" for node in model.graph.all_nodes() if node.op_type == "Attention" and not node.domain]
    if _ATTENTION in reason and attention:
        return _no_attention(attention, error)
    found = _NODE.search(reason)
    names = [node.name or "" for node in model.graph]
    compute = {node.name or "" for node in compute_nodes(model)}
    text = found.group(1) if found else ""
    layers = [name for name in compute if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w/])", text)]
    ends = _RANGE.search(text)
    if ends and ends.group(1) in names and ends.group(2) in names:
        between = names[names.index(ends.group(1)) : names.index(ends.group(2)) + 1]
        layers = [name for name in between if name in compute]
    return NoImplementation(sorted(layers), error) if layers else error


def read_refusal(refusal: Unparsed, model: onnx_ir.Model) -> Exception:
    """What a parser's refusal means: `NoImplementation` where it names a node that a recipe speaks of, else itself.

    With that node go all of its operator, which it would refuse in turn (HardSwish, Mish and LpNormalization in BF16).
    """
    operators = {node.name: node.op_type for node in model.graph}
    if refusal.node in operators:
        same = [name or "" for name, operator in operators.items() if operator == operators[refusal.node]]
        return NoImplementation(same, refusal, "the builder's parser has no translation")
    return refusal


def _no_attention(names: Sequence[str], error: BuildError) -> BuildError:
    others = f", likewise {', '.join(names[1:6])}" if len(names) > 1 else ""
    return BuildError(
        "the builder has no kernel for an Attention node of this shape and type",
        where=f"layer {names[0]} (Attention){others}",
        expected="Attention spelled out as MatMul and Softmax, which it fuses where it can",
        found=f"one node, in {error.where}",
        fix="export the graph with opset 22 or older (kerasrt convert without --opset does), or --target onnxruntime",
    )


def realised(table: LayerTable, recipe: Recipe, typed: onnx_ir.Model) -> tuple[Lowered, ...]:
    """What became of each layer of the typed graph that multiplies.

    Raises `NoImplementation` where no kernel computes one, or only one in FP32 a ConvTranspose asked for in BF16, and
    BuildError where one is computed in another precision.
    """
    layers = lowered(table, recipe, {node.name or "": node.op_type for node in compute_nodes(typed)})
    inside = tuple(_in_bodies(table, typed))
    try:
        check((*layers, *inside))
    except BuildError as error:
        if missing := [layer.name for layer in layers if not layer.found or _left_in_fp32(layer)]:
            raise NoImplementation(missing, error) from error
        raise
    return (*layers, *inside)


def _left_in_fp32(layer: Lowered) -> bool:
    """Whether it is a ConvTranspose that was not built in BF16 (`engines.targets.deconvolutions`)."""
    return (layer.operator, layer.asked, layer.found) == ("ConvTranspose", "bf16", "fp32")


def _in_bodies(table: LayerTable, typed: onnx_ir.Model) -> Iterator[Lowered]:
    """The products in branches and loops that a kernel tells of; those of steps that were unrolled have no name."""
    for node in typed.graph:
        for inner in inner_nodes(node):
            if inner.op_type in COMPUTE and not inner.domain and inner.outputs[0].dtype is not None:
                asked = PRECISION_OF.get(inner.outputs[0].dtype, "")
                found = lowered(table, Recipe(asked, asked), {inner.name or "": inner.op_type})
                yield from (layer for layer in found if layer.found)


def _raise(recipe: Recipe, refused: NoImplementation) -> tuple[Recipe, list[str]]:
    """The recipe with the refused layers one step up, and what to tell the user. Raises BuildError at the top."""
    raised: dict[str, LayerPrecision] = {}
    for name in refused.layers:
        precision = recipe.precision_of(name)
        if precision != "fp32":
            higher = "fp32" if precision == recipe.base else recipe.base
            raised[name] = LayerPrecision(name, higher, f"raised from {precision}, for which {refused.why}")
    if not raised:
        raise refused.error
    there = {layer.name for layer in recipe.layers}
    layers = (
        *(raised.get(layer.name, layer) for layer in recipe.layers),
        *(layer for name, layer in raised.items() if name not in there),
    )
    return dataclasses.replace(recipe, layers=layers), _notes(raised.values())


def _notes(raised: Iterable[LayerPrecision]) -> list[str]:
    """A line for all layers that were raised alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for layer in raised:
        alike.setdefault((layer.precision, layer.why), []).append(layer.name)
    return [
        f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''} "
        f"{'computes' if len(names) == 1 else 'compute'} in {precision}: {why}"
        for (precision, why), names in alike.items()
    ]
