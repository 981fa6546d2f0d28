"""Dense, embedding, activation, merging, normalization, reshaping, regularization, tabular layers."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

ACTIVATIONS = code(
    "'celu' 'elu' 'exponential' 'gelu' 'hard_shrink' 'hard_sigmoid' 'hard_silu' 'hard_tanh' 'leaky_relu' 'linear' 'log_sigmoid' 'log_softmax' 'mish' 'relu' 'relu6' 'selu' 'sigmoid' 'silu' 'soft_shrink' 'softmax' 'softplus' 'softsign' 'sparse_plus' 'sparse_sigmoid' 'sparsemax' 'squareplus' 'swish' 'tanh' 'tanh_shrink' None keras.activations.relu ops.gelu layers.ReLU() layers.LeakyReLU(0.1) layers.ELU(0.5) layers.PReLU() layers.Softmax()"
)
IMAGE = x(4, 5, 3)
TWO = [
    (x(4, 3), x(4, 3)),
    (x(4, 3), x(1, 3)),
    (x(4, 5, 3), x(4, 1, 1)),
    (x(4, 3), x(4, 3, dtype="float16")),
    (x(4, 3, dtype="int32"), x(4, 3, dtype="int32")),
    (x(None, 3), x(None, 3)),
    (x(4, 3, batch=2), x(4, 3, batch=2)),
]
INT = x(5, dtype="int32", values="index")

CASES = (
    *cases(
        "layers.Dense(<units>, use_bias=<b>)(x)",
        [
            x(6),
            x(4, 6),
            x(2, 4, 6),
            x(None, 6),
            x(1),
            x(6, dtype="float16"),
            x(6, batch=1),
            x(6, dtype="int32"),
            x(1, 1, 6),
        ],
        units=[1, 5],
        b=[True, False],
    ),
    *cases("layers.Dense(4, activation=<a>)(x)", [x(6), x(3, 6)], a=ACTIVATIONS),
    *cases("layers.Dense(4, lora_rank=2)(x)", [x(6)]),
    *cases("layers.Activation(<a>)(x)", [x(6), x(4, 5, 3, values="wide"), x(6, dtype="float16")], a=ACTIVATIONS),
    *cases(
        "layers.EinsumDense(<eq>, output_shape=<shape>, bias_axes=<b>)(x)",
        [x(4, 6)],
        eq=["abc,cd->abd"],
        shape=[(None, 5), (4, 5)],
        b=[None, "d", "bd"],
    ),
    *cases(
        "layers.EinsumDense(<eq>, output_shape=(2, 3), bias_axes=<b>)(x)",
        [x(6)],
        eq=["ab,bcd->acd"],
        b=[None, "d", "cd", "c"],
    ),
    *cases(
        "layers.EinsumDense('abc,cde->abde', output_shape=(None, 2, 3), bias_axes=<b>, activation=<a>)(x)",
        [x(4, 6), x(None, 6)],
        b=[None, "de", "e"],
        a=[None, "relu"],
    ),
    *cases(
        "layers.EinsumDense('abcd,cde->abe', output_shape=(None, 5), bias_axes=<b>)(x)", [x(4, 2, 3)], b=[None, "e"]
    ),
    *cases("layers.EinsumDense(<eq>, output_shape=<shape>)(x)", [x(4, 6)], eq=["...c,cd->...d"], shape=[5, (None, 5)]),
    *cases("layers.EinsumDense('ab...,bc->ac...', output_shape=(5,))(x)", [x(4), x(4, 6)]),
    *cases("layers.EinsumDense('abc,bd->acd', output_shape=(6, 5))(x)", [x(4, 6)]),
    *cases("layers.EinsumDense('abc,cb->ab', output_shape=4)(x)", [x(4, 6)]),
    *cases(
        "layers.Embedding(<n>, <d>, mask_zero=<m>)(x)",
        [
            INT,
            x(2, 3, dtype="int32", values="index"),
            x(dtype="int32", values="index"),
            x(None, dtype="int32", values="index"),
            x(5, dtype="uint8", values="index"),
            x(5, values="index"),
            x(5, dtype="int64", values="index"),
        ],
        n=[4, 9],
        d=[1, 6],
        m=[False, True],
    ),
    *cases("layers.ReversibleEmbedding(7, 4, tie_weights=<t>)(x)", [INT], t=[True, False]),
    *cases("layers.<n>()([x, y])", TWO, n=code("Add Subtract Multiply Average Maximum Minimum")),
    *cases(
        "layers.<n>()([x, y, z])",
        [(x(4, 3), x(4, 3), x(4, 3)), (x(4, 5, 3), x(3), x(5, 3))],
        n=code("Add Multiply Average Maximum Minimum"),
    ),
    *cases("layers.<n>()([x, y])", [(x(4, 5, 3), x(3)), (x(3), x(4, 5, 3))], n=code("Add Multiply Maximum Subtract")),
    *cases(
        "layers.Concatenate(axis=<axis>)([x, y])",
        [(x(4, 3), x(4, 3)), (x(4, 5, 3), x(4, 5, 3)), (x(4, 3, dtype="int32"), x(4, 3))],
        axis=[1, -1, 2, 0],
    ),
    *cases("layers.Concatenate(axis=<axis>)([x, y, z])", [(x(4, 2, 3), x(4, 2, 1), x(4, 2, 2))], axis=[-1, 3]),
    *cases(
        "layers.Dot(axes=<axes>, normalize=<n>)([x, y])",
        [(x(4, 3), x(4, 3))],
        axes=[1, 2, -1, (1, 1), (2, 2)],
        n=[False, True],
    ),
    *cases("layers.Dot(axes=<axes>, normalize=<n>)([x, y])", [(x(6), x(6))], axes=[1, -1], n=[False, True]),
    *cases("layers.Dot(axes=<axes>)([x, y])", [(x(4, 3), x(3, 5)), (x(4, 3), x(3))], axes=[(2, 1)]),
    *cases("layers.Dot(axes=<axes>)([x, y])", [(x(4, 2, 3), x(3, 5, 2))], axes=[(3, 1), (2, 3)]),
    *cases(
        "layers.BatchNormalization(axis=<axis>, epsilon=<e>, center=<c>, scale=<s>)(x)",
        [x(6), IMAGE, x(4, 3), x(2, 3, 4, 5), x(6, dtype="float16")],
        axis=[-1, 1],
        e=[1e-3, 0.1],
        c=[True, False],
        s=[True, False],
        pairs=True,
    ),
    *cases(
        "layers.LayerNormalization(axis=<axis>, epsilon=<e>, center=<c>, scale=<s>)(x)",
        [x(6), IMAGE, x(4, 3), x(4, 1)],
        axis=[-1, 1, [1, -1], [-2, -1]],
        e=[1e-3, 0.1],
        c=[True, False],
        s=[True, False],
        pairs=True,
    ),
    *cases("layers.LayerNormalization(<r>)(x)", [x(6), IMAGE, x(None, 6)], r=code("rms_scaling=True dtype='float16'")),
    *cases(
        "layers.RMSNormalization(axis=<axis>, epsilon=<e>)(x)", [x(6), IMAGE, x(None, 6)], axis=[-1, 1], e=[1e-6, 0.1]
    ),
    *cases(
        "layers.GroupNormalization(groups=<g>, axis=<axis>, epsilon=<e>, center=<c>, scale=<s>)(x)",
        [x(4, 5, 4), x(4, 4), x(4), x(2, 3, 2, 4)],
        g=[1, 2, 4, -1],
        axis=[-1, 1],
        e=[1e-3, 0.1],
        c=[True, False],
        s=[True, False],
        pairs=True,
    ),
    *cases("layers.GroupNormalization(groups=2)(x)", [x(None, None, 4), x(None, 4)]),
    *cases("layers.UnitNormalization(axis=<axis>)(x)", [x(6), IMAGE, x(4, 3)], axis=[-1, 1, [1, 2]]),
    *cases(
        "layers.SpectralNormalization(<layer>)(x)",
        [x(7, 8, 4)],
        layer=code("layers.Conv2D(3,2) layers.Dense(3) layers.Conv2D(3,1,strides=2)"),
    ),
    *cases("layers.SpectralNormalization(layers.Embedding(4, 3))(x)", [INT]),
    *cases(
        "layers.Normalization(axis=<axis>, mean=<m>, variance=<v>, invert=<i>)(x)",
        [x(4, 3), x(3), x(4, 3, dtype="int32"), x(5, 5, 3, dtype="uint8")],
        axis=[-1, None],
        m=[0.5, 2.0],
        v=[1.0, 4.0],
        i=[False, True],
    ),
    *cases(
        "layers.Normalization(axis=-1, mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 0.0], invert=<i>)(x)",
        [x(4, 3), x(3), IMAGE],
        i=[False, True],
    ),
    *cases(
        "layers.Discretization(bin_boundaries=<bins>, output_mode=<m>)(x)",
        [x(4), x(4, 3), x(1), x(4, dtype="int32"), x(4, values="ties")],
        bins=[[-1.0, 0.0, 0.5], [0.0]],
        m=["int", "one_hot", "multi_hot", "count"],
    ),
    *cases(
        "layers.CategoryEncoding(num_tokens=<n>, output_mode=<m>)(x)",
        [
            INT,
            x(1, dtype="int32", values="index"),
            x(2, 3, dtype="int32", values="index"),
            x(dtype="int32", values="index"),
        ],
        n=[4, 6],
        m=["one_hot", "multi_hot", "count"],
    ),
    *cases("layers.CategoryEncoding(num_tokens=4, output_mode='count')(x, count_weights=y)", [(INT, x(5))]),
    *cases(
        "layers.IntegerLookup(vocabulary=[3, 1, 2], output_mode=<m>)(x)",
        [INT],
        m=["int", "multi_hot", "count", "one_hot"],
    ),
    *cases("layers.Hashing(4)(x)", [INT]),
    *cases(
        "layers.HashedCrossing(5)([x, y])", [(x(1, dtype="int32", values="index"), x(1, dtype="int32", values="index"))]
    ),
    *cases(
        "layers.<n>(x)",
        [x(4, 3, values="wide"), IMAGE, x(6, dtype="float16")],
        n=code(
            "ReLU() ReLU(max_value=2.0) ReLU(negative_slope=0.1) ReLU(threshold=0.5) ReLU(max_value=3.0,negative_slope=0.2,threshold=0.5) LeakyReLU() LeakyReLU(negative_slope=0.0) LeakyReLU(0.7) ELU() ELU(alpha=0.3) PReLU() Softmax() Softmax(axis=1) Identity() ActivityRegularization(0.1) Dropout(0.5) GaussianDropout(0.5) GaussianNoise(0.5) AlphaDropout(0.5) Flatten() Masking()"
        ),
    ),
    *cases("layers.Lambda(lambda t: t * 2 + 1)(x)", [x(4, 3), x(4, 3, dtype="int32")]),
    *cases(
        "layers.Lambda(lambda t: ops.<f>)(x)",
        [x(4, 3)],
        f=code("mean(t,axis=-1,keepdims=True) square(t) expand_dims(t,1)"),
    ),
    *cases("layers.PReLU(shared_axes=<axes>)(x)", [IMAGE], axes=[[1, 2], [1], [1, 2, 3], [3]]),
    *cases("layers.Softmax(axis=<axis>)(x)", [x(4, 3), IMAGE], axis=[-1, 1, (1, 2), [-1, -2]]),
    *cases("layers.Softmax()(x, mask=y)", [(x(4, 3), x(4, 3, dtype="bool", values="prefix"))]),
    *cases("layers.SpatialDropout<d>(0.5)(x)", [x(4, 3)], d=code("1D")),
    *cases("layers.SpatialDropout2D(0.5)(x)", [IMAGE]),
    *cases("layers.SpatialDropout3D(0.5)(x)", [x(2, 4, 5, 3)]),
    *cases(
        "layers.Reshape(<shape>)(x)",
        [x(6, 4), x(6, 4, dtype="int32"), x(2, 3, 4), x(24)],
        shape=[(24,), (-1,), (4, 6), (2, -1, 3), (1, 24, 1), (-1, 1)],
    ),
    *cases("layers.Reshape(<shape>)(x)", [x(None, 4)], shape=[(-1,), (-1, 2), (-1, 2, 2)]),
    *cases(
        "layers.Flatten(data_format=<f>)(x)",
        [x(4), x(4, 3), IMAGE, x(None, 3), x(4, 3, dtype="int32"), x()],
        f=["channels_last", "channels_first"],
    ),
    *cases(
        "layers.Permute(<dims>)(x)",
        [IMAGE, x(1, 5, 1), x(4, 5, 3, dtype="int32")],
        dims=[(1, 2, 3), (3, 1, 2), (2, 1, 3), (3, 2, 1)],
    ),
    *cases("layers.RepeatVector(<n>)(x)", [x(4), x(4, dtype="int32"), x(1)], n=[1, 3]),
    *cases(
        "keras.Sequential([layers.Input((4, 3)), layers.<a>, layers.<b>])(x)",
        [x(4, 3)],
        a=code("Flatten() Permute((2,1)) Dense(3)"),
        b=code("Dense(2) BatchNormalization() ReLU()"),
    ),
    *cases("{'a': layers.Dense(2)(x), 'b': [layers.ReLU()(x), x]}", [x(4, 3)]),
    *cases("layers.Pipeline([layers.Rescaling(0.5), layers.CenterCrop(3, 3)])(x)", [x(5, 5, 3)]),
    *cases("layers.MaxNumBoundingBoxes(3)(x)", [x(5, 4)]),
    *cases("layers.Masking(<v>)(x)", [x(5, 3, values="padded"), x(5, 3, values="ties")], v=[0.0, 1.0]),
    *cases("layers.StringLookup(vocabulary=['a', 'b'])(x)", [x(3, dtype="string", values="index")]),
    *cases("layers.TextVectorization(vocabulary=['a', 'b'])(x)", [x(1, dtype="string", values="index")]),
)
