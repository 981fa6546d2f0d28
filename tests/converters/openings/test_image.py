"""Colours, crops, filters, patches of images."""

from __future__ import annotations

from typing import Any

from keras import ops

from tests.converters.checking import Case, case, parametrize

FIRST = {"data_format": "channels_first"}


def positive(function: Any) -> Any:
    """The function of values between 0 and 1."""
    return lambda x, **kwargs: function(ops.sigmoid(x), **kwargs)


CASES = [
    case(ops.image.rgb_to_grayscale, (6, 5, 3), "Mul:1,ReduceSum:1"),
    case(ops.image.rgb_to_grayscale, (3, 6, 5), **FIRST),
    case(ops.image.rgb_to_grayscale, (6, 5, 1), "Identity:1"),
    case(positive(ops.image.rgb_to_hsv), (6, 5, 3)),
    case(positive(ops.image.rgb_to_hsv), (3, 6, 5), **FIRST),
    case(positive(ops.image.hsv_to_rgb), (6, 5, 3)),
    case(positive(ops.image.hsv_to_rgb), (3, 6, 5), **FIRST),
    case(ops.image.gaussian_blur, (6, 5, 3)),
    case(ops.image.gaussian_blur, (6, 5, 2), kernel_size=(5, 5), sigma=(0.7, 2.0)),
    case(ops.image.sobel_edges, (6, 5, 3)),
    case(lambda x: ops.image.crop_images(x, 1, 2, target_height=3, target_width=2), (6, 5, 3), "Slice:1"),
    case(lambda x: ops.image.crop_images(x, 1, 2, 1, 1), (6, 5, 3), "Slice:1"),
    case(lambda x: ops.image.pad_images(x, 1, 2, 3, 0), (6, 5, 3), "Pad:1"),
    case(lambda x: ops.image.pad_images(x, 1, 2, target_height=9, target_width=8), (6, 5, 3), "Pad:1"),
    case(ops.image.extract_patches, (6, 8, 3), size=(3, 2)),
    case(ops.image.extract_patches, (40, 45, 5), "Gather:2,Reshape:1,Transpose:1", size=(30, 28), strides=(5, 7)),
    case(ops.image.extract_patches, (40, 45, 5), size=(30, 28), strides=(7, 5), padding="same"),
    case(ops.image.extract_patches, (5, 62, 60), size=(30, 28), strides=1, dilation_rate=2, **FIRST),
    case(ops.image.extract_patches, (6, 8, 3), size=3, strides=2, padding="same"),
    case(ops.image.extract_patches, (3, 6, 8), size=2, **FIRST),
    case(ops.image.extract_patches, (4, 6, 4, 2), size=(2, 3, 2)),
    case(ops.unfold, (3, 7, 8), kernel_size=2),
    case(ops.unfold, (3, 7, 8), kernel_size=(3, 2), dilation=(1, 2), padding=1, stride=(2, 1)),
    case(ops.fold, (12, 15), output_size=(6, 5), kernel_size=(3, 2), padding=1, stride=(2, 1), dilation=(1, 2)),
    case(lambda xs: ops.image.ssim(xs[0], xs[1], filter_size=3), [(6, 5, 3), (6, 5, 3)]),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()
