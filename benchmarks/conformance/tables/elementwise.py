"""Operations of one element: arithmetic, comparison, logic, bits, casts, activations."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

FLOAT = [x(4, 3), x(2, 1, 3, values="zeros"), x(4, 3, dtype="float16"), x(5, values="special")]
ANY = [*FLOAT, x(4, 3, dtype="int32"), x(4, 3, dtype="uint8"), x(4, 3, dtype="bool")]
INTEGER = [x(4, 3, dtype="int32"), x(4, 3, dtype="int8"), x(4, 3, dtype="uint8"), x(4, 3, dtype="int64")]
PAIRS = [
    (x(4, 3), x(4, 3)),
    (x(4, 3), x(1, 3)),
    (x(4, 1), x(3, batch=1)),
    (x(2, 4, 3), x(3, batch=2)),
    (x(4, 3, batch=2), x(4, 3, batch=1)),
    (x(4, 3, values="special"), x(4, 3, values="special")),
    (x(4, 3, dtype="int32", values="nonzero"), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="uint8"), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="float16"), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="bool"), x(4, 3)),
    (x(None, 3), x(None, 3)),
]
INTEGERS = [
    (x(4, 3, dtype="int32", values="nonzero"), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="int32", values="nonzero"), x(1, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="int64", values="nonzero"), x(4, 3, dtype="int32", values="nonzero")),
    (x(4, 3, dtype="uint8"), x(4, 3, dtype="uint8")),
    (x(4, 3, dtype="int8"), x(4, 3, dtype="uint8")),
]

UNARY = code(
    "abs absolute fabs negative sign square sqrt rsqrt exp exp2 expm1 log log2 log10 log1p reciprocal sin cos tan sinh "
    "cosh tanh arcsin arccos arctan arcsinh arccosh arctanh ceil floor round trunc isnan isinf isfinite isneginf "
    "isposinf logical_not sigmoid relu relu6 elu selu silu gelu softplus softsign erf erfc erfinv cbrt deg2rad rad2deg "
    "sinc signbit i0 nan_to_num real imag conj conjugate angle isreal copy stop_gradient"
)
ACTIVATIONS = code(
    "celu leaky_relu hard_sigmoid hard_silu hard_swish hard_tanh hard_shrink soft_shrink tanh_shrink log_sigmoid "
    "squareplus sparse_plus sparse_sigmoid swish"
)
BINARY = code(
    "add subtract multiply divide true_divide divide_no_nan maximum minimum fmax fmin equal not_equal greater "
    "greater_equal less less_equal logical_and logical_or logical_xor arctan2 hypot logaddexp logaddexp2 "
    "nextafter heaviside isclose"
)
DIVISION = code("mod fmod floor_divide power")
BITS = code("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm")

CASES = (
    *cases("ops.<op>(x)", ANY, op=UNARY),
    *cases("ops.<op>(x)", [x(4, 3, values="wide"), *FLOAT[1:]], op=ACTIVATIONS),
    *cases("ops.<op>(x)", [x(4, 3, values="unit")], op=code("arcsin arccos arctanh erfinv arctan")),
    *cases("ops.<op>(x)", [x(4, 3, values="above one")], op=code("arccosh log log2 log10 sqrt rsqrt i0 exp2")),
    *cases("ops.<op>(x)", [x(9, values="halves")], op=code("round ceil floor trunc sign")),
    *cases("ops.<op>(x)", [x(4, 3, values="wide")], op=code("sigmoid tanh softplus gelu silu erf erfc exp softsign")),
    *cases("ops.round(x, decimals=<decimals>)", [x(4, 3), x(4, 3, values="halves")], decimals=[0, 1, 2, -1]),
    *cases("ops.round(x, decimals=<decimals>)", [x(4, 3, dtype="int32", values="byte")], decimals=[0, 1, -1]),
    *cases("ops.<op>(x, y)", PAIRS, op=BINARY),
    *cases("ops.<op>(x, y)", [*PAIRS[:5], *PAIRS[6:9], *INTEGERS[:1]], op=DIVISION[:3]),
    *cases("ops.power(x, y)", [(x(4, 3, values="positive"), x(4, 3)), (x(4, 3), x(4, 3, dtype="int32"))]),
    *cases("ops.power(x, <y>)", [x(4, 3), x(4, 3, values="positive")], y=[2, 3, 0.5, -1, -2, 1.5, 0]),
    *cases("ops.power(x, <y>)", [x(4, 3, dtype="int32")], y=[2, 3, 0]),
    *cases("ops.<op>(x, y)", INTEGERS[:3], op=[*BITS[:3], *BITS[7:]]),
    *cases("ops.<op>(x, y)", INTEGERS[3:], op=BITS[:3]),
    *cases("ops.<op>(x, y)", [(x(4, 3, dtype="bool"), x(4, 3, dtype="bool"))], op=BITS[:3]),
    *cases("ops.<op>(x, <by>)", INTEGER, op=BITS[3:7], by=[0, 1, 3]),
    *cases("ops.<op>(x)", [*INTEGER, x(4, 3, dtype="bool")], op=code("bitwise_not bitwise_invert")),
    *cases("ops.ldexp(x, y)", [(x(4, 3), x(4, 3, dtype="int32")), (x(4, 3), x(4, 3, dtype="int32"))]),
    *cases(
        "ops.clip(x, <low>, <high>)",
        [x(4, 3), x(4, 3, dtype="int32"), x(4, 3, dtype="float16"), x(5, values="special")],
        low=[-1, 0, -0.5],
        high=[1, 2.5],
    ),
    *cases("ops.clip(x, y, z)", [(x(4, 3), x(1, 3), x(1, 3, values="above one"))]),
    *cases(
        "ops.<op>(x, <y>)",
        [x(4, 3), x(4, 3, dtype="int32"), x(4, 3, dtype="uint8"), x(4, 3, dtype="float16"), x(4, 3, dtype="bool")],
        op=code("add subtract multiply divide maximum minimum equal greater mod floor_divide"),
        y=[2, 0.5, -3],
    ),
    *cases(
        "ops.<op>(<y>, x)",
        [x(4, 3), x(4, 3, dtype="int32", values="nonzero")],
        op=code("subtract divide power mod floor_divide"),
        y=[2, 2.5],
    ),
    *cases(
        "ops.copy(x) <op> y",
        [*PAIRS[:2], PAIRS[6]],
        subject="operators of tensors",
        op=code("+ - * / // % < <= > >= == !="),
    ),
    *cases(
        "ops.cast(x, <dtype>)",
        [
            x(4, 3, values="positive"),
            x(4, 3, dtype="int32"),
            x(4, 3, dtype="uint8"),
            x(4, 3, dtype="bool"),
            x(4, 3, dtype="float16", values="positive"),
        ],
        dtype=["float32", "float16", "int32", "int64", "uint8", "bool"],
    ),
    *cases(
        "ops.cast(x, <dtype>)",
        [x(4, 3, values="wide"), x(4, 3, values="halves"), x(4, 3, values="zeros")],
        dtype=["int32", "int64", "float16", "bool"],
    ),
    *cases(
        "ops.saturate_cast(x, <dtype>)",
        [x(4, 3, values="wide"), x(4, 3, dtype="int32", values="large"), x(4, 3, dtype="uint8")],
        dtype=["uint8", "int8", "int32", "float16"],
    ),
    *cases(
        "ops.where(x, y, z)",
        [
            (x(4, 3, dtype="bool"), x(4, 3), x(4, 3)),
            (x(4, 1, dtype="bool"), x(1, 3), x(4, 3)),
            (x(4, 3, dtype="bool"), x(4, 3, dtype="int32"), x(4, 3)),
            (x(4, 3), x(4, 3), x(4, 3)),
            (x(4, 3, dtype="int32", values="ties"), x(4, 3), x(4, 3)),
        ],
    ),
    *cases("ops.where(x > 0, x, <other>)", [x(4, 3), x(4, 3, dtype="int32")], other=[0, 0.5, -1]),
    *cases(
        "ops.nan_to_num(x, nan=<nan>, posinf=<posinf>, neginf=<neginf>)",
        [x(9, values="special")],
        nan=[0.0, 2.0],
        posinf=[None, 9.0],
        neginf=[None, -9.0],
    ),
    *cases("ops.gelu(x, approximate=<approximate>)", [x(4, 3), x(4, 3, values="wide")], approximate=[True, False]),
    *cases("ops.leaky_relu(x, negative_slope=<slope>)", [x(4, 3), x(2, 3, 3, dtype="float16")], slope=[0.0, 0.1, 1.5]),
    *cases("ops.elu(x, alpha=<alpha>)", [x(4, 3), x(4, 3, values="wide")], alpha=[0.5, 1.0, 2.0]),
    *cases("ops.celu(x, alpha=<alpha>)", [x(4, 3), x(4, 3, values="wide")], alpha=[0.5, 1.0, 2.0]),
    *cases(
        "ops.<op>(x, threshold=<threshold>)", [x(4, 3)], op=code("hard_shrink soft_shrink"), threshold=[0.0, 0.3, 1]
    ),
    *cases(
        "ops.threshold(x, <threshold>, <value>)", [x(4, 3), x(4, 3, values="ties")], threshold=[0, 0.5], value=[0, -2.5]
    ),
    *cases("ops.squareplus(x, b=<b>)", [x(4, 3)], b=[0, 1, 4]),
    *cases("ops.glu(x, axis=<axis>)", [x(4, 6), x(4, 2, 6)], axis=[-1, 1, 2]),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [x(4, 3), x(2, 3, 5, values="wide"), x(4, 3, dtype="float16"), x(1, 4)],
        op=code("softmax log_softmax sparsemax"),
        axis=[-1, 1, (1, 2), None, 0],
    ),
    *cases(
        "ops.isclose(x, y, rtol=<rtol>, atol=<atol>, equal_nan=<nan>)",
        [PAIRS[0], PAIRS[5]],
        rtol=[1e-5, 0.5],
        atol=[1e-8, 0.3],
        nan=[False, True],
    ),
    *cases("ops.allclose(x, y)", [PAIRS[0]]),
    *cases("ops.polar(x, y)", [PAIRS[0]]),
    *cases("ops.view(x, <dtype>)", [x(4, 3)], dtype=["int32", "uint8"]),
    *cases(
        "keras.activations.<name>(x)",
        [x(4, 4, values="wide"), x(2, 2, 2)],
        name=code(
            "celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu linear "
            "log_sigmoid log_softmax mish relu relu6 selu sigmoid silu softmax softplus softsign soft_shrink "
            "sparse_plus sparse_sigmoid sparsemax squareplus tanh tanh_shrink"
        ),
    ),
)
