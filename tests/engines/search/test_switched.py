"""A choice in the switched graph is bit for bit what `simulate` gives for the recipe with that choice written in."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

import engines
from deploy.npz import Array
from engines.calibration.collect import collect
from engines.graphs import load
from engines.ptq.repair import Pipeline, Plan
from engines.recipe.rules import decide
from engines.search.groups import groups_of
from engines.search.switched import Switched
from tests.engines.ptq.nets import inputs, with_outlier
from tests.engines.test_simulate import int8_bias


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("high", [(), ("pool",), ("to_nchw", "average"), ("to_nchw", "pool", "block/relu1", "average")])
def test_every_choice_has_the_bits_of_its_own_simulation(
    model: onnx.ModelProto, samples: dict[str, Array], precision: str, high: tuple[str, ...]
) -> None:
    recipe = engines.recipe(model, precision, samples, calibration_method="minmax")
    groups = groups_of(load(model), recipe)
    switched = Switched(load(model), recipe, groups)
    raised = {layer for group in groups if group.value in high for layer in group.layers}
    layers = tuple(dataclasses.replace(r, precision="fp16") if r.name in raised else r for r in recipe.layers)
    expected = engines.simulate(dataclasses.replace(recipe, layers=layers), model, samples)
    (found,) = switched.run(samples, [group.value for group in groups if group.value not in high])
    np.testing.assert_array_equal(found.astype(np.float32), expected["logits"])


def test_a_fixed_batch_is_filled_and_cut_again(model: onnx.ModelProto, samples: dict[str, Array]) -> None:
    fixed = onnx.ModelProto.FromString(model.SerializeToString())
    del fixed.graph.value_info[:]
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 24
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 24
    fixed = onnx.shape_inference.infer_shapes(fixed)
    recipe = engines.recipe(model, "int8", samples, calibration_method="minmax")
    low = [group.value for group in groups_of(load(model), recipe)]
    (whole,) = Switched(load(model), recipe, groups_of(load(model), recipe)).run(samples, low)
    (pieces,) = Switched(load(fixed), recipe, groups_of(load(model), recipe)).run(samples, low)
    assert pieces.shape == whole.shape
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_quantizers_of_training_run_as_written() -> None:
    """ONNX Runtime's optimizer gives 0 here: a bias of 20 does not fit the int32 that it makes of it."""
    one = int8_bias()
    trained = load(engines.apply(one.recipe, one.model, "simulate"))
    (found,) = Switched(trained, engines.recipe(one.model, "fp32"), ()).exact(one.inputs)
    np.testing.assert_array_equal(found, one.expected)


@pytest.mark.parametrize("high", [(), ("x",), ("relu1",), ("mean", "x")])
def test_so_has_every_choice_of_a_repaired_recipe(high: tuple[str, ...]) -> None:
    """A layer that is raised keeps its equalized weights, and leaves its rounding and its bias."""
    model, samples = with_outlier(), inputs(32, 1)
    ranges = collect(load(model), samples, repairs=True)
    pipeline = Pipeline(load(model), lambda graph, seen: decide(graph, "int8", seen, "minmax"))
    recipe = pipeline.make(Plan(0.5, "rounding"), ranges)
    groups = groups_of(load(model), recipe)
    raised = {layer for group in groups if group.value in high for layer in group.layers}
    layers = tuple(dataclasses.replace(r, precision="fp16") if r.name in raised else r for r in recipe.layers)
    expected = engines.simulate(dataclasses.replace(recipe, layers=layers), model, samples)
    low = [group.value for group in groups if group.value not in high]
    (found,) = Switched(load(model), recipe, groups).run(samples, low)
    np.testing.assert_array_equal(found.astype(np.float32), expected["logits"])
