"""What a repair must do to be kept, and that it does it on samples it was not made from."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest

import engines
from deploy.errors import BuildError
from deploy.npz import Array
from engines.ptq import repair
from engines.recipe import Recipe
from engines.simulate import simulate
from tests.engines.ptq.nets import alike, inputs, with_coarse_weights, with_outlier


def sqnr(recipe: Recipe, model: onnx.ModelProto, held_out: dict[str, Array]) -> float:
    exact = simulate(engines.recipe(model, "fp32"), model, held_out)["logits"]
    return float(10 * np.log10((exact**2).sum() / ((simulate(recipe, model, held_out)["logits"] - exact) ** 2).sum()))


@pytest.mark.parametrize(("repairs", "gain"), [("equalize", 30), ("biases", 10), ("auto", 30)])
def test_a_channel_a_thousand_times_larger(outlier: onnx.ModelProto, repairs: str, gain: float) -> None:
    """Measured with min-max: -0.1 dB as it is, 33.6 with equalization, 10.5 with biases alone."""
    plain = engines.recipe(outlier, "int8", inputs(64, 1), calibration_method="minmax")
    recipe = engines.recipe(outlier, "int8", inputs(64, 1), calibration_method="minmax", repairs=repairs)
    fresh = inputs(200, 9)
    assert sqnr(recipe, outlier, fresh) > sqnr(plain, outlier, fresh) + gain
    assert " kept, -0.1 to " in recipe.calibration["repairs"]


def test_weights_with_few_steps() -> None:
    """Learned rounding saves 5 dB, where biases and equalization have nothing to mend."""
    model, fresh = with_coarse_weights(), alike(200, 9)
    recipe = engines.recipe(model, "int8", alike(64, 1), repairs="auto")
    assert recipe.calibration["repairs"].startswith("rounding kept, ")
    assert sqnr(recipe, model, fresh) > sqnr(engines.recipe(model, "int8", alike(64, 1)), model, fresh) + 3


def test_what_does_not_help_is_not_kept() -> None:
    model = with_outlier(gain=1)
    plain = engines.recipe(model, "int8", inputs(64, 1))
    recipe = engines.recipe(model, "int8", inputs(64, 1), repairs="equalize")
    assert recipe.calibration.pop("repairs").startswith("none kept, ")
    assert recipe == plain


def test_a_repair_that_raises_a_layer_is_not_kept(outlier: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    make = repair.Pipeline.make

    def raising(self: repair.Pipeline, plan: repair.Plan, ranges: repair.Ranges) -> Recipe:
        recipe = make(self, plan, ranges)
        if plan == repair.Plan():
            return recipe
        high = dataclasses.replace(recipe.layers[0], precision="fp16")
        return dataclasses.replace(recipe, layers=(high, *recipe.layers[1:]))

    monkeypatch.setattr(repair.Pipeline, "make", raising)
    recipe = engines.recipe(outlier, "int8", inputs(64, 1), repairs="auto")
    assert recipe.calibration["repairs"] == "none kept: equalize 0.5 would raise the precision of conv1"
    assert (recipe.equalized, recipe.layers[0].precision) == ((), "int8")


def test_too_few_samples_are_refused(outlier: onnx.ModelProto) -> None:
    with pytest.raises(BuildError, match=r"too few samples to tell(.|\n)*expected: 16 or more(.|\n)*found: 15"):
        engines.recipe(outlier, "int8", inputs(15, 1), repairs="auto")
    assert "repairs" in engines.recipe(outlier, "int8", inputs(16, 1), repairs="auto").calibration
