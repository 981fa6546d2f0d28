"""Operations of neural networks: convolution, pooling, normalization, attention, losses, images, control flow."""

from __future__ import annotations

from benchmarks.conformance.cases import cases, code, x

LINE, IMAGE, VOLUME = x(9, 4), x(7, 8, 4), x(5, 6, 4, 4)
KERNEL = "np.random.default_rng(1).standard_normal(<shape>).astype('float32')"
KERNEL1 = "np.random.default_rng(1).standard_normal((<k>, <i>, 6)).astype('float32')"
KERNEL2 = "np.random.default_rng(1).standard_normal((<k>, 3, <i>, 6)).astype('float32')"
PROBABILITIES = "ops.softmax(x)"
INTERPOLATIONS = ["bilinear", "nearest", "lanczos3", "lanczos5", "bicubic", "area"]

CASES = (
    *cases(
        f"ops.conv(x, {KERNEL1}, strides=<s>, padding=<p>, dilation_rate=<d>)",
        [LINE, x(8, 4), x(None, 4), x(1, 4)],
        k=[1, 2, 3, 4],
        i=[4],
        s=[1, 2, 3],
        p=["valid", "same"],
        d=[1, 2],
        pairs=True,
    ),
    *cases(
        f"ops.conv(x, {KERNEL2}, strides=<s>, padding=<p>, dilation_rate=<d>)",
        [IMAGE, x(None, None, 4)],
        k=[1, 2, 3],
        i=[4, 2, 1],
        s=[1, 2, (1, 3)],
        p=["valid", "same"],
        d=[1, (2, 1)],
        pairs=True,
    ),
    *cases(
        f"ops.conv(x, {KERNEL2}, padding=<p>, data_format='channels_first')",
        [x(4, 7, 8)],
        k=[2, 3],
        i=[4, 2],
        p=["valid", "same"],
    ),
    *cases("ops.conv(x, y)", [(x(7, 8, 4, batch=2), x(3, 4, 5, batch=2))]),
    *cases(
        f"ops.depthwise_conv(x, {KERNEL.replace('<shape>', '(<k>, 3, 4, <m>)')}, strides=<s>, padding=<p>, dilation_rate=<d>)",
        [IMAGE],
        k=[1, 2, 3],
        m=[1, 2],
        s=[1, 2],
        p=["valid", "same"],
        d=[1, 2],
        pairs=True,
    ),
    *cases(
        f"ops.depthwise_conv(x, {KERNEL.replace('<shape>', '(<k>, 4, 2)')}, strides=<s>, padding=<p>)",
        [LINE],
        k=[2, 3],
        s=[1, 2],
        p=["valid", "same"],
    ),
    *cases(
        f"ops.separable_conv(x, {KERNEL.replace('<shape>', '(<k>, 3, 4, 2)')}, {KERNEL.replace('<shape>', '(1, 1, 8, 5)')}, strides=<s>, padding=<p>)",
        [IMAGE],
        k=[2, 3],
        s=[1, 2],
        p=["valid", "same"],
    ),
    *cases(
        f"ops.conv_transpose(x, {KERNEL.replace('<shape>', '(<k>, 3, 5, 4)')}, strides=<s>, padding=<p>, output_padding=<o>, dilation_rate=<d>)",
        [IMAGE, x(3, 1, 4)],
        k=[1, 2, 3, 4],
        s=[1, 2, 3],
        p=["valid", "same"],
        o=[None, 1],
        d=[1, 2],
        pairs=True,
    ),
    *cases(
        "ops.<op>(x, <k>, strides=<s>, padding=<p>)",
        [LINE, x(8, 4), x(None, 4)],
        op=code("max_pool average_pool"),
        k=[1, 2, 3],
        s=[None, 1, 2, 3],
        p=["valid", "same"],
        pairs=True,
    ),
    *cases(
        "ops.<op>(x, <k>, strides=<s>, padding=<p>)",
        [IMAGE, x(None, None, 4), x(7, 8, 4, values="infinite"), x(7, 8, 4, dtype="float16")],
        op=code("max_pool average_pool"),
        k=[2, (3, 2), 1],
        s=[None, 1, (2, 3)],
        p=["valid", "same"],
        pairs=True,
    ),
    *cases(
        "ops.<op>(x, <k>, strides=<s>, padding=<p>, data_format='channels_first')",
        [x(4, 7, 8)],
        op=code("max_pool average_pool"),
        k=[2, (3, 2)],
        s=[None, 1],
        p=["valid", "same"],
    ),
    *cases("ops.max_pool(x, 2)", [x(6, 6, 3, dtype="int32"), x(6, 6, 3, dtype="uint8")]),
    *cases(
        "ops.adaptive_average_pool(x, <size>, data_format=<format>)",
        [x(7, 8, 4), x(6, 6, 6)],
        size=[1, 2, 3, (3, 4), (6, 6)],
        format=["channels_last", "channels_first"],
    ),
    *cases(
        "ops.adaptive_max_pool(x, <size>, data_format=<format>)",
        [x(7, 8, 4), x(6, 6, 6)],
        size=[2, 3, (3, 4), (6, 6)],
        format=["channels_last", "channels_first"],
    ),
    *cases(
        "ops.<op>(x, <size>)", [x(9, 4), x(4, 4)], op=code("adaptive_average_pool adaptive_max_pool"), size=[2, 3, 4]
    ),
    *cases(
        "ops.batch_normalization(x, np.array([0.1, 0.2, 0.3], 'float32'), np.array([1.0, 2.0, 0.5], 'float32'), axis=<axis>, epsilon=<e>, offset=<o>, scale=<s>)",
        [x(4, 3), x(3, 3)],
        axis=[-1, 2, 1],
        e=[1e-3, 0.1],
        o=code("None np.array([1,2,3],'float32')"),
        s=code("None np.array([1,2,3],'float32')"),
        pairs=True,
    ),
    *cases(
        "ops.layer_normalization(x, epsilon=<e>, axis=<axis>)",
        [x(4, 3), x(2, 3, 5)],
        e=[1e-3, 0.1],
        axis=[-1, 1, [1, 2]],
    ),
    *cases(
        "ops.layer_normalization(x, gamma=np.array([1, 2, 3], 'float32'), beta=np.array([1, 0, 3], 'float32'))",
        [x(4, 3), x(3)],
    ),
    *cases(
        "ops.rms_normalization(x, scale=<s>, axis=<axis>, epsilon=<e>)",
        [x(4, 3), x(4, 3, dtype="float16")],
        s=code("1 np.array([1,2,3],'float32')"),
        axis=[-1, 1],
        e=[1e-6, 0.1],
    ),
    *cases(
        "ops.dot_product_attention(x, y, z, is_causal=<causal>, scale=<scale>)",
        [
            (x(5, 2, 4), x(5, 2, 4), x(5, 2, 4)),
            (x(5, 2, 4), x(6, 2, 4), x(6, 2, 4)),
            (x(5, 4, 4), x(6, 2, 4), x(6, 2, 4)),
        ],
        causal=[False, True],
        scale=[None, 0.3],
    ),
    *cases(
        "ops.dot_product_attention(x, y, z, mask=w)",
        [
            (x(5, 2, 4), x(6, 2, 4), x(6, 2, 4), x(2, 5, 6, dtype="bool")),
            (x(5, 2, 4), x(6, 2, 4), x(6, 2, 4), x(1, 1, 6, dtype="bool", values="prefix")),
        ],
    ),
    *cases("ops.dot_product_attention(x, y, z, bias=w)", [(x(5, 2, 4), x(6, 2, 4), x(6, 2, 4), x(2, 5, 6))]),
    *cases(
        "ops.binary_crossentropy(y, x, from_logits=<logits>)",
        [(x(4, values="probability"), x(4, values="probability"))],
        logits=[False, True],
    ),
    *cases(
        "ops.categorical_crossentropy(y, x, from_logits=<logits>, axis=<axis>)",
        [(x(4, 3, values="probability"), x(4, 3, values="probability"))],
        logits=[False, True],
        axis=[-1, 1],
    ),
    *cases(
        "ops.sparse_categorical_crossentropy(y, x, from_logits=<logits>)",
        [
            (x(4, values="probability"), x(dtype="int32", values="index")),
            (x(3, 4, values="probability"), x(3, dtype="int32", values="index")),
        ],
        logits=[False, True],
    ),
    *cases("ops.depth_to_space(x, <b>, data_format=<f>)", [x(4, 8, 4)], b=[2], f=["channels_last"]),
    *cases(
        "ops.space_to_depth(x, <b>, data_format=<f>)", [x(4, 8, 4)], b=[2, 4], f=["channels_last", "channels_first"]
    ),
    *cases("ops.depth_to_space(x, 2, data_format='channels_first')", [x(8, 4, 3)]),
    *cases(
        "ops.unfold(x, <k>, dilation=<d>, padding=<p>, stride=<s>)",
        [x(3, 7, 8)],
        k=[2, (3, 2)],
        d=[1, 2],
        p=[0, 1],
        s=[1, 2],
    ),
    *cases("ops.fold(x, (5, 6), <k>, stride=<s>)", [x(12, 20)], k=[2], s=[1]),
    *cases("ops.ctc_decode(x, y, strategy='greedy')", [(x(6, 4), x(dtype="int32", values="index"))]),
    *cases(
        "ops.ctc_loss(y, x, z, w)",
        [
            (
                x(6, 4),
                x(3, dtype="int32", values="index"),
                x(dtype="int32", values="index"),
                x(dtype="int32", values="index"),
            )
        ],
    ),
    *cases(
        "ops.image.resize(x, <size>, interpolation=<i>, antialias=<a>)",
        [x(7, 5, 3), x(8, 6, 1), x(6, 6, 3, dtype="uint8")],
        size=[(14, 10), (13, 9), (3, 4), (7, 5), (4, 11), (1, 1)],
        i=INTERPOLATIONS[:5],
        a=[False, True],
        pairs=True,
    ),
    *cases(
        "ops.image.resize(x, <size>, interpolation=<i>)",
        [x(7, 5, 3)],
        size=[(14, 10), (13, 9), (3, 4), (4, 11)],
        i=["nearest", "bilinear", "bicubic"],
    ),
    *cases(
        "ops.image.resize(x, <size>, interpolation=<i>, data_format='channels_first')",
        [x(3, 7, 5)],
        size=[(14, 10), (3, 4)],
        i=["nearest", "bilinear", "bicubic"],
    ),
    *cases(
        "ops.image.resize(x, (6, 9), crop_to_aspect_ratio=<crop>, pad_to_aspect_ratio=<pad>, interpolation=<i>, fill_value=<v>)",
        [x(7, 5, 3), x(12, 8, 3)],
        crop=[False, True],
        pad=[True, False],
        i=["nearest", "bilinear"],
        v=[0.0, 2.5],
        pairs=True,
    ),
    *cases(
        "ops.image.rgb_to_grayscale(x, data_format=<f>)",
        [x(3, 4, 3), x(3, 3, 3, dtype="uint8"), x(3, 3, 3, dtype="float16")],
        f=["channels_last"],
    ),
    *cases("ops.image.rgb_to_grayscale(x, data_format='channels_first')", [x(3, 4, 5)]),
    *cases(
        "ops.image.<op>(x)",
        [x(3, 4, 3, values="probability"), x(3, 4, 3, values="ties")],
        op=code("rgb_to_hsv hsv_to_rgb"),
    ),
    *cases(
        "ops.image.pad_images(x, <t>, <l>, target_height=11, target_width=12)",
        [x(7, 5, 3), x(7, 5, 3, dtype="uint8")],
        t=[0, 2],
        l=[1, 3],
    ),
    *cases("ops.image.pad_images(x, top_padding=1, left_padding=2, bottom_padding=3, right_padding=0)", [x(7, 5, 3)]),
    *cases("ops.image.crop_images(x, <t>, <l>, target_height=3, target_width=2)", [x(7, 5, 3)], t=[0, 2], l=[1, 3]),
    *cases(
        "ops.image.extract_patches(x, <size>, strides=<s>, dilation_rate=<d>, padding=<p>)",
        [x(7, 8, 3)],
        size=[2, (3, 2)],
        s=[None, 1, 2],
        d=[1],
        p=["valid", "same"],
        pairs=True,
    ),
    *cases("ops.image.extract_patches(x, 2, strides=1, dilation_rate=2)", [x(7, 8, 3)]),
    *cases(
        "ops.image.extract_patches_3d(x, <size>, strides=<s>, padding=<p>)",
        [x(5, 6, 4, 2)],
        size=[2, (1, 3, 2)],
        s=[None, 1],
        p=["valid", "same"],
    ),
    *cases("ops.image.sobel_edges(x)", [x(6, 7, 3)]),
    *cases(
        "ops.image.ssim(x, y, max_val=1.0)", [(x(16, 16, 3, values="probability"), x(16, 16, 3, values="probability"))]
    ),
    *cases("ops.vectorize(lambda e: e * 2 + 1)(x)", [x(4, 3)]),
    *cases(
        "ops.image.affine_transform(x, y, interpolation=<i>, fill_mode=<m>)",
        [(x(6, 7, 3), x(8, values="probability"))],
        i=["nearest", "bilinear"],
        m=["constant", "nearest", "reflect", "wrap", "mirror"],
    ),
    *cases(
        "ops.image.gaussian_blur(x, kernel_size=<k>, sigma=<s>)",
        [x(7, 8, 3)],
        k=[(3, 3), (5, 3)],
        s=[(1.0, 1.0), (0.5, 2.0)],
    ),
    *cases(
        "ops.image.map_coordinates(x, np.array([[0.5, 1.2], [1.0, 2.6], [0.1, 2.2]], 'float32'), order=<o>, fill_mode=<m>)",
        [x(5, 6, batch=4)],
        o=[0, 1],
        m=["constant", "nearest", "reflect"],
    ),
    *cases(
        "ops.image.perspective_transform(x, y, z)",
        [(x(6, 7, 3), x(4, 2, values="positive"), x(4, 2, values="positive"))],
    ),
    *cases("ops.image.elastic_transform(x, seed=1)", [x(6, 7, 3)]),
    *cases(
        "ops.image.scale_and_translate(x, (4, 8, 9, 3), np.array([1.2, 1.1], 'float32'), np.array([0.5, 0.2], 'float32'), (1, 2), <m>)",
        [x(6, 7, 3, batch=4)],
        m=["linear", "cubic"],
    ),
    *cases("ops.cond(<p>, lambda: x + 1, lambda: x * 2)", [x(4, 3)], p=code("True False")),
    *cases("ops.cond(ops.sum(x)>0, lambda: x + 1, lambda: x * 2)", [x(4, 3), x(4, 3, dtype="int32")]),
    *cases("ops.cond(ops.any(x > 1), lambda: ops.sum(x, axis=1), lambda: ops.max(x, axis=1))", [x(4, 3)]),
    *cases("ops.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, a * 2 + 1), (0, x))[1]", [x(4, 3)]),
    *cases("ops.while_loop(lambda a: ops.sum(ops.abs(a)) > 1.0, lambda a: (a / 2,), (x,))", [x(4, 3)]),
    *cases("ops.fori_loop(0, <n>, lambda i, a: a + ops.cast(i, 'float32'), x)", [x(4, 3)], n=[0, 1, 4]),
    *cases("ops.scan(lambda c, e: (c + e, c * e), ops.zeros((3,)), x)", [x(3, batch=4)]),
    *cases(
        "ops.scan(lambda c, e: (c + e, c * e), x[:, 0], ops.transpose(x, (1, 0, 2)), reverse=<r>)",
        [x(5, 3)],
        r=[False, True],
    ),
    *cases(
        "ops.associative_scan(lambda a, b: a + b, x, axis=<axis>, reverse=<r>)", [x(5, 3)], axis=[1], r=[False, True]
    ),
    *cases("ops.map(lambda e: e * 2 + 1, x)", [x(3), x(3, batch=4)]),
    *cases("ops.vectorized_map(lambda e: e * 2 + 1, x)", [x(3), x(3, batch=4)]),
    *cases("ops.switch(<i>, [lambda a: a + 1, lambda a: a * 2], x)", [x(4, 3)], i=[0, 1, 5]),
    *cases(
        "ops.switch(ops.cast(y[0], 'int32'), [lambda a: a + 1, lambda a: a * 2], x)",
        [(x(4, 3), x(dtype="int32", values="coin"))],
    ),
)
