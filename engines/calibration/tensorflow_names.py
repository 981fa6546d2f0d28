"""Which tensor of a TensorFlow graph is which Keras layer's output, by its name alone.

A calibration cache that was made from tf2onnx's or keras2onnx's graph of a model has TensorFlow's names. Rules:
1. A name is ``scopes/operation:0``. Before the layer's path there may be one scope, the model's, and the calls that a
   SavedModel wraps around it: ``StatefulPartitionedCall/model/block/conv1/Relu:0`` is of layer ``block/conv1``.
2. Keras 3 enters each scope twice, so that its names have a number more: ``functional_1/conv2d_1_2/Relu:0`` is of layer
   ``conv2d_1``. All names are read with such numbers or all without, whichever finds more layers: ``conv2d_1`` alone
   could be two of them.
3. Of several tensors in a layer's scope that one is its output which the operation that makes our value names: a Relu's
   is ``Relu``, and not the ``BiasAdd`` before it. Of the parts of one product the last counts.
4. ``__12`` at its end marks a tensor that tf2onnx has added; it is no layer's output.
What is left with two names, as the calls of a shared layer are, is found by none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

_CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_NUMBERED = re.compile(r"(.+)_\d+")
_ADDED = re.compile(r"__\d+$")
_INNER = frozenset({"batchnorm", "Tensordot"})
"""Scopes inside of a layer's."""

_PRODUCT = ("fusedbatchnorm", "add", "biasadd", "mul", "convolution", "conv", "depthwise", "matmul")
"""What a product with its bias and normalization consists of, the last first."""
_OPERATIONS = {
    **dict.fromkeys(("Conv", "Gemm", "MatMul", "BatchNormalization"), _PRODUCT),
    "Clip": ("relu6", "clip_by_value", "minimum"),
    "Add": ("add", "addn"),
    "AveragePool": ("avgpool",),
    **dict.fromkeys(("ReduceMean", "GlobalAveragePool"), ("mean",)),
    **dict.fromkeys(("ReduceMax", "GlobalMaxPool"), ("max",)),
}
"""ONNX operation -> TensorFlow's names for it, as `_plain` gives them; others have the same name."""

Named = dict[str, tuple[str, ...]]
"""By the value's name, names that may be its own; one is found, several are too many."""


def by_layer(names: Iterable[str], values: Mapping[str, str]) -> Named:
    """Which names are of which values. ``values``: the ONNX operation that makes each, by the value's name."""
    names = list(names)
    plain, numbered = (_named(names, values, again) for again in (False, True))
    if len(plain) == len(numbered) and plain != numbered:
        return {}
    return max(plain, numbered, key=len)


def _named(names: Iterable[str], values: Mapping[str, str], numbered: bool) -> Named:
    """Rules 1, 3 and 4, under one reading of rule 2."""
    ranked: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        for path, operation in _readings(name, numbered):
            expected = _OPERATIONS.get(values.get(path, ""), (values.get(path, "").lower(),))
            if path in values and operation in expected:
                ranked.setdefault(path, []).append((expected.index(operation), name))
    best = {path: min(rank for rank, _ in found) for path, found in ranked.items()}
    return {path: tuple(name for rank, name in found if rank == best[path]) for path, found in ranked.items()}


def _readings(name: str, numbered: bool) -> Iterator[tuple[str, str]]:
    """The paths that a name may stand for, without and with a model's scope before it, and its operation."""
    *scopes, operation = name.removesuffix(":0").split("/")
    if _ADDED.search(operation):
        return
    scopes = [scope for scope in scopes if not _CALL.fullmatch(scope)]
    if scopes and scopes[-1] in _INNER:
        scopes.pop()
    if numbered:
        matches = [_NUMBERED.fullmatch(scope) for scope in scopes]
        if not all(matches):
            return
        scopes = [match[1] for match in matches if match]
    for start in range(min(2, len(scopes))):
        yield "/".join(scopes[start:]), _plain(operation)


def _plain(operation: str) -> str:
    """Without version, dimensions and number, in small letters: FusedBatchNormV3 and MaxPool2d_1 among others."""
    return re.sub(r"([123]d)?(v\d)?(_\d+)?$", "", operation.lower())
