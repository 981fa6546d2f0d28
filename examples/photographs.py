"""The real photographs that scikit-image carries, typed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

COLOUR = ("astronaut", "coffee", "chelsea", "rocket")


def colour(name: str) -> NDArray[np.uint8]:
    """A photograph of `COLOUR`, (height, width, 3), RGB."""
    from skimage import data

    return np.asarray(getattr(data, name)(), np.uint8)


def lfw_faces() -> NDArray[np.uint8]:
    """100 face crops of Labeled Faces in the Wild, (100, 25, 25), grey levels."""
    from skimage import data

    faces = data.lfw_subset()[:100]  # type: ignore[no-untyped-call]  # the other hundred are no faces
    return np.round(np.asarray(faces) * 255).astype(np.uint8)
