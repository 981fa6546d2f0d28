"""Which model a recipe is for: its scales mean nothing for other weights, even where all layers have the same names."""

from __future__ import annotations

import hashlib

import numpy as np
import onnx_ir as ir

from engines.graphs import compute_nodes, weights_of


def fingerprint(model: ir.Model) -> str:
    """Sixteen hex digits of a hash of the names, operators and constant weights of all that multiplies, in order.

    What lies between is left out, so that a cleaner graph of the same model still is that model.
    """
    digest = hashlib.sha256()
    for node in compute_nodes(model):
        digest.update(f"{node.op_type} {node.name}\0".encode())
        weights = weights_of(node)
        if weights is not None:
            digest.update(f"{weights.array.shape}\0".encode())
            digest.update(np.ascontiguousarray(weights.array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()[:16]
