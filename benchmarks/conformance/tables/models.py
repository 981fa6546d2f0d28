"""Layers under dtype policies, and models of several layers: nested, shared, with dictionaries and lists."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

POLICIES = ["float16", "mixed_float16"]
IMAGE, SEQUENCE = x(7, 8, 4), x(5, 4)
BLOCKS = code(
    "layers.Conv2D(4,3,padding='same') layers.SeparableConv2D(4,3,padding='same') layers.BatchNormalization() "
    "layers.DepthwiseConv2D(3,padding='same') layers.Activation('gelu') layers.LayerNormalization() layers.Dense(4) "
    "layers.MaxPooling2D(2,strides=1,padding='same') layers.ZeroPadding2D(1) layers.GroupNormalization(2)"
)

CASES = (
    *cases("layers.Conv2D(5, 3, padding=<p>, dtype=<d>)(x)", [IMAGE], p=["same", "valid"], d=POLICIES),
    *cases("layers.<l>(3, dtype=<d>)(x)", [SEQUENCE], l=code("Dense LSTM GRU SimpleRNN Conv1D"), d=POLICIES),
    *cases(
        "layers.<l>(dtype=<d>)(x)",
        [IMAGE],
        l=code(
            "BatchNormalization LayerNormalization RMSNormalization GlobalAveragePooling2D Softmax ReLU MaxPooling2D "
            "AveragePooling2D Flatten UnitNormalization PReLU UpSampling2D"
        ),
        d=POLICIES,
    ),
    *cases("layers.GroupNormalization(2, dtype=<d>)(x)", [IMAGE], d=POLICIES),
    *cases("layers.MultiHeadAttention(2, 3, dtype=<d>)(x, x)", [SEQUENCE], d=POLICIES),
    *cases("layers.Embedding(4, 3, dtype=<d>)(x)", [x(5, dtype="int32", values="index")], d=POLICIES),
    *cases("layers.Rescaling(1 / 255, dtype=<d>)(x)", [x(4, 5, 3, dtype="uint8")], d=POLICIES),
    *cases("layers.Dense(3, activation='softmax', dtype='float32')(layers.Dense(4, dtype=<d>)(x))", [x(6)], d=POLICIES),
    *cases("layers.Add()([x, <a>(<b>(x))])", [IMAGE], a=BLOCKS[:7], b=BLOCKS[:7]),
    *cases("<a>(<b>(<a>(x)))", [IMAGE], a=BLOCKS[6:], b=BLOCKS, pairs=True),
    *cases(
        "layers.Dense(3)(layers.<f>(<a>(x)))",
        [IMAGE],
        a=BLOCKS,
        f=code("Flatten() GlobalAveragePooling2D() GlobalMaxPooling2D(keepdims=True)"),
    ),
    *cases("layers.Reshape(<s>)(<a>(x))", [IMAGE], a=BLOCKS[:2], s=[(56, 4), (8, 7, 4), (7, 32), (-1, 2, 2)]),
    *cases("layers.Permute(<p>)(<a>(x))", [IMAGE], a=BLOCKS[:2], p=[(3, 1, 2), (2, 1, 3), (1, 3, 2)]),
    *cases(
        "layers.Concatenate(axis=<axis>)([<a>(x), <b>(x), x])", [IMAGE], a=BLOCKS[:1], b=BLOCKS[2:5], axis=[1, 2, 3, -1]
    ),
    *cases(
        "(lambda shared: [shared(x), shared(y), shared(x) + shared(y)])(<l>)",
        [(SEQUENCE, SEQUENCE)],
        l=code("layers.Dense(4) layers.LSTM(4) layers.Conv1D(4,2) layers.MultiHeadAttention(2,3)")[:3],
    ),
    *cases(
        "(lambda nested: layers.Add()([nested(x), nested(y)]))(keras.Sequential([layers.Input((7, 8, 4)), <a>, <b>]))",
        [(IMAGE, IMAGE)],
        a=BLOCKS[:3],
        b=BLOCKS[3:7],
    ),
    *cases("{'logits': layers.Dense(2)(x), 'list': [layers.ReLU()(x), x], 'again': x}", [x(4, 3), x(6)]),
    *cases(
        "layers.Multiply()([x, layers.Dense(4, activation='sigmoid')(layers.Dense(2, activation='relu')(layers.<g>(x)))])",
        [IMAGE],
        g=code("GlobalAveragePooling2D(keepdims=True) GlobalMaxPooling2D(keepdims=True)"),
    ),
    *cases(
        "layers.Conv2D(1, 7, padding='same', activation='sigmoid')(layers.Concatenate()([ops.mean(x, axis=-1, keepdims=True), ops.max(x, axis=-1, keepdims=True)])) * x",
        [IMAGE, x(None, None, 4)],
    ),
    *cases("layers.Conv2D(3, 3)(layers.RandomFlip()(layers.Rescaling(1 / 255)(x)))", [x(9, 8, 3, dtype="uint8")]),
    *cases(
        "layers.Dense(3)(layers.LSTM(4)(layers.Embedding(4, 5, mask_zero=<m>)(x)))",
        [x(5, dtype="int32", values="index"), x(None, dtype="int32", values="index")],
        m=[False, True],
    ),
    *cases("layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))", [SEQUENCE, x(None, 4)]),
)
