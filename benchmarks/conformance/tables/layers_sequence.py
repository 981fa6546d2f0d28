"""Attention, recurrence, masks, TimeDistributed."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

SEQ, MASK, PADDED = x(5, 4), x(5, dtype="bool", values="prefix"), x(5, 4, values="padded")
QKV = (x(5, 4), x(6, 4), x(6, 4))
TOKENS = x(5, dtype="int32", values="index")
ACT = code("'tanh' 'relu' 'sigmoid' 'linear' 'gelu' 'hard_sigmoid' 'softplus' 'elu' 'silu'")

CASES = (
    *cases(
        "layers.MultiHeadAttention(<h>, <k>, value_dim=<v>, use_bias=<b>, output_shape=<o>)(x, y)",
        [(x(5, 4), x(6, 4)), (x(5, 4), x(6, 3)), (x(None, 4), x(None, 4))],
        h=[1, 2],
        k=[3, 4],
        v=[None, 5],
        b=[True, False],
        o=[None, 6],
        pairs=True,
    ),
    *cases("layers.MultiHeadAttention(2, 3, attention_axes=<a>)(x, x)", [x(3, 5, 4)], a=[None, 1, 2, (1, 2)]),
    *cases(
        "layers.MultiHeadAttention(2, 3)(x, y, z, use_causal_mask=<c>, return_attention_scores=<r>)",
        [QKV, (x(5, 4), x(5, 4), x(5, 4))],
        c=[False, True],
        r=[False, True],
    ),
    *cases(
        "layers.MultiHeadAttention(2, 3)(x, x, attention_mask=y, use_causal_mask=<c>)",
        [(x(5, 4), x(5, 5, dtype="bool")), (x(5, 4), x(1, 5, dtype="bool", values="prefix"))],
        c=[False, True],
    ),
    *cases(
        "layers.MultiHeadAttention(2, 3)(x, x, <n>=y, use_causal_mask=<c>)",
        [(x(5, 4), MASK)],
        n=code("query_mask value_mask key_mask"),
        c=[False, True],
    ),
    *cases("layers.MultiHeadAttention(2, 3)(layers.Masking()(x), layers.Masking()(x))", [PADDED]),
    *cases(
        "layers.MultiHeadAttention(2, 3, flash_attention=<f>, dropout=<d>)(x, x)", [SEQ], f=[False, None], d=[0.0, 0.2]
    ),
    *cases(
        "layers.GroupQueryAttention(<d>, <q>, <k>, use_bias=<b>)(x, y)",
        [(x(5, 4), x(6, 4))],
        d=[3, 4],
        q=[4, 2],
        k=[1, 2],
        b=[True, False],
    ),
    *cases(
        "layers.GroupQueryAttention(3, 4, 2)(x, x, use_causal_mask=<c>, return_attention_scores=<r>)",
        [SEQ],
        c=[False, True],
        r=[False, True],
    ),
    *cases("layers.GroupQueryAttention(3, 4, 2)(x, x, attention_mask=y)", [(x(5, 4), x(5, 5, dtype="bool"))]),
    *cases(
        "layers.Attention(use_scale=<s>, score_mode=<m>)([<t>])",
        [QKV],
        s=[False, True],
        m=["dot", "concat"],
        t=code("x,y,z x,y"),
    ),
    *cases(
        "layers.Attention()([x, y], mask=[<q>, <v>], use_causal_mask=<c>)",
        [(x(5, 4), x(5, 4), MASK, MASK)],
        q=code("None z"),
        v=code("w"),
        c=[False, True],
    ),
    *cases(
        "layers.Attention()([x, y, z], return_attention_scores=<r>, use_causal_mask=<c>)",
        [QKV],
        r=[False, True],
        c=[False, True],
    ),
    *cases(
        "layers.AdditiveAttention(use_scale=<s>)([x, y, z], use_causal_mask=<c>, return_attention_scores=<r>)",
        [QKV],
        s=[False, True],
        c=[False, True],
        r=[False, True],
    ),
    *cases("layers.AdditiveAttention()([x, y], mask=[z, w])", [(x(5, 4), x(5, 4), MASK, MASK)]),
    *cases(
        "layers.<n>(3, return_sequences=<s>, return_state=<r>, go_backwards=<g>, use_bias=<b>)(x)",
        [SEQ, x(None, 4), x(1, 4), x(5, 4, batch=2)],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
        r=[True, False],
        g=[True, False],
        b=[True, False],
        pairs=True,
    ),
    *cases(
        "layers.<n>(3, return_sequences=True, return_state=True, go_backwards=<g>)(x)",
        [SEQ],
        n=code("LSTM GRU SimpleRNN"),
        g=[True, False],
    ),
    *cases("layers.<n>(3, activation=<a>)(x)", [SEQ], n=code("LSTM GRU SimpleRNN"), a=ACT),
    *cases("layers.<n>(3, recurrent_activation=<a>)(x)", [SEQ], n=code("LSTM GRU"), a=ACT),
    *cases(
        "layers.GRU(3, reset_after=<r>, return_sequences=<s>, use_bias=<b>, go_backwards=<g>)(x)",
        [SEQ, PADDED],
        r=[True, False],
        s=[True, False],
        b=[True, False],
        g=[False, True],
    ),
    *cases(
        "layers.<n>(3, return_sequences=<s>, go_backwards=<g>)(layers.Masking()(x))",
        [PADDED, x(5, 4, values="padded", batch=2)],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
        g=[True, False],
    ),
    *cases(
        "layers.<n>(3, return_sequences=<s>)(x, mask=y)",
        [(SEQ, MASK), (SEQ, x(5, dtype="bool"))],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
    ),
    *cases(
        "layers.<n>(3, return_sequences=<s>, zero_output_for_mask=True)(x, mask=y)",
        [(SEQ, MASK)],
        n=code("LSTM GRU SimpleRNN"),
        s=[True],
    ),
    *cases(
        "layers.<n>(3, return_sequences=<s>)(layers.Embedding(4, 4, mask_zero=True)(x))",
        [TOKENS],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
    ),
    *cases("layers.LSTM(3, return_sequences=<s>)(x, initial_state=[y, z])", [(SEQ, x(3), x(3))], s=[True, False]),
    *cases(
        "layers.<n>(3, return_sequences=<s>)(x, initial_state=y)",
        [(SEQ, x(3))],
        n=code("GRU SimpleRNN"),
        s=[True, False],
    ),
    *cases("layers.<n>(3, unroll=True, return_sequences=<s>)(x)", [SEQ], n=code("LSTM GRU SimpleRNN"), s=[True, False]),
    *cases("layers.LSTM(3, unit_forget_bias=<u>, dropout=0.1, recurrent_dropout=0.1)(x)", [SEQ], u=[True, False]),
    *cases(
        "layers.Bidirectional(layers.<n>(3, return_sequences=<s>, return_state=<r>), merge_mode=<m>)(x)",
        [SEQ, x(None, 4)],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
        r=[True, False],
        m=["concat", "sum", "mul", "ave", None],
        pairs=True,
    ),
    *cases(
        "layers.Bidirectional(layers.<n>(3, return_sequences=<s>))(layers.Masking()(x))",
        [PADDED],
        n=code("LSTM GRU SimpleRNN"),
        s=[True, False],
    ),
    *cases(
        "layers.Bidirectional(layers.LSTM(3, return_sequences=True), backward_layer=layers.<b>(3, return_sequences=True, go_backwards=True))(x)",
        [SEQ],
        b=code("LSTM GRU"),
    ),
    *cases("layers.Bidirectional(layers.RNN(layers.GRUCell(3), return_sequences=<s>))(x)", [SEQ], s=[True, False]),
    *cases(
        "layers.RNN(<cell>, return_sequences=<s>, return_state=<r>)(x)",
        [SEQ, x(None, 4)],
        cell=code(
            "layers.LSTMCell(3) layers.GRUCell(3) layers.GRUCell(3,reset_after=False) layers.SimpleRNNCell(3) [layers.LSTMCell(3),layers.LSTMCell(2)] [layers.GRUCell(3),layers.SimpleRNNCell(2)] layers.StackedRNNCells([layers.LSTMCell(3),layers.GRUCell(2)])"
        ),
        s=[True, False],
        r=[True, False],
    ),
    *cases(
        "layers.RNN(<cell>, return_sequences=<s>, go_backwards=<g>)(layers.Masking()(x))",
        [PADDED],
        cell=code("layers.LSTMCell(3) [layers.GRUCell(3),layers.SimpleRNNCell(2)]"),
        s=[True, False],
        g=[False, True],
    ),
    *cases("layers.<n>(x, y)[0]", [(x(4), x(3))], n=code("GRUCell(3) SimpleRNNCell(3)")),
    *cases("layers.LSTMCell(3)(x, [y, z])[0]", [(x(4), x(3), x(3))]),
    *cases(
        "layers.ConvLSTM1D(3, <k>, strides=<s>, padding=<p>, return_sequences=<r>, data_format=<f>)(x)",
        [x(4, 7, 4)],
        k=[1, 2, 3],
        s=[1, 2],
        p=["valid", "same"],
        r=[True, False],
        f=["channels_last", "channels_first"],
        pairs=True,
    ),
    *cases(
        "layers.ConvLSTM2D(3, <k>, strides=<s>, padding=<p>, return_sequences=<r>, dilation_rate=<d>, data_format=<f>)(x)",
        [x(4, 6, 5, 4)],
        k=[2, 3],
        s=[1, 2],
        p=["valid", "same"],
        r=[True, False],
        d=[1, 2],
        f=["channels_last", "channels_first"],
        pairs=True,
    ),
    *cases(
        "layers.ConvLSTM2D(3, 2, return_sequences=<r>, return_state=<t>, go_backwards=<g>)(x)",
        [x(4, 6, 5, 4)],
        r=[True, False],
        t=[True, False],
        g=[True, False],
    ),
    *cases(
        "layers.ConvLSTM3D(2, 2, padding=<p>, return_sequences=<r>)(x)",
        [x(3, 4, 4, 4, 2)],
        p=["valid", "same"],
        r=[True, False],
    ),
    *cases(
        "layers.TimeDistributed(layers.<l>)(x)",
        [x(5, 4), x(None, 4)],
        l=code(
            "Dense(3) LayerNormalization() BatchNormalization() Dropout(0.2) Activation('relu') Softmax() RepeatVector(2)"
        ),
    ),
    *cases(
        "layers.TimeDistributed(layers.<l>)(x)",
        [x(5, 7, 6, 3), x(None, 7, 6, 3)],
        l=code(
            "Conv2D(2,3) Conv2D(2,3,strides=2,padding='same') MaxPooling2D(2) GlobalAveragePooling2D() Flatten() DepthwiseConv2D(3) BatchNormalization() ZeroPadding2D(1) UpSampling2D(2)"
        ),
    ),
    *cases("layers.TimeDistributed(layers.<l>(2))(x)", [x(3, 5, 4)], l=code("LSTM GRU Dense")),
    *cases(
        "layers.TimeDistributed(keras.Sequential([layers.Input((7, 6, 3)), layers.Conv2D(2, 3), layers.Flatten(), layers.Dense(3)]))(x)",
        [x(5, 7, 6, 3)],
    ),
    *cases("layers.TimeDistributed(layers.Embedding(4, 3))(x)", [x(5, 2, dtype="int32", values="index")]),
    *cases("layers.TimeDistributed(layers.Dense(3))(layers.Masking()(x))", [PADDED]),
    *cases("layers.GlobalAveragePooling1D()(<m>(x))", [PADDED], m=code("layers.Masking()")),
    *cases(
        "layers.GlobalAveragePooling1D(keepdims=<k>)(layers.Embedding(4, 3, mask_zero=True)(x))",
        [TOKENS],
        k=[True, False],
    ),
    *cases("layers.GlobalAveragePooling1D()(x, mask=y)", [(SEQ, MASK), (SEQ, x(5, dtype="bool"))]),
    *cases(
        "layers.<l>(layers.Masking()(x))",
        [PADDED],
        l=code(
            "Dense(3) Dropout(0.1) LayerNormalization() Activation('softmax') Softmax() Flatten() GlobalMaxPooling1D() Conv1D(3,2) BatchNormalization() Reshape((4,5)) Lambda(ops.abs)"
        ),
    ),
    *cases(
        "layers.<l>()([layers.Masking()(x), layers.Dense(4)(layers.Masking()(x))])",
        [PADDED],
        l=code("Add Concatenate Multiply"),
    ),
    *cases(
        "layers.LSTM(3)(layers.<l>()([layers.Masking()(x), layers.Masking()(y)]))",
        [(PADDED, PADDED)],
        l=code("Add Concatenate Average"),
    ),
    *cases(
        "layers.LSTM(3)(layers.Concatenate(axis=1)([layers.Masking()(x), layers.Masking()(y)]))", [(PADDED, PADDED)]
    ),
    *cases("layers.GRU(3)(layers.LSTM(2, return_sequences=True)(layers.Masking()(x)))", [PADDED]),
    *cases("layers.BatchNormalization()(layers.Masking()(x))", [PADDED]),
)
