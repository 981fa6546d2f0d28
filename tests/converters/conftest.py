"""For the converters' tests: TensorFlow on the CPU, silent at its start, and the same random weights at every run."""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import pytest


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    keras.utils.set_random_seed(0)
