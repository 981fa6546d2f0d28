"""Looking whole numbers up in a vocabulary, as comparisons with its tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from converters.registry import opens
from deploy.errors import ConversionError


@opens(layers.IntegerLookup)
def integer_lookup(layer: Any, inputs: Any) -> Any:
    """The place of each token in the vocabulary; one that is not in it has the place of its remainder among those.

    Keras's layer reads a hash table, which exists in TensorFlow only.
    """
    mode, unknown = layer.output_mode, layer.num_oov_indices
    masked = layer.mask_token is not None
    if (
        layer.invert
        or mode not in ("int", "one_hot", "multi_hot", "count")
        or unknown < 1
        or (masked and mode != "int")
    ):
        raise ConversionError(
            f"IntegerLookup with output_mode '{mode}', invert={layer.invert}, num_oov_indices={unknown} and "
            f"mask_token={layer.mask_token} has no lowering",
            fix="look numbers up outside of the model",
        )
    tokens = np.asarray(layer.get_vocabulary(include_special_tokens=False), np.int64)
    start = int(masked) + unknown
    x = ops.cast(inputs, "int64")
    hits = ops.equal(ops.expand_dims(x, -1), tokens)
    places = np.arange(start, start + len(tokens), dtype=np.int64)
    place = ops.sum(ops.where(hits, places, np.int64(0)), axis=-1)
    other = ops.add(ops.mod(x, np.int64(unknown)), np.int64(start - unknown))
    place = ops.where(ops.any(hits, axis=-1), place, other)
    if masked:
        place = ops.where(ops.equal(x, np.int64(layer.mask_token)), np.int64(0), place)
    return place if mode == "int" else _encoded(layer, place, mode)


def _encoded(layer: Any, place: Any, mode: str) -> Any:
    depth = layer.max_tokens if layer.pad_to_max_tokens else layer.vocabulary_size()
    if mode == "one_hot" and len(place.shape) > 1 and place.shape[-1] == 1:
        place = ops.squeeze(place, -1)
    rows = ops.one_hot(place, depth, dtype=layer.compute_dtype)
    if mode == "one_hot":
        return rows
    return (ops.max if mode == "multi_hot" else ops.sum)(rows, axis=1 if len(place.shape) > 1 else 0)
