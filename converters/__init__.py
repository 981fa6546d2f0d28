"""Converts Keras models to clean ONNX graphs.

import converters
proto = converters.convert(model)                       # a keras.Model in memory
path = converters.export("model.keras", "model.onnx")   # file to file
"""

import sys

if sys.version_info < (3, 11):
    raise ImportError(
        "kerasrt: converters and engines need Python 3.11 or newer (Keras 3.15 does); "
        f"this is Python {sys.version_info[0]}.{sys.version_info[1]}, where deploy alone runs"
    )

from converters.convert import Conversion, convert
from converters.export import export
from converters.loading import load

__all__ = ["Conversion", "Tensor", "convert", "export", "load", "lowers"]


def __getattr__(name: str) -> object:
    """`lowers` and `Tensor`, for users' own lowerings, are imported when asked for: they need keras and onnx."""
    if name == "lowers":
        # the built-in ones first, so that a second lowering of a class is refused where it is written
        import converters.lowerings  # noqa: F401
        from converters.registry import lowers

        return lowers
    if name == "Tensor":
        from converters.builder import Tensor

        return Tensor
    raise AttributeError(f"module 'converters' has no attribute '{name}'")
