"""Losses and measures of likeness that a model computes itself."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from converters.keras_internals import nn
from converters.openings.common import dtype_of
from converters.registry import opens


@opens(nn.BinaryCrossentropy)
def binary_crossentropy(op: Any, target: Any, output: Any) -> Any:
    """-t log(p) - (1 - t) log(1 - p); of logits z, max(z, 0) - z t + log(1 + exp(-|z|))."""
    target = ops.cast(target, dtype_of(output))
    if op.from_logits:
        tail = ops.log1p(ops.exp(ops.negative(ops.abs(output))))
        return ops.add(ops.subtract(ops.relu(output), ops.multiply(output, target)), tail)
    p = _inside(output)
    hit = ops.multiply(target, ops.log(p))
    miss = ops.multiply(ops.subtract(1.0, target), ops.log(ops.subtract(1.0, p)))
    return ops.negative(ops.add(hit, miss))


@opens(nn.CategoricalCrossentropy)
def categorical_crossentropy(op: Any, target: Any, output: Any) -> Any:
    """-sum(t log(p)), with p scaled to the sum 1; of logits, their softmax."""
    if op.from_logits:
        log = ops.log_softmax(output, axis=op.axis)
    else:
        log = ops.log(_inside(ops.divide(output, ops.sum(output, axis=op.axis, keepdims=True))))
    return ops.negative(ops.sum(ops.multiply(ops.cast(target, dtype_of(output)), log), axis=op.axis))


@opens(nn.SparseCategoricalCrossentropy)
def sparse_categorical_crossentropy(op: Any, target: Any, output: Any) -> Any:
    """-log(p) of the target's class, with p scaled to the sum 1."""
    if len(target.shape) < len(output.shape):
        target = ops.expand_dims(target, -1)
    log = ops.log_softmax(output if op.from_logits else ops.log(_inside(output)), axis=-1)
    own = ops.take_along_axis(log, ops.cast(target, "int32"), axis=-1)
    return ops.negative(ops.squeeze(own, axis=-1))


@opens(nn.PSNR)
def psnr(op: Any, x1: Any, x2: Any) -> Any:
    """20 log10(largest value) - 10 log10(mean squared difference)."""
    error = ops.mean(ops.square(ops.subtract(x1, x2)))
    peak = 20.0 * ops.log10(ops.cast(op.max_val, dtype_of(x2)))
    return ops.subtract(peak, ops.multiply(ops.log10(error), 10.0))


def _inside(p: Any) -> Any:
    epsilon = keras.config.epsilon()
    return ops.clip(p, epsilon, 1.0 - epsilon)
