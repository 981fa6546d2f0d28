"""Optical flow over real face photographs into which small known motions are warped.

The faces are those that scikit-image carries: 100 crops of Labeled Faces in the Wild and the astronaut's portrait. A
sequence moves an eyebrow, a mouth corner or the upper lip by two to three pixels, with onset, apex and offset, while
the head drifts and turns, the light changes and the sensor is noisy. Flow is Farneback's (OpenCV).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from examples.mean_spot.model import SIZE
from examples.photographs import colour, lfw_faces

Array = NDArray[np.float32]

FACE = 112
"""Side of a face image, pixels."""
FRAMES = 44
"""Frames of one sequence."""
INTERVAL = 6
"""Frames from the one that is scored to the one it is compared with: half of a short expression, as in the paper."""
VISIBLE = 0.5
"""Pixels that an action must move in an interval to count as seen."""
HELD_OUT = 5
"""Every fifth face is kept for the evaluation, so no face is in both sets."""

ACTIONS = (
    ((0.30, 0.33), (0.0, -1.0)),
    ((0.70, 0.33), (0.0, -1.0)),
    ((0.30, 0.33), (0.4, 0.9)),
    ((0.70, 0.33), (-0.4, 0.9)),
    ((0.34, 0.78), (-0.8, -0.6)),
    ((0.66, 0.78), (0.8, -0.6)),
    ((0.34, 0.78), (-0.2, 1.0)),
    ((0.66, 0.78), (0.2, 1.0)),
    ((0.50, 0.70), (0.0, -1.0)),
)
"""Facial actions: centre (x, y) as fractions of the face, and the direction in which the skin moves."""


@dataclass(frozen=True)
class Samples:
    """Inputs of MEAN_Spot, each (items, 42, 42, 1) in pixels a frame interval, and the label of each item (0 or 1)."""

    u: Array
    v: Array
    strain: Array
    label: Array

    def inputs(self) -> dict[str, Array]:
        return {"u": self.u, "v": self.v, "strain": self.strain}


def faces() -> list[Array]:
    """101 real faces, (112, 112) each, grey levels 0 to 255."""
    astronaut = cv2.cvtColor(colour("astronaut")[60:180, 150:270], cv2.COLOR_RGB2GRAY)
    crops = [crop.astype(np.float32) for crop in (*lfw_faces(), astronaut)]
    return [cv2.resize(crop, (FACE, FACE), interpolation=cv2.INTER_CUBIC).clip(0, 255) for crop in crops]


def _envelope(rng: np.random.Generator) -> Array:
    """Strength of a motion at each frame: 0, a rise to 1 (onset to apex), a slower fall (to the offset), 0."""
    rise, fall = rng.integers(5, 9), rng.integers(9, 15)
    start = int(rng.integers(2, FRAMES - rise - fall - 2))
    strength = np.zeros(FRAMES, np.float32)
    strength[start : start + rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(1, rise + 1) / rise)
    strength[start + rise : start + rise + fall] = 0.5 + 0.5 * np.cos(np.pi * np.arange(1, fall + 1) / fall)
    return strength


def _frames(face: Array, moved_by: Array, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """The video: `face` with one action, its centre moved by so many pixels, head motion, changing light, and noise."""
    y, x = np.mgrid[0:FACE, 0:FACE].astype(np.float32)
    (cx, cy), direction = ACTIONS[rng.integers(len(ACTIONS))]
    cx, cy = (np.array([cx, cy]) + rng.uniform(-0.03, 0.03, 2)) * FACE
    bump = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * (FACE * rng.uniform(0.08, 0.12)) ** 2))
    shift = np.array(direction) / np.hypot(*direction)
    time = np.arange(FRAMES)
    drift = [a * np.sin(time * w + p) for a, w, p in rng.uniform([0.3, 0.05, 0], [1.5, 0.15, 6.3], (3, 3))]
    light = 1 + rng.uniform(0, 0.03) * np.sin(time * rng.uniform(0.05, 0.3))
    for t in time:
        rotation = cv2.getRotationMatrix2D((FACE / 2, FACE / 2), float(drift[2][t]) * 0.7, 1.0)
        rotation[:, 2] += drift[0][t], drift[1][t]
        moved = cv2.remap(
            face,
            (x - moved_by[t] * shift[0] * bump).astype(np.float32),
            (y - moved_by[t] * shift[1] * bump).astype(np.float32),
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        head = cv2.warpAffine(moved, rotation, (FACE, FACE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        yield (head * light[t] + rng.normal(0, 1.5, head.shape)).clip(0, 255).round().astype(np.uint8)


def flow_and_strain(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> tuple[Array, Array, Array]:
    """Optical flow u, v and optical strain between two grey frames, each (42, 42), without the head's own motion.

    The head's motion is the affine field that fits the flow best (least squares). Strain is
    sqrt(u_x^2 + v_y^2 + (u_y + v_x)^2 / 2), the magnitude of the symmetric part of the flow's gradient. Values are kept
    to 1/128 of a pixel (strain: 1/2048), far below the flow's own error.
    """
    flow = cv2.calcOpticalFlowFarneback(before, after, None, 0.5, 3, 21, 3, 7, 1.5, 0)
    y, x = np.mgrid[0 : 1 : FACE * 1j, 0 : 1 : FACE * 1j]
    plane = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    field = flow.reshape(-1, 2)
    field = field - plane @ np.linalg.lstsq(plane, field, rcond=None)[0]
    u, v = field.astype(np.float32).reshape(FACE, FACE, 2).transpose(2, 0, 1)
    u_y, u_x = np.gradient(u)
    v_y, v_x = np.gradient(v)
    strain = np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)
    u, v, strain = (cv2.resize(plane, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for plane in (u, v, strain))
    return np.round(u * 128) / 128, np.round(v * 128) / 128, np.round(strain * 2048) / 2048


def label(moved_by: Array, frame: int) -> float:
    """1 when the action moves by ``VISIBLE`` pixels or more in the interval that begins at ``frame``, else 0."""
    return float(abs(moved_by[frame + INTERVAL] - moved_by[frame]) >= VISIBLE)


def samples(which: list[Array], sequences: int, seed: int, stride: int = 1) -> Samples:
    """Flow samples of ``sequences`` videos of each face, one at every ``stride``-th frame, fixed by the seed."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Array, Array, Array]] = []
    labels: list[float] = []
    for face in which:
        for _ in range(sequences):
            moved_by = _envelope(rng) * np.float32(rng.uniform(2.0, 3.0))
            video = list(_frames(face, moved_by, rng))
            for frame in range(int(rng.integers(stride)), FRAMES - INTERVAL, stride):
                rows.append(flow_and_strain(video[frame], video[frame + INTERVAL]))
                labels.append(label(moved_by, frame))
    u, v, strain = (np.stack(column)[..., None].astype(np.float32) for column in zip(*rows, strict=True))
    return Samples(u, v, strain, np.array(labels, np.float32))


def split() -> tuple[list[Array], list[Array]]:
    """The faces to train on and the faces held out."""
    everyone = faces()
    return [f for i, f in enumerate(everyone) if i % HELD_OUT], everyone[::HELD_OUT]
