"""Writes the sample input and the calibration data: faces of Labeled Faces in the Wild, prepared as `fer` does."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.photographs import lfw_faces
from examples.saving import save_arrays

HERE = Path(__file__).parent
SIZE = 64


def faces() -> NDArray[np.float32]:
    """The 100 real faces that scikit-image carries, (100, 64, 64, 1): 8-bit grey levels x as (x / 255 - 0.5) * 2."""
    grey = np.stack([cv2.resize(crop, (SIZE, SIZE)) for crop in lfw_faces()])
    return ((grey.astype(np.float32) / 255.0 - 0.5) * 2.0)[..., None]


def main() -> None:
    images = faces()
    save_arrays(HERE / "input.npz", input_1=images[:4])
    save_arrays(HERE / "calibration.npz", input_1=images[4:])


if __name__ == "__main__":
    main()
