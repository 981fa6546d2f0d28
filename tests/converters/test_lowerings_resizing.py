"""Resizing by every rule, repeating, depth to space, centre crop."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from converters.convert import convert_model
from converters.lowerings.resizing import weights
from deploy.errors import ConversionError
from tests.converters.checking import (
    Case,
    case,
    check,
    check_graph,
    compare,
    keras_function,
    parametrize,
    randomize,
    run_session,
)

CASES = [
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=4, width=12),
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=5, width=9),
    case(layers.Resizing, (8, 6, 3), "Gather:2,Transpose:2", height=5, width=9, interpolation="nearest"),
    case(layers.Resizing, (8, 6, 3), "Gather:2,Transpose:2", height=3, width=2, interpolation="nearest"),
    case(layers.Resizing, (8, 6, 3), "Resize:1,Transpose:2", height=16, width=18, interpolation="nearest"),
    case(layers.Resizing, (9, 12, 3), "Gather:2,Transpose:2", height=3, width=2, interpolation="nearest"),
    case(layers.Resizing, (4, 2, 3), "Gather:2,Transpose:2", height=41, width=47, interpolation="nearest"),
    case(layers.Resizing, (3, 8, 6), "Resize:1", height=5, width=9, data_format="channels_first"),
    case(layers.Resizing, (None, None, 3), "Concat:1,Resize:1,Shape:1,Transpose:2", height=5, width=9),
    case(layers.CenterCrop, (8, 7, 3), "Slice:1", height=4, width=4),
    case(layers.CenterCrop, (8, 7, 3), "Slice:1", height=5, width=2),
    case(layers.CenterCrop, (4, 4, 3), "Resize:1,Slice:1,Transpose:2", height=6, width=8),
    case(lambda x: ops.depth_to_space(x, 2), (4, 3, 8), "DepthToSpace:1,Transpose:2"),
    case(lambda x: ops.space_to_depth(x, 2), (4, 6, 3), "SpaceToDepth:1,Transpose:2"),
    case(lambda x: ops.image.resize(x, (7, 5)), (4, 6, 3), "Resize:1,Transpose:2"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def test_upsampling_between_convolutions() -> None:
    inputs = keras.Input((6, 5, 3))
    x = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(4, 3, padding="same")(inputs))
    converted = check(randomize(keras.Model(inputs, layers.Conv2D(2, 1)(x))), layers=True)
    assert converted.report.operations["Transpose"] == 2


RULES = [
    *((interpolation, False) for interpolation in ("bicubic", "lanczos3", "lanczos5", "area")),
    *((interpolation, True) for interpolation in ("bilinear", "nearest", "bicubic", "lanczos3", "lanczos5", "area")),
]


@pytest.mark.parametrize(("interpolation", "antialias"), RULES)
def test_every_rule_up_and_down(interpolation: str, antialias: bool) -> None:
    for size in ((4, 9), (13, 3), (16, 12)):
        kwargs = {"size": size, "interpolation": interpolation, "antialias": antialias}
        converted = Case(ops.image.resize, (8, 6, 2), kwargs=kwargs).check()
        assert converted.report.nodes <= 4


@pytest.mark.parametrize("shape", [(8, 6, 2), (5, 12, 2), (7, 7, 2)])
@pytest.mark.parametrize("size", [(4, 9), (12, 4), (6, 6)])
@pytest.mark.parametrize("option", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
def test_aspect_ratios(shape: tuple[int, ...], size: tuple[int, int], option: str) -> None:
    kwargs: dict[str, Any] = {"height": size[0], "width": size[1], option: True}
    if option.startswith("pad"):
        kwargs["fill_value"] = 0.5
    Case(layers.Resizing, shape, kwargs=kwargs).check()


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_integers_are_rounded_and_saturated(interpolation: str) -> None:
    model = Case(ops.image.resize, (6, 6, 3), dtype="uint8", kwargs={"size": (5, 9), "interpolation": interpolation})
    converted = convert_model(model.model())
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype(np.uint8)
    found = run_session(check_graph(converted))([images])
    compare(found, [images], keras_function(model.model()))


def test_upsampling_to_the_nearest_is_one_resize() -> None:
    inputs = keras.Input((6, 5, 3))
    x = layers.UpSampling2D((2, 3))(layers.Conv2D(4, 3, padding="same")(inputs))
    converted = check(randomize(keras.Model(inputs, layers.Conv2D(2, 1)(x))), layers=True)
    assert converted.report.operations == {"Transpose": 2, "Conv": 2, "Resize": 1}


@pytest.mark.parametrize("old", [1, 2, 3, 6, 9, 12])
def test_nearest_takes_the_pixels_that_tensorflow_takes(old: int) -> None:
    for new in (1, 2, 3, 5, 12, 41, 47, 55):
        kwargs = {"height": new, "width": old, "interpolation": "nearest"}
        check(Case(layers.Resizing, (old, old, 1), kwargs=kwargs).model())


@pytest.mark.parametrize("interpolation", ["nearest", "bicubic", "lanczos3"])
def test_an_unknown_size_asks_for_shapes(interpolation: str) -> None:
    kwargs = {"height": 3, "width": 6, "interpolation": interpolation}
    model = Case(layers.Resizing, (None, 6, 3), kwargs=kwargs).model()
    with pytest.raises(ConversionError, match="--shapes"):
        convert_model(model)


def test_pytorchs_bicubic_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A = -0.75 and the border's pixels outside, as torch.nn.functional.interpolate has it at a quarter of a pixel."""
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    rows = weights(4, 8, "bicubic", False)
    quarter = [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
    np.testing.assert_allclose(rows[3], quarter, atol=1e-7)
    np.testing.assert_allclose(rows[1], [quarter[0] + quarter[1], *quarter[2:], 0.0], atol=1e-7)
