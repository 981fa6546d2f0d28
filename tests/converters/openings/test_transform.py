"""Images sampled at computed places."""

from __future__ import annotations

import numpy as np
from keras import ops

from tests.converters.checking import Case, case, parametrize

TURN = np.float32([0.8, -0.6, 1.3, 0.6, 0.8, -2.2, 0, 0])
SKEW = np.float32([1.1, 0.2, -1.5, 0.1, 0.9, 0.7, 0.01, -0.02])
PLACES = np.float32([[0.0, 1.2, 2.9, -0.7], [0.4, 3.1, 5.2, 1.5]])
START = np.float32([[0, 0], [6, 0], [0, 5], [6, 5]])
END = np.float32([[1, 0], [5, 1], [0, 4], [6, 5]])
FIRST = {"data_format": "channels_first"}

CASES = [
    *(
        case(ops.image.affine_transform, (6, 7, 3), transform=TURN, interpolation=how, fill_mode=mode, fill_value=0.5)
        for how in ("bilinear", "nearest")
        for mode in ("constant", "nearest", "wrap", "reflect")
    ),
    case(ops.image.affine_transform, (3, 6, 7), transform=SKEW, **FIRST),
    case(lambda xs: ops.image.affine_transform(xs[0], xs[1] * 0.1 + TURN), [(6, 7, 2), (8,)]),
    case(lambda x: ops.image.affine_transform(x[0], TURN), (6, 7, 2)),
    case(ops.image.perspective_transform, (6, 7, 2), start_points=START, end_points=END),
    case(lambda xs: ops.image.perspective_transform(xs[0], xs[1] * 0.01 + START, xs[1] * 0 + END), [(6, 7, 2), (4, 2)]),
    *(
        case(lambda x, o=order, m=mode: ops.image.map_coordinates(x[0], PLACES, o, fill_mode=m, fill_value=2.0), (4, 6))
        for order in (0, 1)
        for mode in ("constant", "nearest", "wrap", "reflect")
    ),
    case(lambda x: ops.image.map_coordinates(x[0], PLACES, 1), (4, 6), dtype="int32"),
    *(
        case(
            lambda x, m=method, a=antialias: ops.image.scale_and_translate(
                x, (1, 4, 9, 2), np.float32([0.6, 1.4]), np.float32([0.3, -0.5]), (1, 2), m, a
            )[:, :, :, :1],
            (6, 7, 2),
        )
        for method in ("linear", "cubic", "lanczos3", "lanczos5")
        for antialias in (True, False)
    ),
]


@parametrize(CASES)
def test_cases(item: Case) -> None:
    item.check()
