"""Attention: the operation, the four layers, masks of every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from tests.converters.checking import Case, case, check, operations, parametrize, randomize

RNG = np.random.default_rng(0)
PLAIN = "Add:4,MatMul:6,Reshape:4,Softmax:1,Transpose:4"
MASKED = f"{PLAIN},Where:1"


def called(layer: Any, call: Callable[..., Any], shapes: Any, expects: str = "", dtype: str = "float32") -> Case:
    """A case in which a layer made of (class, arguments) is called in a way of its own."""
    cls, arguments = layer
    several = isinstance(shapes, list)
    return case(lambda xs: call(cls(**arguments), *(xs if several else [xs])), shapes, expects, dtype)


def heads(**arguments: Any) -> Any:
    return layers.MultiHeadAttention, {"num_heads": 2, "key_dim": 4, **arguments}


def groups(**arguments: Any) -> Any:
    return layers.GroupQueryAttention, {"head_dim": 4, "num_query_heads": 4, "num_key_value_heads": 2, **arguments}


def self_attention(layer: Any, x: Any) -> Any:
    return layer(x, x)


def attention(query: Any, key: Any, value: Any, **options: Any) -> Any:
    return ops.dot_product_attention(query, key, value, **options)


QKV = [(6, 2, 4), (5, 2, 4), (5, 2, 3)]

MULTI_HEAD = [
    called(heads(), self_attention, (6, 8), PLAIN),
    called(heads(value_dim=3, key_dim=3), self_attention, (6, 8), PLAIN),
    called(heads(num_heads=1), self_attention, (6, 8), "Add:4,MatMul:6,Reshape:4,Softmax:1,Transpose:1"),
    called(heads(use_bias=False), self_attention, (6, 8), "MatMul:6,Reshape:4,Softmax:1,Transpose:4"),
    called(heads(use_gate=True), self_attention, (6, 8)),
    called(heads(dropout=0.1), self_attention, (6, 8), PLAIN),
    called(heads(output_shape=(9,)), lambda m, q, v, k: m(q, v, k), [(6, 8), (5, 7), (5, 3)], PLAIN),
    called(heads(output_shape=(2, 3)), self_attention, (6, 8)),
    called(heads(), lambda m, x: m(x, x, use_causal_mask=True), (6, 8), MASKED),
    called(heads(sliding_window=2), self_attention, (6, 8), MASKED),
    called(heads(), lambda m, x: m(x, x, return_attention_scores=True), (6, 8), PLAIN),
    called(heads(), lambda m, x: m(x, x, use_causal_mask=True, return_attention_scores=True), (6, 8)),
    called(heads(), lambda m, x, mask: m(x, x, attention_mask=mask), [(6, 8), (6, 6)]),
    called(heads(), lambda m, x, mask: m(x, x, attention_mask=mask > 0), [(6, 8), (1, 6)]),
    called(heads(attention_axes=(1, 2)), self_attention, (4, 5, 8)),
    called(heads(attention_axes=(2,)), self_attention, (4, 5, 8), PLAIN),
    called(heads(attention_axes=(1,)), self_attention, (4, 5, 8), PLAIN),
    called(heads(), self_attention, (None, 8), PLAIN),
    called(heads(), lambda m, x, y: m(x, y), [(None, 8), (None, 7)], PLAIN),
    called(heads(), lambda m, x: m(x, x, use_causal_mask=True), (None, 8)),
]

GROUPED = [
    called(groups(), self_attention, (6, 8), "Add:4,Gather:2,MatMul:6,Reshape:4,Softmax:1,Transpose:4"),
    called(groups(num_key_value_heads=1), self_attention, (6, 8)),
    called(groups(use_bias=False), lambda m, x: m(x, x, use_causal_mask=True), (6, 8)),
    called(groups(), lambda m, x: m(x, x, return_attention_scores=True), (6, 8)),
    called(groups(use_gate=True, sliding_window=3), self_attention, (6, 8)),
]

SINGLE_HEAD = [
    called((cls, arguments), lambda m, q, v, call=call: m([q, v], **call), [(6, 5), (4, 5)])
    for cls, arguments in [
        (layers.Attention, {}),
        (layers.Attention, {"use_scale": True}),
        (layers.Attention, {"score_mode": "concat"}),
        (layers.Attention, {"score_mode": "concat", "use_scale": True}),
        (layers.AdditiveAttention, {}),
        (layers.AdditiveAttention, {"use_scale": False}),
    ]
    for call in ({}, {"use_causal_mask": True}, {"return_attention_scores": True})
]

OPERATION = [
    case(lambda x: attention(*x), QKV, "MatMul:2,Mul:1,Softmax:1,Transpose:4"),
    case(lambda x: attention(*x, scale=1.0), QKV, "MatMul:2,Softmax:1,Transpose:4"),
    case(lambda x: attention(*x, scale=0.3, is_causal=True), QKV, "MatMul:2,Mul:1,Softmax:1,Transpose:4,Where:1"),
    case(lambda x: attention(*x[:3], bias=x[3]), [*QKV, (2, 6, 5)], "Add:1,MatMul:2,Mul:1,Softmax:1,Transpose:4"),
    case(lambda x: attention(*x, bias=RNG.normal(size=(1, 2, 6, 5)).astype("float32"), is_causal=True), QKV),
    case(lambda x: attention(*x[:3], mask=x[3] > 0), [*QKV, (1, 6, 5)]),
    case(lambda x: attention(*x[:3], mask=x[3] > 0, is_causal=True), [*QKV, (2, 6, 5)]),
    case(lambda x: attention(*x[:3], mask=x[3] > 9), [*QKV, (1, 6, 5)]),
    case(lambda x: attention(*x), [(6, 4, 4), (5, 2, 4), (5, 2, 4)], "Gather:2,MatMul:2,Mul:1,Softmax:1,Transpose:4"),
    case(lambda x: attention(*x), [(6, 4, 4), (5, 2, 4), (5, 2, 4)], dtype="float16"),
    case(lambda x: attention(*x, is_causal=True), [(None, 2, 4), (None, 2, 4), (None, 2, 4)]),
]


@parametrize(MULTI_HEAD)
def test_multi_head_attention(item: Case) -> None:
    item.check()


@parametrize(GROUPED)
def test_grouped_query_attention(item: Case) -> None:
    item.check()


@parametrize(SINGLE_HEAD)
def test_attention(item: Case) -> None:
    item.check()


@parametrize(OPERATION)
def test_dot_product_attention(item: Case) -> None:
    item.check()


def _padded(call: Callable[..., Any]) -> keras.Model:
    """Two padded sequences of tokens, of which 0 is padding; random inputs are 0 to 4."""
    inputs = [keras.Input((size,), dtype="int32", name=f"tokens{size}") for size in (6, 5)]
    query, value = (layers.Embedding(5, 8, mask_zero=True)(x) for x in inputs)
    return randomize(keras.Model(inputs, call(query, value)))


@pytest.mark.parametrize(
    "call",
    [
        layers.MultiHeadAttention(2, 4),
        lambda q, v: layers.MultiHeadAttention(2, 4)(q, v, use_causal_mask=True),
        lambda q, v: layers.MultiHeadAttention(2, 4)(q, q, return_attention_scores=True),
        lambda q, v: layers.MultiHeadAttention(2, 4)(q, v, v),
        lambda q, v: layers.MultiHeadAttention(2, 4)(layers.LayerNormalization()(q), v, use_causal_mask=True),
        layers.GroupQueryAttention(4, 4, 2),
        lambda q, v: layers.Attention()([q, v]),
        lambda q, v: layers.Attention()([q, v], use_causal_mask=True),
        lambda q, v: layers.AdditiveAttention()([q, v]),
    ],
)
def test_padding_masks_of_embeddings(call: Callable[..., Any]) -> None:
    check(_padded(call))


def test_a_row_that_is_padding_as_a_whole_is_as_in_keras() -> None:
    inputs = keras.Input((4,), dtype="int32", name="tokens")
    x = layers.Embedding(5, 8, mask_zero=True)(inputs * 0)
    y = layers.MultiHeadAttention(2, 4)(x, x)
    z = layers.Softmax()(ops.ones((1, 4)) * ops.cast(inputs, "float32"), mask=ops.equal(inputs, 9))
    check(randomize(keras.Model(inputs, [y, z])))


def test_the_attention_layer_and_its_projections_are_named() -> None:
    inputs = keras.Input((6, 8))
    y = layers.MultiHeadAttention(2, 4, name="mha")(inputs, inputs)
    converted = check(randomize(keras.Model(inputs, layers.Dense(3, name="head")(y))))
    values = {layer.path: layer.value for layer in converted.layers}
    assert values["mha"] == values["mha/attention_output"] == "mha/attention_output"
    assert values["mha/value"] == "mha/value"
    products = [node.name for node in converted.model.graph if node.op_type == "MatMul"]
    assert all(name and name.startswith(("mha/", "head")) for name in products)
    assert operations(converted) == "Add:5,MatMul:7,Reshape:4,Softmax:1,Transpose:4"
