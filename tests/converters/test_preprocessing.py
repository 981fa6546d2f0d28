"""Preprocessing layers inside of a model: what augments in training does nothing at inference, strings are refused."""

from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters.checking import Case, case, parametrize
from tests.converters.tensorflow_only import needs_tensorflow

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "AugMix": {"value_range": (0, 1)},
    "CutMix": {},
    "MixUp": {},
    "RandAugment": {"value_range": (0, 1)},
    "RandomBrightness": {"factor": 0.2},
    "RandomColorDegeneration": {"factor": 0.2},
    "RandomColorJitter": {"brightness_factor": 0.1, "hue_factor": 0.1, "value_range": (0, 1)},
    "RandomContrast": {"factor": 0.2},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomFlip": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHue": {"factor": 0.2},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4},
    "RandomRotation": {"factor": 0.2},
    "RandomSaturation": {"factor": 0.2},
    "RandomSharpness": {"factor": 0.2},
    "RandomShear": {"x_factor": 0.1},
    "RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1},
    "RandomZoom": {"height_factor": 0.1},
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_does_nothing_at_inference(name: str) -> None:
    converted = Case(getattr(layers, name), (6, 5, 3), kwargs=AUGMENTATIONS[name]).check()
    assert set(converted.report.operations) <= {"Identity"}


class Normalized(layers.Normalization):
    """With statistics of its own, from the start."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(mean=[0.1, -2.0, 3.0], variance=[1.0, 0.5, 4.0], **kwargs)


CASES = [
    case(layers.Rescaling, (5, 4, 3), "Add:1,Mul:1", scale=1 / 127.5, offset=-1.0),
    case(layers.Rescaling, (5, 4, 3), scale=(0.1, 0.2, 0.3), dtype="uint8"),
    case(Normalized, (5, 4, 3)),
    case(Normalized, (5, 4, 3), invert=True),
    case(layers.CenterCrop, (8, 7, 3), height=4, width=5),
    case(layers.RandomCrop, (8, 7, 3), height=4, width=5),
]
LOOKUPS = [
    case(layers.IntegerLookup, (4,), vocabulary=[3, 1, 2], dtype="int32"),
    case(layers.IntegerLookup, (4,), vocabulary=[3, 1, 2], output_mode="multi_hot", dtype="int32"),
    case(layers.IntegerLookup, (4,), vocabulary=[3, 1, 2], mask_token=0, dtype="int32"),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()


@needs_tensorflow
@parametrize(LOOKUPS)
def test_lookups(item: Case) -> None:
    item.check()


@needs_tensorflow
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (layers.StringLookup, {"vocabulary": ["a", "b"]}),
        (layers.TextVectorization, {"vocabulary": ["a", "b"]}),
        (layers.Hashing, {"num_bins": 4}),
    ],
)
def test_strings_are_refused(kind: type[keras.layers.Layer], arguments: dict[str, Any]) -> None:
    layer = kind(**arguments)
    inputs = keras.Input((1,), dtype="string", name="text")
    with pytest.raises(ConversionError, match="input 'text': an input of dtype string cannot be converted"):
        convert_model(keras.Model(inputs, layer(inputs)))


@needs_tensorflow
def test_hashes_are_refused_with_the_reason() -> None:
    inputs = keras.Input((1,), dtype="int64")
    pair = [keras.Input((1,), dtype="int64"), keras.Input((1,), dtype="int64")]
    for given, layer in ((inputs, layers.Hashing(4)), (pair, layers.HashedCrossing(4))):
        with pytest.raises(ConversionError, match=f"{type(layer).__name__} cannot be converted: it hashes text"):
            convert_model(keras.Model(given, layer(given)))


@needs_tensorflow
def test_a_lookup_that_has_no_expression_is_one_error() -> None:
    inputs = keras.Input((1,), dtype="int64")
    with pytest.raises(ConversionError, match="IntegerLookup"):
        convert_model(keras.Model(inputs, layers.IntegerLookup(vocabulary=[3, 1], num_oov_indices=0)(inputs)))
