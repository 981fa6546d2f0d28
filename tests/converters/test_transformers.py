"""Transformers as people build them of Keras layers: parity, the operations they end in, and no Shape in any block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx_ir as ir
import pytest
from keras import layers, ops

from tests.converters.checking import Function, check, operations, randomize

WIDTH, HEADS, TOKENS = 16, 2, 20


class ClassToken(layers.Layer):
    """A learned token before the sequence, and a learned position for each."""

    def build(self, shape: Any) -> None:
        self.token = self.add_weight(shape=(1, 1, shape[-1]), name="token_bias")
        self.position = self.add_weight(shape=(1, shape[1] + 1, shape[-1]), name="position_bias")

    def call(self, x: Any) -> Any:
        token = ops.broadcast_to(self.token, (ops.shape(x)[0], 1, x.shape[-1]))
        return ops.concatenate([token, x], axis=1) + self.position


class TokenEmbedding(layers.Layer):
    """Embeddings of tokens and positions, with the padding's mask."""

    def __init__(self, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.token = layers.Embedding(TOKENS, WIDTH, mask_zero=True)
        self.position = layers.Embedding(length, WIDTH)

    def build(self, shape: Any) -> None:
        self.token.build(shape)
        self.position.build((self.length,))

    def call(self, x: Any) -> Any:
        return self.token(x) + self.position(ops.arange(0, ops.shape(x)[-1], 1))

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return self.token.compute_mask(x)


class Block(layers.Layer):
    """Attention and a feed-forward network, each added and normalized; padding is passed as an attention mask."""

    def __init__(self, causal: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.causal = causal
        self.attention = layers.MultiHeadAttention(HEADS, WIDTH // HEADS, name="attention")
        self.feed = keras.Sequential([layers.Dense(32, activation="relu"), layers.Dense(WIDTH)], name="feed")
        self.norms = [layers.LayerNormalization(epsilon=1e-6, name=f"norm{index}") for index in range(2)]
        self.dropout = layers.Dropout(0.1)

    def call(self, x: Any, mask: Any = None) -> Any:
        padding = mask[:, None, :] if mask is not None else None
        attended = self.attention(x, x, attention_mask=padding, use_causal_mask=self.causal)
        x = self.norms[0](x + self.dropout(attended))
        return self.norms[1](x + self.dropout(self.feed(x)))


def image_classifier() -> keras.Model:
    """A ViT: patches by a strided convolution, a class token, pre-normalized blocks."""
    x = inputs = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(WIDTH, 4, strides=4)(x)
    x = ClassToken()(layers.Reshape((-1, WIDTH))(x))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS, dropout=0.1)(y, y)
        y = layers.Dense(32, activation="gelu")(layers.LayerNormalization()(x))
        x = x + layers.Dense(WIDTH)(y)
    return keras.Model(inputs, layers.Dense(5)(layers.LayerNormalization()(x)[:, 0]))


def encoder() -> keras.Model:
    """BERT-like: padded tokens, masks into every layer, a mean over what is no padding."""
    inputs = keras.Input((10,), dtype="int32", name="tokens")
    x = TokenEmbedding(10)(inputs)
    for _ in range(2):
        x = Block()(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x)))


def decoder() -> keras.Model:
    """GPT-like: causal attention, a logit for each token."""
    inputs = keras.Input((10,), dtype="int32", name="tokens")
    x = layers.Embedding(TOKENS, WIDTH)(inputs) + layers.Embedding(10, WIDTH)(np.arange(10))
    for _ in range(2):
        x = Block(causal=True)(x)
    return keras.Model(inputs, layers.Dense(TOKENS)(x))


def translator() -> keras.Model:
    """Encoder and decoder with padding of their own, causal and cross attention."""
    source = keras.Input((8,), dtype="int32", name="source")
    target = keras.Input((6,), dtype="int32", name="target")
    memory = Block()(TokenEmbedding(8)(source))
    x = TokenEmbedding(6)(target)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(HEADS, 8)(x, x, use_causal_mask=True))
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(HEADS, 8)(x, memory, memory))
    return keras.Model([source, target], layers.Dense(TOKENS)(x))


def conformer() -> keras.Model:
    """One Conformer block (Gulati et al. 2020): half a feed-forward, attention, gated convolutions, the other half."""

    def feed(x: Any) -> Any:
        y = layers.Dense(32, activation="swish")(layers.LayerNormalization()(x))
        return x + 0.5 * layers.Dense(WIDTH)(y)

    inputs = keras.Input((12, 8), name="frames")
    x = feed(layers.Dense(WIDTH)(inputs))
    y = layers.LayerNormalization()(x)
    x = x + layers.MultiHeadAttention(HEADS, WIDTH // HEADS)(y, y)
    y = layers.Conv1D(2 * WIDTH, 1)(layers.LayerNormalization()(x))
    y = layers.DepthwiseConv1D(5, padding="same")(keras.activations.glu(y, axis=-1))
    y = layers.Activation("swish")(layers.BatchNormalization()(y))
    x = feed(x + layers.Conv1D(WIDTH, 1)(y))
    return keras.Model(inputs, layers.Dense(7)(layers.LayerNormalization()(x)))


@pytest.mark.parametrize(
    ("build", "nodes", "transposes"),
    [(image_classifier, 78, 10), (encoder, 74, 8), (decoder, 62, 8), (translator, 95, 12), (conformer, 54, 6)],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_parity_and_nodes(build: Callable[[], keras.Model], nodes: int, transposes: int) -> None:
    """Keras 3.15's own export needs 272 nodes for the encoder, 260, 342 and 214 for the last three."""
    converted = check(randomize(build()), exporter="direct")
    counts = Counter(node.op_type for node in converted.model.graph)
    assert counts.total() <= nodes, operations(converted)
    assert counts["Transpose"] <= transposes
    assert counts["Gather"] <= 2
    assert not counts["Einsum"]
    shapes = [node.name for node in converted.model.graph if node.op_type == "Shape"]
    assert len(shapes) <= (build is image_classifier), "the class token alone needs the batch"


def test_every_product_of_a_block_has_a_constant_or_two_computed_sides() -> None:
    """So a quantizer finds a weight matrix in each projection: none is stacked, reshaped or transposed at run time."""
    graph = check(randomize(decoder())).model.graph
    sides = Counter(
        sum(isinstance(value, ir.Value) and value.is_initializer() for value in node.inputs)
        for node in graph
        if node.op_type == "MatMul"
    )
    assert sides == {1: 13, 0: 4}


@pytest.mark.parametrize("merged", [False, True])
def test_patches_and_their_embedding_are_one_convolution(merged: bool) -> None:
    """A vision transformer's first layers: patches, their places in one axis or not, a Dense."""

    def patches(x: Any) -> Any:
        found = ops.image.extract_patches(x, size=(3, 2))
        return ops.reshape(found, (-1, 12, 18)) if merged else found

    x = keras.Input((9, 8, 3))
    y = layers.Dense(5, name="embedding")(Function(patches, name="patches")(x))
    converted = check(randomize(keras.Model(x, layers.LayerNormalization()(y))))
    kinds = operations(converted)
    assert kinds == "Conv:1,LayerNormalization:1," + ("Reshape:1," if merged else "") + "Transpose:2"
    assert next(node.name for node in converted.model.graph if node.op_type == "Conv").startswith("embedding")
