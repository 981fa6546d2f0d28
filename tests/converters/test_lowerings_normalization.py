"""Batch, layer, group, root-mean-square, spectral and unit normalization."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, operations, parametrize, randomize

GROUPS = "Add:1,InstanceNormalization:1,Mul:1,Reshape:2"
PLAIN = {"scale": False, "center": False}

CASES = [
    case(layers.BatchNormalization, (5,), "BatchNormalization:1"),
    case(layers.BatchNormalization, (6, 5, 3), "BatchNormalization:1,Transpose:2"),
    case(layers.BatchNormalization, (3, 6, 5), "BatchNormalization:1", axis=1),
    case(layers.BatchNormalization, (3, 6, 5), "BatchNormalization:1,Transpose:2", axis=2),
    case(layers.BatchNormalization, (9, 3), "BatchNormalization:1,Transpose:2"),
    case(layers.BatchNormalization, (4, 6, 5, 3), "BatchNormalization:1,Transpose:2", epsilon=0.1),
    case(layers.BatchNormalization, (6, 5, 3), "BatchNormalization:1,Transpose:2", scale=False),
    case(layers.BatchNormalization, (6, 5, 3), "BatchNormalization:1,Transpose:2", center=False),
    case(layers.BatchNormalization, (6, 5, 3), "BatchNormalization:1,Transpose:2", center=False, scale=False),
    case(layers.BatchNormalization, (None, None, 3), "BatchNormalization:1,Transpose:2"),
    case(layers.LayerNormalization, (5,), "LayerNormalization:1"),
    case(layers.LayerNormalization, (6, 5, 3), "LayerNormalization:1"),
    case(layers.LayerNormalization, (6, 5, 3), "LayerNormalization:1", axis=[1, 2, 3]),
    case(layers.LayerNormalization, (6, 5, 3), "LayerNormalization:1", axis=[2, 3]),
    case(layers.LayerNormalization, (6, 5, 3), "LayerNormalization:1,Transpose:2", axis=1),
    case(layers.LayerNormalization, (6, 5, 3), "LayerNormalization:1,Transpose:2", axis=(1, 3)),
    case(layers.LayerNormalization, (9, 4), "LayerNormalization:1", center=False, epsilon=1e-2),
    case(layers.LayerNormalization, (9, 4), "LayerNormalization:1", scale=False),
    case(layers.RMSNormalization, (9, 4), "Add:1,Div:1,Mul:2,ReduceMean:1,Sqrt:1"),
    case(layers.RMSNormalization, (6, 5, 4), axis=[2, 3], epsilon=0.1),
    case(layers.LayerNormalization, (6, 5, 4), rms_scaling=True),
    case(layers.LayerNormalization, (6, 5, 4), rms_scaling=True, axis=(1, 3), center=False),
    case(layers.LayerNormalization, (6, 5, 4), dtype="float16"),
    case(layers.GroupNormalization, (6, 5, 8), f"{GROUPS},Transpose:2", groups=4),
    case(layers.GroupNormalization, (6, 5, 8), f"{GROUPS},Transpose:2", groups=1),
    case(layers.GroupNormalization, (6, 5, 4), "InstanceNormalization:1,Transpose:2", groups=-1),
    case(layers.GroupNormalization, (None, None, 4), f"{GROUPS},Shape:1,Transpose:2", groups=2),
    case(layers.GroupNormalization, (4, 6, 5), "InstanceNormalization:1", groups=4, axis=1),
    case(layers.GroupNormalization, (8, 6, 5), GROUPS, groups=4, axis=1),
    case(layers.GroupNormalization, (6, 4, 5), groups=2, axis=2, epsilon=0.1),
    case(layers.GroupNormalization, (6, 5, 4), "InstanceNormalization:1,Reshape:2,Transpose:2", **PLAIN, groups=2),
    case(layers.GroupNormalization, (4,), groups=4),
    case(layers.GroupNormalization, (2, 3, 5, 4), groups=2),
    case(layers.GroupNormalization, (6, 5, 4), groups=2, dtype="float16"),
    case(layers.SpectralNormalization(layers.Conv2D(3, 3)), (6, 5, 4), "Conv:1,Transpose:2"),
    case(lambda x: ops.normalize(x, axis=1, order=1), (6, 4), "Div:1,Max:1,ReduceL1:1"),
    case(lambda x: ops.normalize(x, axis=(1, 2), order=1), (6, 4), "Div:1,Max:1,ReduceL1:1,ReduceMax:1"),
    case(lambda x: ops.normalize(x * 0.0, epsilon=0.1), (6, 4)),
    case(lambda x: ops.normalize(x, order=3), (6, 4)),
    case(ops.normalize, (6, 4), "Div:1,Max:1,ReduceL2:1", dtype="float16"),
    case(lambda x: ops.moments(x, axes=[1]), (6, 4), "Mul:1,ReduceMean:2,Reshape:1,Sub:1"),
    case(lambda x: ops.moments(x * 999.0, axes=[1]), (6, 4), dtype="float16"),  # a variance beyond float16
    case(lambda xs: ops.layer_normalization(xs[0], ops.mean(xs[1], axis=0), None), [(6, 4), (4,)]),
    case(lambda x: ops.batch_normalization(x, ops.mean(x, axis=(0, 1)), ops.var(x, axis=(0, 1)), axis=-1), (6, 4)),
    case(layers.UnitNormalization, (6, 4), "Div:1,Max:1,ReduceL2:1"),
    case(layers.UnitNormalization, (6, 5, 4), "Div:1,Max:1,ReduceL2:1", axis=[1, 2]),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


def _sequence(*parts: Any, shape: tuple[int, ...]) -> keras.Model:
    return randomize(keras.Sequential([keras.Input(shape), *parts]))


@pytest.mark.parametrize(
    ("before", "shape", "expects"),
    [
        (layers.Conv2D(4, 3), (8, 7, 3), "Conv:1,Transpose:2"),
        (layers.Conv2D(4, 3, use_bias=False), (8, 7, 3), "Conv:1,Transpose:2"),
        (layers.Conv1D(4, 3), (8, 3), "Conv:1,Transpose:2"),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 7, 3), "Conv:1,Transpose:2"),
        (layers.Conv2DTranspose(4, 3, strides=2), (4, 5, 3), "ConvTranspose:1,Transpose:2"),
        (layers.Dense(4), (5,), "Gemm:1"),
        (layers.Dense(4, use_bias=False), (5,), "Gemm:1"),
    ],
    ids=lambda value: value.name if isinstance(value, keras.layers.Layer) else str(value),
)
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=str)
def test_it_becomes_part_of_the_weights_before_it(
    before: keras.layers.Layer, shape: tuple[int, ...], expects: str, options: dict[str, Any]
) -> None:
    fresh = type(before).from_config(before.get_config())
    converted = check(_sequence(fresh, layers.BatchNormalization(name="norm", **options), shape=shape), layers=True)
    assert operations(converted) == expects


def test_a_norm_over_another_axis_stays() -> None:
    converted = check(_sequence(layers.Conv2D(4, 3), layers.BatchNormalization(axis=1), shape=(8, 7, 3)), layers=True)
    assert converted.report.operations["BatchNormalization"] == 1


def test_the_conv_that_absorbs_a_norm_carries_its_name() -> None:
    model = _sequence(layers.Conv2D(4, 3, name="conv"), layers.BatchNormalization(name="norm"), shape=(8, 7, 3))
    converted = check(model)
    places = {layer.path: layer.value for layer in converted.layers}
    assert places["conv"] is None
    assert [node.name for node in converted.model.graph if node.op_type == "Conv"] == ["norm"]
