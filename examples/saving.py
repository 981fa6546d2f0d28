"""Writes what the examples ship: models without optimizer state, and arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from deploy.files import replacing

if TYPE_CHECKING:
    import keras
    from numpy.typing import NDArray


def save_model(model: keras.Model, path: Path) -> None:
    """Writes a model that was never compiled to ``path`` (.keras): the file then holds no loss, metric or optimizer.

    Its parts are deflated, which Keras leaves out: HDF5 spends more on the names of small layers than on their weights.
    """
    if getattr(model, "optimizer", None) is not None:
        raise ValueError(f"{model.name} is compiled: build it anew, copy the weights with `set_weights` and save that")
    with replacing(path) as temporary:
        model.save(temporary)
        _deflate(temporary)


def _deflate(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def save_arrays(path: Path, **arrays: NDArray[np.float32]) -> None:
    """Writes a compressed .npz with one array for each input of a model, named as the input; axis 0 is the batch."""
    with replacing(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
