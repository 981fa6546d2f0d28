"""Real images for the ResNets: scikit-learn's digits, and photographs that scikit-image carries."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from examples.photographs import COLOUR, colour

SEED = 9


def digits_split() -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """1,797 handwritten digits, images (items, 8, 8, 1) from 0 to 1 and labels: 80% to train on, 20% held out."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = (digits.images[..., None] / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int64)
    x, x_test, y, y_test = train_test_split(images, labels, test_size=0.2, stratify=labels, random_state=SEED)
    return x, y, x_test, y_test


def warped(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Each image turned by up to 12 degrees, scaled by up to 12% and moved by up to 0.7 pixels in each direction."""
    import cv2

    result = np.empty_like(images)
    for image, target in zip(images[..., 0], result, strict=True):
        matrix = cv2.getRotationMatrix2D((3.5, 3.5), rng.uniform(-12, 12), rng.uniform(0.88, 1.12))
        matrix[:, 2] = matrix[:, 2] + rng.uniform(-0.7, 0.7, 2)
        target[..., 0] = cv2.warpAffine(image, matrix, (8, 8), flags=cv2.INTER_LINEAR)
    return result


def digits_held_out(count: int = 2000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """``count`` held-out digits, (count, 8, 8, 1), and labels: the 360 as they are, then warped anew in each round.

    The same ones in every run.
    """
    _, _, images, labels = digits_split()
    rng = np.random.default_rng(SEED + 1)
    rounds = -(-count // len(images))
    seen = [images, *(warped(images, rng) for _ in range(rounds - 1))]
    return np.concatenate(seen)[:count], np.tile(labels, rounds)[:count]


def photographs(count: int, size: int = 224) -> NDArray[np.float32]:
    """``count`` crops of real photographs, (count, size, size, 3), RGB, values from -1 to 1."""
    from skimage.transform import resize

    rng = np.random.default_rng(SEED)
    sources = [colour(name) for name in COLOUR]
    crops = []
    for i in range(count):
        source = sources[i % len(sources)]
        side = int(rng.integers(size, min(source.shape[:2]) + 1))
        top, left = (int(rng.integers(0, length - side + 1)) for length in source.shape[:2])
        crop = source[top : top + side, left : left + side]
        crops.append(resize(crop, (size, size), anti_aliasing=True))  # type: ignore[no-untyped-call]
    return (np.stack(crops) * 2.0 - 1.0).astype(np.float32)
