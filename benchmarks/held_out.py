"""Inputs that no network was trained on and no range was calibrated on, some 2,000 for each trained reference model.

The same ones in every run; made once and kept in build/held_out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Inputs = dict[str, NDArray[np.float32]]

COUNT = 2000
SEED = 17
KEPT = Path("build/held_out")


def held_out(name: str) -> Inputs:
    """Held-out inputs of a trained reference model, by input name.

    Digits: 360 that were held out, as they are and warped. fer: 100 faces that it was not trained on, mirrored and
    warped (its ranges are calibrated on 96 of them as they are). MEAN_Spot: videos of held-out faces. Speech: held-out
    voices.
    """
    with np.load(held_out_file(name)) as archive:
        return {key: archive[key] for key in archive.files}


def held_out_file(name: str) -> Path:
    """The .npz with `held_out`, made where it is not there yet."""
    kind = next(kind for kind in ("digits", "fer", "mean_spot", "speech") if name.startswith(kind))
    path = KEPT / f"{kind}.npz"
    if not path.is_file():
        from examples.saving import save_arrays

        path.parent.mkdir(parents=True, exist_ok=True)
        save_arrays(path, **_MAKERS[kind]())
    return path


def _digits() -> Inputs:
    from examples.cbam_resnet.data import digits_held_out

    return {"image": digits_held_out(COUNT)[0]}


def _faces() -> Inputs:
    import cv2

    from examples.fer.make_data import SIZE, faces

    rng = np.random.default_rng(SEED)
    images = faces()[:, :, ::-1, 0]
    result = np.empty((COUNT, SIZE, SIZE, 1), np.float32)
    for i in range(COUNT):
        matrix = cv2.getRotationMatrix2D(((SIZE - 1) / 2,) * 2, rng.uniform(-10, 10), rng.uniform(0.9, 1.1))
        matrix[:, 2] += rng.uniform(-4, 4, 2)
        image = np.ascontiguousarray(images[i % len(images)])
        result[i, ..., 0] = cv2.warpAffine(image, matrix, (SIZE, SIZE), borderMode=cv2.BORDER_REPLICATE)
    return {"input_1": result}


def _faces_in_motion() -> Inputs:
    from examples.mean_spot.data import samples, split

    made = samples(split()[1], 8, SEED, stride=2).inputs()
    chosen = np.random.default_rng(SEED).permutation(len(next(iter(made.values()))))[:COUNT]
    return {name: array[chosen] for name, array in made.items()}


def _voices() -> Inputs:
    from examples.speech.audio import HELD_OUT
    from examples.speech.train import dataset

    return {"spectrogram": dataset(HELD_OUT, 2, 10, np.random.default_rng(SEED))[0][:COUNT]}


_MAKERS = {"digits": _digits, "fer": _faces, "mean_spot": _faces_in_motion, "speech": _voices}
