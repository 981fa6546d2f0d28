"""Operations over axes: reductions, arg reductions, cumulative ones, sorting, statistics."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

AXES = [None, 0, 1, -1, (1, 2), (-1, 1), (0, 2)]
FLOATS = [x(4, 3), x(2, 1, 5), x(4, 3, dtype="float16")]
OTHERS = [x(4, 3, dtype="int32"), x(4, 3, dtype="uint8"), x(4, 3, dtype="bool")]
SPECIAL = [x(4, 3, values="infinite"), x(None, 3)]

CASES = (
    *cases(
        "ops.<op>(x, axis=<axis>, keepdims=<keepdims>)",
        [*FLOATS[:2], OTHERS[0]],
        op=code("sum mean max min prod var std any all logsumexp amax amin"),
        axis=AXES,
        keepdims=[False, True],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [*FLOATS[2:], *OTHERS[1:], *SPECIAL],
        op=code("sum mean max min prod var std any all logsumexp count_nonzero ptp"),
        axis=[None, 1, -1],
    ),
    *cases("ops.count_nonzero(x, axis=<axis>)", FLOATS, axis=AXES),
    *cases("ops.ptp(x, axis=<axis>, keepdims=<keepdims>)", FLOATS[:2], axis=AXES, keepdims=[False, True]),
    *cases(
        "ops.<op>(x, axis=<axis>, keepdims=<keepdims>)",
        [
            x(4, 3),
            x(2, 1, 5, values="ties"),
            x(4, 3, dtype="int32"),
            x(4, 3, dtype="bool"),
            x(4, 3, dtype="uint8"),
            x(3, dtype="float16", values="ties"),
        ],
        op=code("argmax argmin"),
        axis=[None, 0, 1, -1, 2],
        keepdims=[False, True],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [x(4, 3, values="infinite"), x(4, 3, values="zeros")],
        op=code("argmax argmin"),
        axis=[None, 1, -1],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [x(4, 3, values="missing"), x(2, 5)],
        op=code("nanmax nanmin nansum nanmean nanprod nanvar nanstd nanmedian nanargmax nanargmin"),
        axis=[None, 1, -1],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>, keepdims=True)",
        [x(4, 3, values="missing")],
        op=code("nanmax nanmin nansum nanmean nanprod nanvar nanstd nanmedian"),
        axis=[None, -1],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)", [x(4, 3, values="missing")], op=code("nancumsum nancumprod"), axis=[None, 1, -1]
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [x(4, 3), x(2, 3, 2), x(4, 3, dtype="int32"), x(4, 3, dtype="bool"), x(4, 3, dtype="float16")],
        op=code("cumsum cumprod"),
        axis=[None, 0, 1, -1],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>, dtype=<dtype>)",
        [x(4, 3), x(4, 3, dtype="int32")],
        op=code("cumsum cumprod"),
        axis=[1, -1],
        dtype=["float32", "int32"],
    ),
    *cases(
        "ops.<op>(x, axis=<axis>)",
        [x(4, 3), x(5), x(4, 3, dtype="int32"), x(4, 3, values="ties"), x(4, 3, dtype="uint8")],
        op=code("sort argsort"),
        axis=[-1, 1, 0],
    ),
    *cases("ops.<op>(x, axis=None)", [x(4, 3, batch=2)], op=code("sort argsort")),
    *cases("ops.sort(ops.top_k(x, <k>, sorted=False)[0])", [x(5), x(2, 6)], subject="ops.top_k", k=[1, 2, 5]),
    *cases(
        "ops.top_k(x, <k>)",
        [x(5), x(2, 6), x(6, dtype="int32"), x(6, values="ties")],
        k=[1, 2, 5],
    ),
    *cases(
        "ops.in_top_k(x, y, <k>)",
        [(x(dtype="int32", values="index"), x(5)), (x(dtype="int32", values="index"), x(5, values="ties"))],
        k=[1, 2, 5],
    ),
    *cases("ops.argpartition(x, <kth>, axis=<axis>)", [x(5), x(4, 3)], kth=[1, 2], axis=[-1, 1]),
    *cases(
        "ops.median(x, axis=<axis>, keepdims=<keepdims>)",
        [x(4, 3), x(2, 1, 5), x(5, dtype="int32")],
        axis=[None, 1, -1, (1, 2)],
        keepdims=[False, True],
    ),
    *cases(
        "ops.quantile(x, <q>, axis=<axis>, method=<method>, keepdims=<keepdims>)",
        [x(4, 3), x(7, 2)],
        q=[0.5, 0.3, 0.0, 1.0],
        axis=[1, -1, None],
        method=["linear", "lower", "higher", "midpoint", "nearest"],
        keepdims=[False],
        pairs=True,
    ),
    *cases("ops.quantile(x, np.array([0.1, 0.5]), axis=<axis>)", [x(4, 3)], axis=[1, -1]),
    *cases("ops.percentile(x, <q>, axis=<axis>)", [x(4, 3)], q=[50, 10], axis=[1, -1]),
    *cases("ops.<op>(x, <q>, axis=-1)", [x(7, values="missing")], op=code("nanquantile"), q=[0.5, 0.25]),
    *cases("ops.nanpercentile(x, 30, axis=-1)", [x(7, values="missing")]),
    *cases("ops.average(x, axis=<axis>)", [x(4, 3), x(4, 3, dtype="int32")], axis=[None, 1, -1, (1, 2)]),
    *cases("ops.average(x, axis=<axis>, weights=y)", [(x(4, 3), x(4, 3, values="positive"))], axis=[None, 1, -1]),
    *cases("ops.average(x, axis=-1, weights=np.array([1.0, 2.0, 3.0], 'float32'))", [x(4, 3)]),
    *cases(
        "ops.moments(x, axes=<axes>, keepdims=<keepdims>)",
        [x(4, 3), x(2, 3, 5), x(4, 3, dtype="float16")],
        axes=[[0], [1], [-1], [1, 2], [0, 1]],
        keepdims=[False, True],
    ),
    *cases(
        "ops.norm(x, ord=<ord>, axis=<axis>, keepdims=<keepdims>)",
        [x(4, 3), x(2, 3, 5)],
        ord=[None, 1, 2, 0, 3],
        axis=[1, -1],
        keepdims=[False, True],
    ),
    *cases(
        "ops.norm(x, ord=<ord>, axis=<axis>)",
        [x(4, 3)],
        ord=code("np.inf -np.inf None 'fro' 'nuc' 1 2 -1"),
        axis=[(1, 2), -1],
    ),
    *cases("ops.norm(x)", [x(4, 3), x(3)]),
    *cases(
        "ops.normalize(x, axis=<axis>, order=<order>)",
        [x(4, 3), x(2, 3, 5), x(4, 3, values="zeros")],
        axis=[-1, 1, (1, 2)],
        order=[1, 2],
    ),
    *cases("ops.diff(x, n=<n>, axis=<axis>)", [x(5, 4), x(5, dtype="int32")], n=[1, 2, 3], axis=[-1, 1]),
    *cases("ops.trapezoid(x, dx=<dx>, axis=<axis>)", [x(5, 4)], dx=[1.0, 0.5], axis=[-1, 1]),
    *cases("ops.trapezoid(x, y, axis=-1)", [(x(5, 4), x(5, 4, values="sorted"))]),
    *cases("ops.bincount(x, minlength=<minlength>)", [x(5, dtype="int32", values="index")], minlength=[0, 4, 8]),
    *cases("ops.bincount(x, weights=y, minlength=6)", [(x(5, dtype="int32", values="index"), x(5))]),
    *cases("ops.histogram(x, bins=<bins>, range=(-2.0, 2.0))", [x(9)], bins=[4, 10]),
    *cases("ops.digitize(x, np.array([-1.0, 0.0, 0.5]))", [x(4, 3), x(4, dtype="int32")]),
    *cases(
        "ops.searchsorted(np.array([-1.0, 0.0, 0.5], 'float32'), x, side=<side>)",
        [x(batch=4), x(4, 3)],
        side=["left", "right"],
    ),
    *cases("ops.corrcoef(x)", [x(5, batch=3)]),
    *cases("ops.correlate(x, y, mode=<mode>)", [(x(batch=7), x(batch=3))], mode=["valid", "same", "full"]),
    *cases("ops.isin(x, np.array([1, 2]))", [x(4, 3, dtype="int32")]),
    *cases(
        "ops.isin(x, y, invert=<invert>)",
        [(x(4, dtype="int32"), x(2, dtype="int32")), (x(4, values="ties"), x(2, values="ties"))],
        invert=[False, True],
    ),
    *cases("ops.unique(x)", [x(4, dtype="int32", values="index")]),
    *cases("ops.nonzero(x)", [x(4, values="ties")]),
    *cases(
        "ops.trace(x, offset=<offset>, axis1=<a>, axis2=<b>)",
        [x(4, 3), x(4, 3, dtype="int32")],
        offset=[0, 1, -1],
        a=[1],
        b=[2, -1],
    ),
    *cases(
        "ops.psnr(x, y, max_val=<m>)",
        [(x(4, 4, 3, values="probability"), x(4, 4, 3, values="probability"))],
        m=[1, 2.5],
    ),
)
