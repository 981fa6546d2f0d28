"""kerasrt's runtime: open a bundle, run it, prove that it still equals the Keras model.

Importing this package loads numpy and nothing else from outside the standard library; ONNX Runtime, TensorRT and Keras
are imported by what needs them. It imports neither `converters` nor `engines`.
"""

from deploy import interrupts, project_environment

interrupts.quit_while_loading()
project_environment.require("numpy")
project_environment.enter_without("onnxruntime", "tensorrt", "tensorrt_rtx")

from deploy.bundle import Bundle, open_bundle  # noqa: E402
from deploy.errors import (  # noqa: E402
    BackendError,
    BuildError,
    BundleError,
    ConversionError,
    InputError,
    KerasrtError,
    ParityError,
)
from deploy.manifest import TensorSpec  # noqa: E402
from deploy.runtime import Runtime  # noqa: E402
from deploy.verify import verify  # noqa: E402

__all__ = [
    "BackendError",
    "BuildError",
    "Bundle",
    "BundleError",
    "ConversionError",
    "InputError",
    "KerasrtError",
    "ParityError",
    "Runtime",
    "TensorSpec",
    "open_bundle",
    "verify",
]
