"""Products, einsum, linear algebra, Fourier transforms."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

PRODUCTS = [
    (x(4, 3), x(3, 5)),
    (x(2, 4, 3), x(2, 3, 5)),
    (x(2, 4, 3), x(1, 3, 5)),
    (x(4, 3, dtype="float16"), x(3, 5, dtype="float16")),
    (x(4, 3, dtype="int32"), x(3, 5, dtype="int32")),
    (x(4, 3, dtype="int32"), x(3, 5)),
    (x(4, 3, batch=1), x(3, 5, batch=2)),
    (x(None, 3), x(3, 5)),
    (x(4, 3, dtype="int8"), x(3, 5, dtype="int8")),
    (x(1, 3), x(3, 1)),
]
SQUARE = x(3, 3, values="definite")

CASES = (
    *cases("ops.matmul(x, y)", PRODUCTS),
    *cases("ops.matmul(x, np.arange(15).reshape(3, 5).astype('float32'))", [x(3), x(4, 3), x(2, 4, 3), x(None, 3)]),
    *cases("ops.matmul(x, np.arange(3).astype('float32'))", [x(3), x(4, 3), x(2, 4, 3)]),
    *cases("ops.matmul(np.arange(8).reshape(2, 4).astype('float32'), x)", [x(4, 3), x(2, 4, 3)]),
    *cases(
        "ops.matmul(x, y)",
        [
            (x(4, 3), x(2, 3, 4, batch=1)),
            (x(batch=3), x(batch=3)),
            (x(3, batch=2), x(batch=3)),
            (x(batch=3), x(4, 5, 3, batch=2)),
        ],
    ),
    *cases("x @ ops.swapaxes(x, -1, -2)", [x(4, 3), x(2, 4, 3)]),
    *cases(
        "ops.dot(x, y)",
        [
            (x(3, batch=2), x(4, batch=3)),
            (x(batch=3), x(batch=3)),
            (x(2, 3, batch=2), x(4, batch=3)),
            (x(3, batch=2), x(3, 4, batch=2)),
            (x(2, 3, batch=2), x(3, 4, batch=5)),
            (x(3, batch=2, dtype="int32"), x(4, batch=3, dtype="int32")),
        ],
    ),
    *cases("ops.dot(x, <y>)", [x(3), x(4, 3)], y=[2.0]),
    *cases("ops.dot(x, np.arange(15).reshape(3, 5).astype('float32'))", [x(3), x(4, 3), x(2, 4, 3)]),
    *cases("ops.inner(x, y)", [(x(3, batch=2), x(3, batch=4)), (x(batch=3), x(batch=3))]),
    *cases("ops.outer(x, y)", [(x(batch=3), x(batch=4)), (x(2, batch=3), x(batch=4))]),
    *cases("ops.vdot(x, y)", [(x(batch=3), x(batch=3))]),
    *cases("ops.kron(x, y)", [(x(3, batch=2), x(2, batch=3)), (x(batch=2), x(batch=3))]),
    *cases("ops.cross(x, y)", [(x(3), x(3)), (x(4, 3), x(4, 3)), (x(2), x(2))]),
    *cases("ops.cross(x, y, axis=1)", [(x(3, 4), x(3, 4))]),
    *cases(
        "ops.tensordot(x, y, axes=<axes>)",
        [(x(3, 4, batch=2), x(3, 4, batch=4))],
        axes=[1, ((2,), (0,)), ((1, 2), (1, 0)), ((1,), (1,)), 0],
    ),
    *cases(
        "ops.tensordot(x, np.arange(12).reshape(3, 4).astype('float32'), axes=<axes>)",
        [x(5, 3)],
        axes=[1, ((2,), (0,)), ((-1,), (0,))],
    ),
    *cases(
        "ops.einsum(<eq>, x, y)",
        [(x(4, 3), x(3, 5))],
        eq=[
            "bij,bjk->bik",
            "bij,bjk->bki",
            "bij,bjk->bijk",
            "bij,bjk->b",
            "bij,bjk->ik",
            "...ij,...jk->...ik",
            "bij,cjk->bcik",
        ],
    ),
    *cases(
        "ops.einsum(<eq>, x, y)",
        [(x(4, 3), x(4, 3))],
        eq=["bij,bij->bij", "bij,bij->b", "bij,bkj->bik", "bij,bij->bi", "bij,bij", "bij,bij->", "bia,bjc->bijac"],
    ),
    *cases(
        "ops.einsum(<eq>, x, y)",
        [(x(4, 2, 3), x(5, 2, 3))],
        eq=["bqhd,bkhd->bhqk", "bqhd,bkhd->bqkh", "bqhd,bkhd->bhkq"],
    ),
    *cases(
        "ops.einsum(<eq>, x)",
        [x(4, 3), x(3, 3)],
        eq=["bij->bji", "bij->b", "bij->bi", "bij->ij", "...ij->...ji", "bij->", "ijk->kji"],
    ),
    *cases("ops.einsum(<eq>, x)", [x(3, 3)], eq=["bii->bi", "bii->b"]),
    *cases(
        "ops.einsum(<eq>, x, np.arange(15).reshape(3, 5).astype('float32'))",
        [x(4, 3)],
        eq=["bij,jk->bik", "abc,cd->abd", "...x,xy->...y", "bij,jk->kbi"],
    ),
    *cases("ops.einsum('bij,bjk,bkl->bil', x, y, z)", [(x(2, 3), x(3, 4), x(4, 2))]),
    *cases("ops.cdist(x, y)", [(x(4, 3), x(5, 3))]),
    *cases(
        "ops.linalg.<op>(x)",
        [SQUARE, x(2, 3, 3, values="definite")],
        op=code("cholesky inv det slogdet eigh eig qr svd lu_factor pinv cholesky_inverse matrix_rank logdet"),
    ),
    *cases("ops.logdet(x)", [SQUARE]),
    *cases("ops.linalg.<op>(x, y)", [(SQUARE, x(3, 2))], op=code("solve solve_triangular lstsq")),
    *cases("ops.linalg.solve_triangular(x, y, lower=True)", [(SQUARE, x(3, 2))]),
    *cases("ops.view_as_real(ops.view_as_complex(x))", [x(4, 2)]),
    *cases("ops.fft((x, y))", [(x(8), x(8)), (x(5), x(5))]),
    *cases("ops.<op>((x, y))", [(x(4, 8), x(4, 8))], op=code("fft2 ifft2")),
    *cases("ops.rfft(x, fft_length=<n>)", [x(8), x(2, 7)], n=[None, 8, 6, 12]),
    *cases("ops.irfft((x, y), fft_length=<n>)", [(x(5), x(5))], n=[None, 8, 6]),
    *cases(
        "ops.stft(x, sequence_length=<length>, sequence_stride=<stride>, fft_length=<n>, window=<window>, center=<center>)",
        [x(24), x(2, 25)],
        length=[8, 5],
        stride=[3, 8],
        n=[8, 10],
        window=["hann", "hamming", None],
        center=[True, False],
        pairs=True,
    ),
    *cases("ops.istft((x, y), 8, 4, 8, length=<length>)", [(x(6, 5), x(6, 5))], length=[None, 20]),
)
