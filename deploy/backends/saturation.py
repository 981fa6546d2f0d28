"""Whether ONNX Runtime's products of u8 activations and s8 weights saturate on this processor: found by multiplying.

Without VNNI its kernels add two products in 16 bits (vpmaddubsw), where 255 x 127 twice is clipped; the session option
``session.x64quantprecision`` then multiplies u8 by u8, which is exact. With VNNI nothing saturates, and the option only
takes the fast kernels away: an INT8 ResNet50 ran 5 times slower with it (ONNX Runtime 1.32).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from deploy.interrupts import import_module

PROBE = bytes.fromhex(
    "08083a740a180a01780a0177120179220d4d61744d756c496e74656765721201702a2b0808080410032a207f7f7f7f7f7f7f7f7f7f7f7f"
    "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f4201775a130a0178120e0a0c080212080a0208040a02080862130a0179120e0a0c0806"
    "12080a0208040a02080442040a00100a"
)
"""An ONNX graph: y (4, 4) int32 = x (4, 8) uint8 times a weight of 127, MatMulInteger."""


def keep_exact(options: Any) -> None:
    """Makes a session with these `onnxruntime.SessionOptions` compute INT8 exactly, at no cost where it does anyway."""
    if _saturates():
        options.add_session_config_entry("session.x64quantprecision", "1")


@functools.cache
def _saturates() -> bool:
    ort = import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(PROBE, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.full((4, 8), 255, np.uint8)})
    return bool((found != 8 * 255 * 127).any())
