"""Operations that move, join, cut, pad or make arrays, and those with indices."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

SIX = [x(6, 4), x(6, 4, dtype="int32"), x(2, 6, 4), x(6, 4, dtype="bool")]
IMAGE = x(4, 5, 3)
INDEX = x(4, dtype="int32", values="index")

CASES = (
    *cases(
        "ops.reshape(x, <shape>)",
        [x(6, 4), x(6, 4, dtype="int32")],
        shape=[(-1, 24), (-1, 4, 6), (-1, 2, 3, 4), (-1, 1, 24, 1), (-1,), (-1, 3, 8)],
    ),
    *cases("ops.reshape(x, (ops.shape(x)[0], <rest>))", [x(6, 4)], rest=code("-1 24 8,3 1,24")),
    *cases("ops.reshape(x, (-1, ops.shape(x)[1] * 4))", [x(6, 4), x(None, 4)]),
    *cases(
        "ops.transpose(x, <axes>)",
        [IMAGE, x(4, 5, 3, dtype="int32"), x(1, 5, 1)],
        axes=[None, (0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 1, 3), (3, 0, 2, 1), (0, -1, 1, 2)],
    ),
    *cases("ops.swapaxes(x, <a>, <b>)", [IMAGE], a=[0, 1, -1], b=[2, -1, 1]),
    *cases("ops.moveaxis(x, <a>, <b>)", [IMAGE], a=[1, -1, 0], b=[2, -1, 0]),
    *cases("ops.moveaxis(x, (1, 2), (2, -1))", [IMAGE]),
    *cases("ops.expand_dims(x, <axis>)", [x(4, 3), x(4, 3, dtype="bool")], axis=[0, 1, -1, 2, (1, -1), (0, 2)]),
    *cases("ops.squeeze(x, axis=<axis>)", [x(1, 4, 1), x(1, 4, 1, dtype="int32")], axis=[1, -1, 3, (1, 3)]),
    *cases("ops.squeeze(x)", [x(1, 4, batch=2)]),
    *cases("ops.ravel(x)", [x(4, 3), x(dtype="int32"), x(4, 3, batch=2)]),
    *cases("ops.flip(x, axis=<axis>)", SIX, axis=[None, 0, 1, -1, (1, 2)]),
    *cases("ops.<op>(x)", SIX[:2], op=code("fliplr flipud")),
    *cases("ops.roll(x, <shift>, axis=<axis>)", SIX[:2], shift=[1, -2, 7], axis=[None, 1, -1, 0]),
    *cases("ops.roll(x, (1, 2), axis=(1, 2))", SIX[:2]),
    *cases(
        "ops.rot90(x, k=<k>, axes=<axes>)",
        [IMAGE, x(4, 4, dtype="int32")],
        k=[1, 2, 3, 0, -1, 5],
        axes=[(1, 2), (0, 1)],
    ),
    *cases("ops.tile(x, <repeats>)", SIX, repeats=[2, (1, 2), (2, 1, 3), (1, 1, 1, 2)]),
    *cases("ops.repeat(x, <n>, axis=<axis>)", SIX, n=[1, 2, 3], axis=[None, 0, 1, -1]),
    *cases("ops.repeat(x, np.array([1, 0, 2, 3]), axis=2)", SIX[:2]),
    *cases(
        "ops.broadcast_to(x, <shape>)",
        [x(1, 3, batch=2), x(1, 3, dtype="int32", batch=2)],
        shape=[(2, 4, 3), (5, 2, 1, 3), (2, 1, 3)],
    ),
    *cases("ops.broadcast_to(x, (ops.shape(x)[0], 4, 3))", [x(1, 3), x(4, 1)]),
    *cases(
        "ops.concatenate([x, y], axis=<axis>)",
        [(x(4, 3), x(4, 3)), (x(4, 3, dtype="int32"), x(4, 3)), (x(4, 3, dtype="bool"), x(4, 3, dtype="int32"))],
        axis=[0, 1, -1],
    ),
    *cases("ops.concatenate([x, y, x], axis=<axis>)", [(x(4, 3, 2), x(4, 1, 2))], axis=[2, -2]),
    *cases("ops.append(x, y, axis=<axis>)", [(x(4, 3), x(4, 3))], axis=[0, 1, -1, None]),
    *cases(
        "ops.stack([x, y], axis=<axis>)", [(x(4, 3), x(4, 3)), (x(4, 3, dtype="int32"), x(4, 3))], axis=[0, 1, -1, 2]
    ),
    *cases(
        "ops.<op>([x, y])",
        [(x(4, 3), x(4, 3)), (x(4, 3, 2), x(4, 3, 2)), (x(4), x(4))],
        op=code("hstack vstack dstack"),
    ),
    *cases("ops.split(x, <n>, axis=<axis>)", SIX[:3], n=[1, 2, [1], [1, 3], [2, 4]], axis=[1, -1]),
    *cases("ops.array_split(x, <n>, axis=<axis>)", SIX[:2], n=[2, 3, 4, 5], axis=[1, -1]),
    *cases("ops.<op>(x, 2)", [x(4, 2, 6)], op=code("hsplit dsplit")),
    *cases("ops.vsplit(x, 2)", [x(4, 3, batch=4)]),
    *cases("ops.unstack(x, axis=<axis>)", [x(4, 3), x(2, 3, 2, dtype="int32")], axis=[1, -1, 2]),
    *cases(
        "ops.pad(x, <pad>, mode=<mode>)",
        SIX[:2],
        pad=[((1, 1), (1, 1), (1, 1)), ((0, 0), (1, 2), (0, 3)), ((0, 0), (3, 0), (0, 0))],
        mode=["constant", "reflect", "symmetric"],
    ),
    *cases("ops.pad(x, ((0, 0), (1, 2), (0, 3)), constant_values=<value>)", [*SIX[:2], SIX[3]], value=[0, 1, -2.5]),
    *cases(
        "ops.pad(x, ((0, 0), (1, 2), (2, 1), (0, 0)), mode=<mode>)", [IMAGE], mode=["reflect", "symmetric", "constant"]
    ),
    *cases(
        "ops.<op>(x, k=<k>)", [x(4, 3), x(4, 4, dtype="int32"), x(2, 3, 4)], op=code("tril triu"), k=[0, 1, -1, 2, -3]
    ),
    *cases("ops.diagonal(x, offset=<k>, axis1=<a>, axis2=<b>)", [x(4, 3), x(4, 3, 2)], k=[0, 1, -1], a=[1], b=[2, -1]),
    *cases("ops.diag(x, k=<k>)", [x(batch=4), x(3, batch=3)], k=[0, 1, -1]),
    *cases("ops.diagflat(x, k=<k>)", [x(2, batch=2)], k=[0, 1]),
    *cases("ops.vander(x, N=<n>, increasing=<up>)", [x(batch=4)], n=[None, 3], up=[False, True]),
    *cases("ops.meshgrid(x, y, indexing=<indexing>)", [(x(batch=4), x(batch=3))], indexing=["xy", "ij"]),
    *cases("ops.<op>(x)", [x(4, 3), x(4, 3, dtype="int32"), x(4, 3, dtype="bool")], op=code("zeros_like ones_like")),
    *cases("ops.<op>(x, dtype=<dtype>)", [x(4, 3)], op=code("zeros_like ones_like"), dtype=["int32", "float16"]),
    *cases("ops.full_like(x, <value>)", [x(4, 3), x(4, 3, dtype="int32")], value=[0, 2, 1.5]),
    *cases("ops.empty_like(x) * 0", [x(4, 3)]),
    *cases(
        "x + ops.<make>",
        [x(4, 4)],
        make=code(
            "arange(4,dtype='float32') arange(1,9,2,dtype='float32') eye(4) eye(4,k=1) identity(4) zeros((4,)) ones((4,4)) "
            "full((4,),2.5) linspace(0,1,4) linspace(0,1,4,endpoint=False) logspace(0,1,4) geomspace(1,8,4) tri(4) "
            "tri(4,4,-1) bartlett(4) blackman(4) hamming(4) hanning(4) kaiser(4,2.0) array([1.0,2.0,3.0,4.0]) "
            "convert_to_tensor([1.0,2.0,3.0,4.0])"
        ),
    ),
    *cases("x * ops.cast(ops.<what>, 'float32')", [x(4, 3)], what=code("shape(x)[0] shape(x)[1] size(x) ndim(x)")),
    *cases(
        "ops.take(x, y, axis=<axis>)",
        [
            (x(4, 5), INDEX),
            (x(4, 5, dtype="int32"), INDEX),
            (x(4, 5), x(2, 3, dtype="int32", values="index")),
            (x(4, 5), x(4, dtype="int32", values="negative index")),
        ],
        axis=[1, -1, None],
    ),
    *cases(
        "ops.take(x, <index>, axis=<axis>)",
        [x(4, 5), x(4, 5, dtype="int32")],
        index=[0, -1, [0, 2], [[1, -1], [0, 3]]],
        axis=[1, -1],
    ),
    *cases(
        "ops.take_along_axis(x, y, axis=<axis>)",
        [(x(4, 5), x(4, 5, dtype="int32", values="index")), (x(4, 5), x(4, 5, dtype="int32", values="negative index"))],
        axis=[1, -1],
    ),
    *cases(
        "ops.take_along_axis(x, y, axis=2)",
        [(x(4, 5), x(4, 2, dtype="int32", values="index")), (x(4, 5), x(1, 2, dtype="int32", values="index"))],
    ),
    *cases(
        "ops.get_item(x, <key>)",
        [x(6, 4)],
        key=code(
            "(slice(None),0) (slice(None),-1) (slice(None),slice(1,4)) (slice(None),slice(None,None,2)) "
            "(slice(None),slice(None,None,-1)) (Ellipsis,0) (slice(None),None,slice(1,None)) slice(0,1)"
        ),
    ),
    *cases(
        "ops.copy(x)[<key>]",
        subject="ops.get_item",
        inputs=[x(6, 4), x(6, 4, dtype="int32"), x(6, 4, 3)],
        key=code(
            ":,0 :,-1 :,1:4 :,::2 :,::-1 :,4:1:-1 :,-3: ...,0 ...,1:3 ...,-1: :,None 0 -1 :,None,1:,0 0:1 :,2:100 :,1:1 :,[0,2] "
            "...,None :,:,[1,0,-1] :,np.array([1,0])"
        ),
    ),
    *cases(
        "ops.copy(x)[:, <key>]",
        subject="ops.get_item",
        inputs=[x(6, 4, 3)],
        key=code("1:3,::-2 -2,1: ::3,[2,0] 5:0:-2,None"),
    ),
    *cases(
        "ops.slice(x, <start>, <shape>)",
        [x(6, 4, batch=3), x(6, 4, dtype="int32", batch=3)],
        start=[(0, 0, 0), (1, 2, 1)],
        shape=[(2, 3, 2), (1, 1, 3)],
    ),
    *cases("ops.slice_update(x, <start>, y)", [(x(6, 4, batch=3), x(2, 2, batch=2))], start=[(0, 0, 0), (1, 3, 2)]),
    *cases("ops.scatter(y, x, (9,))", [(x(batch=4), x(1, dtype="int32", values="index", batch=4))]),
    *cases("ops.scatter_update(x, [[0, 1], [2, 0]], np.array([5.0, 6.0], 'float32'))", [x(4, batch=3)]),
    *cases(
        "ops.one_hot(x, <n>, axis=<axis>, dtype=<dtype>)",
        [
            INDEX,
            x(3, 2, dtype="int32", values="index"),
            x(dtype="int32", values="index"),
            x(4, dtype="int32", values="small"),
        ],
        n=[4, 6, 2],
        axis=[-1, 1],
        dtype=["float32", "int32"],
    ),
    *cases(
        "ops.multi_hot(x, num_classes=<n>, axis=<axis>)",
        [x(3, dtype="int32", values="index"), x(2, 3, dtype="int32", values="index")],
        n=[4, 6],
        axis=[-1, 1],
    ),
    *cases(
        "ops.<op>(x, y, num_segments=4)",
        [(x(3, batch=6), x(dtype="int32", values="index", batch=6))],
        op=code("segment_sum segment_max segment_min segment_prod"),
    ),
    *cases(
        "ops.segment_sum(x, y, num_segments=4, sorted=False)", [(x(batch=6), x(dtype="int32", values="index", batch=6))]
    ),
    *cases("ops.extract_sequences(x, <length>, <stride>)", [x(9), x(2, 8)], length=[3, 4], stride=[1, 2]),
    *cases("ops.unravel_index(x, (3, 4))", [INDEX]),
    *cases(
        "ops.rearrange(x, <pattern>)",
        [IMAGE],
        pattern=["b h w c -> b c h w", "b h w c -> b (h w) c", "b h w c -> b (h w c)"],
    ),
    *cases("ops.rearrange(x, 'b (h p) (w q) c -> b h w (p q c)', p=2, q=2)", [x(4, 6, 3)]),
    *cases("ops.select([x > 0, x < -1], [x, x * 2], <default>)", [x(4, 3)], default=[0, 1.5]),
)
