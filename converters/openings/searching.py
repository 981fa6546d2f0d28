"""Looking values up: places in sorted values, classes, segments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras import ops

from converters.keras_internals import math as kmath
from converters.keras_internals import nn
from converters.keras_internals import numpy as knp
from converters.openings.common import cast, dtype_of, floats, known, promoted
from converters.registry import opens
from deploy.errors import ConversionError


@opens(knp.SearchSorted)
def searchsorted(op: Any, sorted_sequence: Any, values: Any) -> Any:
    """How many of the sequence lie before each value."""
    dtype = promoted(sorted_sequence, values)
    sequence, values = cast(sorted_sequence, dtype), ops.expand_dims(cast(values, dtype), -1)
    before = (ops.less if op.side == "left" else ops.less_equal)(sequence, values)
    return ops.sum(ops.cast(before, "int32"), axis=-1)


@opens(knp.Digitize)
def digitize(op: Any, x: Any, bins: Any) -> Any:
    """How many of the rising bounds each value has reached."""
    bounds = np.asarray(ops.convert_to_numpy(bins), np.float32)
    reached = ops.greater_equal(ops.expand_dims(ops.cast(x, "float32"), -1), bounds)
    return ops.sum(ops.cast(reached, "int32"), axis=-1)


@opens(knp.Histogram)
def histogram(op: Any, x: Any) -> Any:
    """Counts between bounds at equal distances; the last one belongs to the last part."""
    dtype = dtype_of(x)
    low, high = (ops.min(x), ops.max(x)) if op.range is None else (cast(bound, dtype) for bound in op.range)
    edges = ops.cast(ops.linspace(low, high, op.bins + 1), dtype)
    x = ops.ravel(x)
    inside = ops.logical_and(ops.greater_equal(x, low), ops.less_equal(x, high))
    place = ops.searchsorted(edges[1:-1], x, side="right")
    hits = ops.equal(ops.expand_dims(place, -1), np.arange(op.bins, dtype=np.int32))
    hits = ops.logical_and(hits, ops.expand_dims(inside, -1))
    return ops.sum(ops.cast(hits, dtype), axis=0), edges


@opens(nn.MultiHot, own_dtype=True)
def multi_hot(op: Any, inputs: Any) -> Any:
    """The largest of one-hot rows."""
    if op.sparse:
        raise ConversionError("a sparse result has no ONNX expression", fix="use sparse=False")
    rows = ops.one_hot(inputs, op.num_classes, axis=op.axis, dtype=op.dtype)
    axis = 1 if len(inputs.shape) > 1 else 0
    return (ops.any if dtype_of(rows) == "bool" else ops.max)(rows, axis=axis)


@opens(kmath.InTopK)
def in_top_k(op: Any, targets: Any, predictions: Any) -> Any:
    """Fewer than k classes are predicted above the target's, and that is a number."""
    own = ops.take_along_axis(predictions, ops.expand_dims(ops.cast(targets, "int32"), -1), axis=-1)
    above = ops.sum(ops.cast(ops.greater(predictions, own), "int32"), axis=-1)
    return ops.logical_and(ops.less(above, op.k), ops.isfinite(ops.squeeze(own, axis=-1)))


@opens(nn.CTCDecode)
def ctc_decode(op: Any, inputs: Any, sequence_lengths: Any) -> Any:
    """The best class of each step, repetitions and blanks left out, the rest moved to the front and filled with -1.

    With the negated sum of the best logits, as `tf.nn.ctc_greedy_decoder` has it (Graves et al. 2006, best path).
    """
    if op.strategy != "greedy":
        raise ConversionError("a beam search has no ONNX expression", fix="decode outside of the model, or greedily")
    inputs = floats(inputs)[0]
    steps, classes = ops.arange(ops.shape(inputs)[1], dtype="int32"), known(inputs.shape[-1], "the number of classes")
    counts = ops.less(steps, ops.expand_dims(ops.cast(sequence_lengths, "int32"), -1))
    best = ops.argmax(inputs, axis=-1)
    kept = ops.logical_and(counts, ops.not_equal(best, op.mask_index % classes))
    if op.merge_repeated:
        before = ops.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=-1)
        kept = ops.logical_and(kept, ops.not_equal(best, before))
    order = ops.argsort(ops.where(kept, 0, 1), axis=-1)
    decoded = ops.take_along_axis(ops.where(kept, best, -1), order, axis=-1)
    scores = ops.negative(ops.sum(ops.where(counts, ops.max(inputs, axis=-1), 0.0), axis=-1, keepdims=True))
    return ops.expand_dims(decoded, 0), scores


_SEGMENTS = {
    kmath.SegmentSum: (ops.sum, "zero"),
    kmath.SegmentProd: (ops.prod, "one"),
    kmath.SegmentMax: (ops.max, "lowest"),
    kmath.SegmentMin: (ops.min, "highest"),
}


@opens(*_SEGMENTS)
def segments(op: Any, data: Any, segment_ids: Any) -> Any:
    """A reduction over the rows of each segment; where it has none, the value that changes nothing."""
    if op.num_segments is None:
        raise ConversionError("the number of segments depends on the values", fix="give num_segments")
    function, kind = _SEGMENTS[type(op)]
    dtype, rank = dtype_of(data), len(data.shape)
    neutral = {"zero": 0, "one": 1, "lowest": _extreme(dtype, low=True), "highest": _extreme(dtype, low=False)}[kind]
    ids = ops.reshape(ops.cast(segment_ids, "int32"), [1, -1] + [1] * (rank - 1))
    own = np.arange(int(op.num_segments), dtype=np.int32).reshape([-1] + [1] * rank)
    return function(ops.where(ops.equal(ids, own), ops.expand_dims(data, 0), cast(neutral, dtype)), axis=1)


def _extreme(dtype: str, *, low: bool) -> float:
    limits: Any = np.finfo("float32" if dtype == "bfloat16" else dtype) if "float" in dtype else np.iinfo(dtype)
    return float(limits.min if low else limits.max) if "float" in dtype else int(limits.min if low else limits.max)


@opens(knp.Correlate)
def correlate(op: Any, x1: Any, x2: Any) -> Any:
    """Each window of the first times the second; windows at known places are one Gather."""
    dtype = promoted(x1, x2, 1.0)
    x1, x2 = cast(x1, dtype), cast(x2, dtype)
    n, m = (known(x.shape[0], "the size of a correlated vector") for x in (x1, x2))
    if op.mode == "valid" and m > n:
        raise ConversionError("the second vector is longer than the first", fix="give the longer one first")
    full = 0 if op.mode == "valid" else m - 1
    count = n - m + 1 if op.mode == "valid" else n + m - 1
    places = np.arange(count)[:, None] + np.arange(m)[None, :]
    y = ops.matmul(ops.take(ops.pad(x1, [(full, full)]), places, axis=0), x2)
    if op.mode != "same":
        return y
    start = (count - max(n, m)) // 2
    return y[start : start + max(n, m)]


@opens(knp.Gcd, knp.Lcm)
def common_divisor(op: Any, x1: Any, x2: Any) -> Any:
    """Euclid's algorithm, as often as the largest numbers of the dtype need (Lame 1844: 5 for each decimal digit)."""
    dtype = promoted(x1, x2)
    x1, x2 = cast(x1, dtype), cast(x2, dtype)
    a, b = ops.abs(x1), ops.abs(x2)
    zero = ops.multiply(ops.add(a, b), cast(0, dtype))
    a, b = ops.add(a, zero), ops.add(b, zero)
    for _ in range(math.ceil(math.log(np.iinfo(dtype).max, (1 + math.sqrt(5)) / 2))):
        rest = ops.mod(a, ops.where(ops.equal(b, 0), cast(1, dtype), b))
        a, b = ops.where(ops.equal(b, 0), a, b), ops.where(ops.equal(b, 0), b, rest)
    if isinstance(op, knp.Gcd):
        return a
    parts = ops.floor_divide(ops.abs(x1), ops.where(ops.equal(a, 0), cast(1, dtype), a))
    return ops.multiply(parts, ops.abs(x2))
