"""Our curve of SQNR against bytes beside other tools' points: the same graphs, calibration data, cost and inputs.

python -m benchmarks.peers.pareto --modelopt PYTHON --onnxruntime PYTHON [--mct PYTHON] [--models NAME...] [-o FILE]

Beside the page (.md) a drawing of it is written (.svg).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

import engines
from benchmarks.held_out import held_out, held_out_file
from benchmarks.peers import MODELS, ours
from benchmarks.peers.described import describe
from benchmarks.peers.drawing import draw
from benchmarks.peers.judge import Array, int8_layers, logits_of, outputs, sqnr
from benchmarks.peers.tools import INT8, KEPT, run, versions
from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.calibration.choice import choose
from engines.calibration.collect import collect
from engines.calibration.ranges import Ranges
from engines.graphs import compute_nodes, elements, load, products, weights_of
from engines.recipe import LayerPrecision, Recipe
from engines.recipe.completion import complete
from engines.recipe.fp16 import SMALLEST_NORMAL
from engines.recipe.rules import decide
from engines.recipe.scales import layer_scales
from engines.recipe.trained import separate
from engines.recipe.validation import unquantizable
from engines.search.cost import Cost, moved, nominal
from engines.search.groups import Group, chosen, groups_of
from engines.search.pareto import curve
from engines.search.samples import evaluation
from engines.search.switched import Switched
from engines.targets.base import find

EVERY = 4
"""Of the held-out inputs: a curve is many recipes."""
WIDE = "ours, gates and small products too"


@dataclass(frozen=True)
class Spot:
    """One recipe: ``cost``, nominal, a part of what all layers cost in FP16; ``sqnr`` of the logits in dB.

    ``kernels`` and ``moved`` (bytes): of the engine that TensorRT-RTX builds of it; 0 where it builds none.
    """

    cost: float
    sqnr: float
    kernels: int = 0
    moved: int = 0


@dataclass(frozen=True)
class Compared:
    """One model: our curve, the cheapest recipe first, and the other tools' points by name, or what they said.

    ``wide``: the curve where gates and small products may be INT8 too, as the other tools have them.
    """

    name: str
    curve: tuple[Spot, ...]
    wide: tuple[Spot, ...]
    peers: dict[str, Spot | str]

    def best(self, spot: Spot) -> float | None:
        """The SQNR of our best recipe that costs no more, nominally; None where there is none so cheap."""
        return _best((*self.curve, *self.wide), spot)

    def best_alone(self, spot: Spot) -> float | None:
        """The same of the curve alone."""
        return _best(self.curve, spot)

    def best_built(self, spot: Spot) -> float | None:
        """The same by the bytes that the engines move; what was not built moves none."""
        return max((one.sqnr for one in self.curve if 0 < one.moved <= spot.moved), default=None)


def _best(curve: Iterable[Spot], spot: Spot) -> float | None:
    return max((one.sqnr for one in curve if one.cost <= spot.cost + 1e-9), default=None)


def main() -> None:
    """Compares the models that were asked for, and writes the page after each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("modelopt", "onnxruntime", "mct"):
        parser.add_argument(f"--{name}", type=Path, metavar="PYTHON", help=f"of the environment with {name}")
    parser.add_argument("--models", nargs="+", default=MODELS, choices=MODELS, metavar="NAME")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/pareto.md"))
    arguments = parser.parse_args()
    pythons = {name: path for name in ("modelopt", "onnxruntime", "mct") if (path := getattr(arguments, name))}
    KEPT.mkdir(parents=True, exist_ok=True)
    found: list[Compared] = []
    for name in arguments.models:
        found.append(_compared(name, pythons))
        arguments.output.write_text("\n".join(_page(found, pythons, arguments.output)) + "\n", encoding="utf-8")
        arguments.output.with_suffix(".svg").write_text(_drawing(found), encoding="utf-8")


def _compared(name: str, pythons: Mapping[str, Path]) -> Compared:
    import converters
    from converters.convert import convert_model
    from examples.reference import reference

    entry, path = reference(name), KEPT / f"{name}.onnx"
    keras_model = converters.load(entry.model())
    model = load(convert_model(keras_model).model)
    ir.save(model, path)
    describe(keras_model, path.with_suffix(".keras.npz"))
    costs, inputs = _by_layer(model), {key: array[::EVERY] for key, array in held_out(name).items()}
    exact = outputs(model.clone(), inputs, logits_of(model))
    peers: dict[str, Spot | str] = {}
    for tool in INT8:
        if tool.environment in pythons:
            made = run(tool, pythons[tool.environment], path, entry.calibration, held_out_file(name))
            peers[tool.name] = made if isinstance(made, str) else _peer(made, model, inputs, exact, costs)
    ranges = collect(model, entry.calibration)
    recipe = decide(model, "int8", ranges)
    alone = _curve(model, recipe, entry.calibration, inputs, exact, costs, build=True)
    wide = _curve(model, _widened(model, recipe, ranges), entry.calibration, inputs, exact, costs, build=False)
    return Compared(name, alone, wide, peers)


def _widened(model: ir.Model, recipe: Recipe, ranges: Ranges) -> Recipe:
    """The recipe with all its FP16 layers that can be INT8 in INT8 too, and the ranges chosen anew for that.

    The engine computes in FP16, which has to hold the scales: a smaller one is raised. The other tools' are FP32.
    """
    weights = {node.name: weights_of(node) for node in compute_nodes(model) if not unquantizable(node)}

    def widened(layer: LayerPrecision) -> LayerPrecision:
        found = weights.get(layer.name)
        if found is None or layer.precision != "fp16":
            return layer
        scales = tuple(max(scale, SMALLEST_NORMAL) for scale in layer_scales("int8", found))
        return LayerPrecision(layer.name, "int8", "as other tools have it", scales)

    start = complete(dataclasses.replace(recipe, layers=tuple(map(widened, recipe.layers))), model, ranges)
    return ours.with_ranges(start, choose(model, start, ranges))


def _by_layer(model: ir.Model) -> dict[str, Cost]:
    """The nominal cost of each layer with constant weights, gates included: `engines.search.cost`, rule 1."""
    found = []
    for node in compute_nodes(model):
        weights = weights_of(node)
        if weights is not None:
            size = weights.array.size
            found.append(Group(node.name or "", (), products(node), elements(node.inputs[0]), size))
    return nominal(found)


def _cost(costs: Mapping[str, Cost], low: Collection[str]) -> float:
    whole = sum(cost.high for cost in costs.values())
    return sum(cost.low if name in low else cost.high for name, cost in costs.items()) / whole


def _curve(
    model: ir.Model,
    recipe: Recipe,
    calibration: Path,
    inputs: Mapping[str, Array],
    exact: Array,
    costs: Mapping[str, Cost],
    *,
    build: bool,
) -> tuple[Spot, ...]:
    """What `kerasrt recipe --pareto` finds with the calibration data, judged on the held-out inputs."""
    groups = groups_of(model, recipe)
    switched = Switched(model, recipe, groups)
    samples = evaluation(model, str(calibration), Ranges({}, {}, 0))
    spots = []
    for point in curve(model, recipe, samples):
        (found,) = switched.run(inputs, point.low)
        layers = [name for group in groups if group.value in point.low for name in group.layers]
        built = _built(model, chosen(recipe, groups, point.low, "high at this point")) if build else (0, 0)
        spots.append(Spot(_cost(costs, layers), sqnr(found, exact), *built))
    return tuple(spots)


def _peer(
    made: Path, model: ir.Model, inputs: Mapping[str, Array], exact: Array, costs: Mapping[str, Cost]
) -> Spot | str:
    """A tool's graph; by its layers and scales as a recipe, in our placement over FP16, if that errs less."""
    if made.suffix != ".onnx":
        with np.load(made) as archive:
            return Spot(_cost(costs, costs), sqnr(archive["int8"][::EVERY], exact))  # MCT, which quantizes every layer
    graph = ir.load(made)
    layers = int8_layers(graph)
    if not layers:
        return "no layer in INT8"
    own = sqnr(outputs(graph.clone(), inputs, logits_of(graph)), exact)
    floating = load(graph)
    separate(floating)
    recipe = engines.recipe(ir.to_proto(graph), "int8")
    placed = sqnr(ours.simulated(floating, recipe, inputs, logits_of(floating)), exact)
    return Spot(_cost(costs, layers), max(own, placed), *_built(floating, recipe))


def _built(model: ir.Model, recipe: Recipe) -> tuple[int, int]:
    """Kernels of TensorRT-RTX's engine, and the bytes that they move at a batch of 1."""
    try:
        built = find("tensorrt-rtx").build(model, recipe, Profile())
    except BuildError:
        return 0, 0
    assert built.table is not None
    return len(built.table.rows), moved(built.table)


def _page(found: list[Compared], pythons: Mapping[str, Path], output: Path) -> list[str]:
    options = " ".join(f"--{name} PYTHON" for name in pythons)
    packages = "; ".join(versions(python, name) for name, python in pythons.items())
    spots = [(each, tool, spot) for each in found for tool, spot in each.peers.items() if isinstance(spot, Spot)]
    built = [(each, tool, spot) for each, tool, spot in spots if spot.moved]
    lines = [
        "# The curve beside other tools' points",
        "",
        f"`python -m benchmarks.peers.pareto {options}`: {packages}.",
        "",
        "*Ours*: the recipes that `kerasrt recipe --pareto` finds with the calibration data. Cost: nominal bytes "
        "(`engines.search.cost`, rule 1, over all Conv, Gemm and MatMul, gates included), of what they are all in "
        "FP16. SQNR of the logits over 500 held-out inputs, simulated. A tool's point has the better of two SQNRs: "
        "its own graph's, FP32 between Q and DQ, and its layers and scales in our placement, FP16 between. Kernels and "
        "the bytes that they move: of TensorRT-RTX's engine, a tool's layers and scales in our placement. MCT gives no "
        "graph; it quantizes every layer.",
        "",
        f"*{WIDE[0].upper()}{WIDE[1:]}*: the same with all that may be INT8, as in the other tools. Our rules "
        "(`engines.recipe.rules`) keep in FP16 the gates of attention (SE, CBAM), which have next to none of the "
        "multiplications, and the products that gain nothing in 8 bits; but their weights and inputs are nominal bytes "
        "too, so no recipe of *ours* is as cheap by nominal bytes as all layers in INT8. A weight's scale that FP16 "
        "cannot hold, for which our rules keep a layer in FP16 too, is raised here.",
        "",
        f"By nominal bytes, both curves together, {_verdict(spots, Compared.best)}",
        "",
        f"By nominal bytes, our rules' curve alone, {_verdict(spots, Compared.best_alone)}",
        "",
        f"By the bytes that the engines move, our rules' curve alone, {_verdict(built, Compared.best_built)}",
        "",
        f"![The curves]({output.with_suffix('.svg').name})",
        "",
    ]
    for each in found:
        lines += _section(each)
    return lines


def _verdict(spots: list[tuple[Compared, str, Spot]], best: Callable[[Compared, Spot], float | None]) -> str:
    found = [(each.name, tool, best(each, spot), spot.sqnr) for each, tool, spot in spots]
    none = sum(x is None for _, _, x, _ in found)
    above = [f"{tool} on {name} by {y - x:.2g} dB" for name, tool, x, y in found if x is not None and x < y]
    text = f"{len(found) - none - len(above)} of {len(found)} points of other tools lie below ours or on it"
    text += f"; for {none} we have none so cheap" if none else ""
    return f"{text}; above: {', '.join(above)}." if above else f"{text}."


def _section(each: Compared) -> list[str]:
    lines = [
        f"## {each.name}",
        "",
        "| recipe | cost | SQNR dB | kernels | moved KiB | ours at no more cost, dB | at no more bytes moved, dB |",
        "|---" * 7 + "|",
        *(f"| ours | {_figures(spot)} | | |" for spot in each.curve),
        *(f"| {WIDE} | {_figures(spot)} | | |" for spot in each.wide),
    ]
    for tool, spot in each.peers.items():
        if isinstance(spot, str):
            lines.append(f"| {tool} | {spot} | | | | | |")
            continue
        best = each.best(spot)
        built = each.best_built(spot) if spot.moved else None
        text = "none so cheap" if best is None else f"{best:.1f}"
        other = "" if not spot.moved else "none" if built is None else f"{built:.1f}"
        lines.append(f"| {tool} | {_figures(spot)} | {text} | {other} |")
    return [*lines, ""]


def _figures(spot: Spot) -> str:
    built = f"{spot.kernels} | {spot.moved / 1024:.0f}" if spot.moved else " | "
    return f"{100 * spot.cost:.1f} % | {spot.sqnr:.1f} | {built}"


def _drawing(found: list[Compared]) -> str:
    panels = {}
    for each in found:
        peers = {tool: [(spot.cost, spot.sqnr)] for tool, spot in each.peers.items() if isinstance(spot, Spot)}
        lines = {"ours": each.curve, WIDE: each.wide}
        panels[each.name] = {name: [(spot.cost, spot.sqnr) for spot in spots] for name, spots in lines.items()} | peers
    return draw(panels, "cost, of FP16's", "SQNR, dB")


if __name__ == "__main__":
    main()
