"""Layers written in raw TensorFlow open like all others: no tf2onnx, and the same numbers."""

# ruff: noqa: PLW0108 - a function must be looked up when the layer is called, not here

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from converters.convert import convert_model
from converters.tensorflow_adapters import places as tensorflow_places
from tests.converters.checking import check
from tests.converters.tensorflow_only import require_tensorflow

tf = require_tensorflow()

Function = Callable[[Any], Any]
K = tf.keras.backend
KERNEL = np.random.default_rng(0).normal(size=(2, 3, 3, 4)).astype(np.float32)

CALLS: dict[str, Function] = {
    "tf.abs": lambda x: tf.abs(x),
    "tf.exp": lambda x: tf.exp(x),
    "tf.sqrt": lambda x: tf.sqrt(tf.square(x) + 1.0),
    "tf.tanh": lambda x: tf.tanh(x),
    "tf.sigmoid": lambda x: tf.sigmoid(x),
    "tf.negative": lambda x: tf.negative(x),
    "tf.identity": lambda x: tf.identity(x) * 2.0,
    "tf.stop_gradient": lambda x: tf.stop_gradient(x) * 2.0,
    "tf.add": lambda x: tf.add(x, 1.0),
    "tf.subtract": lambda x: tf.subtract(1.0, x),
    "tf.multiply": lambda x: tf.multiply(x, x),
    "tf.divide": lambda x: tf.divide(x, 3.0),
    "tf.maximum": lambda x: tf.maximum(x, 0.1),
    "tf.minimum": lambda x: tf.minimum(0.1, x),
    "tf.pow": lambda x: tf.pow(x, 2.0),
    "tf.reduce_mean": lambda x: tf.reduce_mean(x, [1, 2], keepdims=True),
    "tf.reduce_max": lambda x: tf.reduce_max(x, axis=-1, keepdims=True),
    "tf.reduce_min": lambda x: tf.reduce_min(x, axis=3),
    "tf.reduce_sum, of a list": lambda x: tf.reduce_sum([w * x for w in (0.5, 2.0, -1.0)], axis=0),
    "tf.reduce_max, of a list": lambda x: tf.reduce_max([x, -x], 0, keepdims=True),
    "tf.reduce_mean, of a list": lambda x: tf.reduce_mean([x, x * 2.0], axis=0),
    "tf.gather, of batches": lambda x: tf.gather(x[..., 0], tf.argsort(x[:, :, 0, 0], axis=1), axis=1, batch_dims=1),
    "tf.gather, of two batches": lambda x: tf.gather(x, tf.math.top_k(x[..., 0], 2).indices, batch_dims=2),
    "tf.gather_nd, of batches": lambda x: tf.gather_nd(x, tf.argsort(x[:, :, 0, 0])[..., None], batch_dims=1),
    "tf.reduce_sum": lambda x: tf.reduce_sum(x, axis=(1, 2)),
    "tf.cast": lambda x: tf.cast(tf.cast(x * 10.0, tf.int32), tf.float32),
    "tf.clip_by_value": lambda x: tf.clip_by_value(x, -0.5, 0.5),
    "tf.concat": lambda x: tf.concat([x, x * 2.0], axis=-1),
    "tf.expand_dims": lambda x: tf.expand_dims(x, axis=1),
    "tf.matmul": lambda x: tf.matmul(x, x, transpose_b=True),
    "tf.pad": lambda x: tf.pad(x, [[0, 0], [1, 2], [0, 1], [0, 0]], constant_values=1.5),
    "tf.reshape": lambda x: tf.reshape(x, [-1, 6, 15]),
    "tf.shape": lambda x: x * tf.cast(tf.shape(x)[-1], tf.float32),
    "tf.shape, unknown batch": lambda x: tf.reshape(x, [tf.shape(x)[0], 30, 3]),
    "tf.shape, unknown batch and -1": lambda x: tf.reshape(x, [tf.shape(x)[0], -1, 9]),
    "tf.zeros": lambda x: tf.concat([tf.zeros([tf.shape(x)[0], 5, 6, 1]), x], axis=-1),
    "tf.ones": lambda x: tf.concat([tf.ones([tf.shape(x)[0], 5, 6, 1]), x], axis=-1),
    "tf.fill": lambda x: tf.concat([tf.fill([tf.shape(x)[0], 5, 6, 1], 0.5), x], axis=-1),
    "tf.range": lambda x: x[:, 0, 0] * tf.cast(tf.range(tf.shape(x)[0]), tf.float32)[:, None],
    "tf.split": lambda x: tf.split(x, [1, 2], axis=-1)[1],
    "tf.squeeze": lambda x: tf.squeeze(tf.reduce_mean(x, [2], keepdims=True), axis=2),
    "tf.stack": lambda x: tf.stack([x, x + 1.0], axis=2),
    "tf.tile": lambda x: tf.tile(x, [1, 2, 1, 1]),
    "tf.transpose": lambda x: tf.transpose(x, [0, 2, 1, 3]),
    "tf.nn.relu": lambda x: tf.nn.relu(x),
    "tf.nn.relu6": lambda x: tf.nn.relu6(x * 10.0),
    "tf.nn.elu": lambda x: tf.nn.elu(x),
    "tf.nn.selu": lambda x: tf.nn.selu(features=x),
    "tf.nn.silu": lambda x: tf.nn.silu(x),
    "tf.nn.swish": lambda x: tf.nn.swish(x),
    "tf.nn.softplus": lambda x: tf.nn.softplus(x),
    "tf.nn.sigmoid": lambda x: tf.nn.sigmoid(x),
    "tf.nn.tanh": lambda x: tf.nn.tanh(x),
    "tf.nn.leaky_relu": lambda x: tf.nn.leaky_relu(x, alpha=0.1),
    "tf.nn.gelu": lambda x: tf.nn.gelu(x),
    "tf.nn.softmax": lambda x: tf.nn.softmax(x, axis=1),
    "tf.nn.log_softmax": lambda x: tf.nn.log_softmax(x),
    "tf.math.log": lambda x: tf.math.log(tf.math.abs(x) + 1.0),
    "tf.math.rsqrt": lambda x: tf.math.rsqrt(tf.math.square(x) + 1.0),
    "tf.math.reciprocal": lambda x: tf.math.reciprocal(tf.math.exp(x)),
    "tf.math.erf": lambda x: tf.math.erf(x),
    "tf.math.softplus": lambda x: tf.math.softplus(x),
    **{
        f"tf.{name}": (lambda x, f=name: getattr(tf, f)(tf.tanh(x)))
        for name in ("acos", "asin", "atan", "cos", "cosh", "floor", "round", "sign", "sin", "sinh", "tan")
    },
    **{
        f"tf.{name}": (lambda x, f=name: tf.cast(getattr(tf, f)(x, 0.5), tf.float32))
        for name in ("equal", "greater", "greater_equal", "less", "less_equal", "not_equal")
    },
    "tf.logical_and": lambda x: tf.cast(tf.logical_and(x > 0.0, x < 1.0), "float32"),
    "tf.logical_or": lambda x: tf.cast(tf.logical_or(x < 0.0, x > 1.0), "float32"),
    "tf.logical_not": lambda x: tf.where(tf.logical_not(x < 0.0), x, 0.0),
    "tf.reduce_all": lambda x: tf.cast(tf.reduce_all(x > -1.0, axis=1), tf.float32),
    "tf.reduce_any": lambda x: tf.cast(tf.reduce_any(x > 1.0, axis=[1, 2]), tf.float32),
    "tf.reduce_logsumexp": lambda x: tf.reduce_logsumexp(x, axis=-1),
    "tf.reduce_prod": lambda x: tf.reduce_prod(x, axis=1),
    "tf.add_n": lambda x: tf.add_n([x, x * 2.0, x]),
    "tf.argmax": lambda x: tf.argmax(x, axis=-1),
    "tf.argmin": lambda x: tf.argmin(x, axis=1, output_type=tf.int32),
    "tf.cumsum": lambda x: tf.cumsum(x, axis=1, exclusive=True, reverse=True),
    "tf.argsort": lambda x: tf.argsort(x, axis=1, direction="DESCENDING"),
    "tf.sort": lambda x: tf.sort(x, axis=2, direction="DESCENDING"),
    "tf.convert_to_tensor": lambda x: tf.convert_to_tensor(x) * 2.0,
    "tf.einsum": lambda x: tf.einsum("bijc,bikc->bijk", x, x),
    "tf.ensure_shape": lambda x: tf.ensure_shape(x, (None, 5, 6, 3)) * 2.0,
    "tf.gather": lambda x: tf.gather(x, [2, 0], axis=2),
    "tf.norm": lambda x: tf.norm(x, axis=-1, keepdims=True),
    "tf.one_hot": lambda x: tf.one_hot(tf.argmax(x, axis=-1), 4, on_value=2.0, off_value=-1.0),
    "tf.ones_like": lambda x: x + tf.ones_like(x),
    "tf.zeros_like": lambda x: tf.maximum(x, tf.zeros_like(x)),
    "tf.repeat": lambda x: tf.repeat(x, 2, axis=1),
    "tf.reverse": lambda x: tf.reverse(x, axis=[1, -1]),
    "tf.roll": lambda x: tf.roll(x, shift=2, axis=1),
    "tf.slice": lambda x: tf.slice(x, [0, 1, 2, 0], [-1, 3, -1, 2]),
    "tf.tensordot": lambda x: tf.tensordot(x, tf.ones((3, 4)), axes=[[3], [0]]),
    "tf.unstack": lambda x: tf.unstack(x, axis=3)[1],
    "tf.where": lambda x: tf.where(x > 0.0, x, 0.1 * x),
    "tf.broadcast_to, sizes": lambda x: tf.broadcast_to(x[:, :1], [tf.shape(x)[0], 5, 6, 3]),
    "tf.broadcast_to": lambda x: tf.broadcast_to(tf.reduce_mean(x, 1, keepdims=True), tf.shape(x)),
    "tf.nn.avg_pool": lambda x: tf.nn.avg_pool(x, ksize=2, strides=2, padding="VALID"),
    "tf.nn.avg_pool2d": lambda x: tf.nn.avg_pool2d(x, [1, 2, 2, 1], [1, 1, 1, 1], "SAME"),
    "tf.nn.max_pool": lambda x: tf.nn.max_pool(x, [1, 3, 3, 1], [1, 2, 2, 1], padding="SAME"),
    "tf.nn.max_pool2d": lambda x: tf.nn.max_pool2d(x, (2, 2), (1, 2), "VALID"),
    "tf.nn.batch_normalization": lambda x: tf.nn.batch_normalization(
        x, *tf.nn.moments(x, [1, 2], keepdims=True), 0.1, 2.0, 1e-3
    ),
    "tf.nn.moments": lambda x: tf.nn.moments(x, axes=[1, 2])[1],
    "tf.nn.bias_add": lambda x: tf.nn.bias_add(x, [1.0, 2.0, 3.0]),
    "tf.nn.conv1d": lambda x: tf.nn.conv1d(x[:, 0], KERNEL[0], stride=2, padding="SAME"),
    "tf.nn.conv2d": lambda x: tf.nn.conv2d(x, KERNEL, strides=[1, 2, 2, 1], padding="SAME"),
    "tf.nn.conv2d, explicit padding": lambda x: tf.nn.conv2d(x, KERNEL, 1, [[0, 0], [1, 0], [2, 1], [0, 0]]),
    "tf.nn.depthwise_conv2d": lambda x: tf.nn.depthwise_conv2d(x, KERNEL, [1, 1, 1, 1], "VALID", dilations=(2, 1)),
    "tf.nn.depth_to_space": lambda x: tf.nn.depth_to_space(tf.tile(x, [1, 1, 1, 4]), 2),
    "tf.nn.space_to_depth": lambda x: tf.nn.space_to_depth(x[:, :4], 2),
    "tf.nn.embedding_lookup": lambda x: tf.nn.embedding_lookup(KERNEL[0], tf.argmax(x, axis=-1)),
    "tf.nn.l2_normalize": lambda x: tf.nn.l2_normalize(x, axis=-1),
    "tf.nn.softsign": lambda x: tf.nn.softsign(x),
    "tf.nn.top_k": lambda x: tf.nn.top_k(x, k=2).values,
    "tf.math.ceil": lambda x: tf.math.ceil(x),
    "tf.math.cumprod": lambda x: tf.math.cumprod(x, axis=2, exclusive=True),
    "tf.math.divide_no_nan": lambda x: tf.math.divide_no_nan(x, tf.nn.relu(x)),
    "tf.math.expm1": lambda x: tf.math.expm1(x),
    "tf.math.floordiv": lambda x: tf.math.floordiv(x, 0.7),
    "tf.math.floormod": lambda x: tf.math.floormod(x, 0.7),
    "tf.math.mod": lambda x: tf.math.mod(x, 0.7),
    "tf.math.is_finite": lambda x: tf.cast(tf.math.is_finite(x / tf.nn.relu(x)), tf.float32),
    "tf.math.is_inf": lambda x: tf.cast(tf.math.is_inf(x / tf.nn.relu(x)), tf.float32),
    "tf.math.is_nan": lambda x: tf.cast(tf.math.is_nan(tf.sqrt(x)), tf.float32),
    "tf.math.l2_normalize": lambda x: tf.math.l2_normalize(x, [1, 2]),
    "tf.math.log1p": lambda x: tf.math.log1p(tf.exp(x)),
    "tf.math.log_sigmoid": lambda x: tf.math.log_sigmoid(x),
    "tf.math.log_softmax": lambda x: tf.math.log_softmax(x, axis=-1),
    "tf.math.softmax": lambda x: tf.math.softmax(x),
    "tf.math.reduce_std": lambda x: tf.math.reduce_std(x, axis=[1, 2], keepdims=True),
    "tf.math.reduce_variance": lambda x: tf.math.reduce_variance(x, axis=-1),
    "tf.math.squared_difference": lambda x: tf.math.squared_difference(x, 0.5),
    "tf.math.top_k": lambda x: tf.math.top_k(x, 2)[1],
    "tf.linalg.einsum": lambda x: tf.linalg.einsum("bijc->bic", x),
    "tf.linalg.l2_normalize": lambda x: tf.linalg.l2_normalize(x, axis=1),
    "tf.linalg.matmul": lambda x: tf.linalg.matmul(x, x, transpose_a=True),
    "tf.linalg.matrix_transpose": lambda x: tf.linalg.matrix_transpose(x),
    "tf.linalg.norm": lambda x: tf.linalg.norm(x, ord=1, axis=2),
    "tf.linalg.tensordot": lambda x: tf.linalg.tensordot(x, tf.ones((3, 2)), 1),
    "tf.image.adjust_brightness": lambda x: tf.image.adjust_brightness(x, 0.2),
    "tf.image.central_crop": lambda x: tf.image.central_crop(x, 0.5),
    "tf.image.crop_to_bounding_box": lambda x: tf.image.crop_to_bounding_box(x, 1, 2, 3, 3),
    "tf.image.flip_left_right": lambda x: tf.image.flip_left_right(x),
    "tf.image.flip_up_down": lambda x: tf.image.flip_up_down(x),
    "tf.image.hsv_to_rgb": lambda x: tf.image.hsv_to_rgb(tf.sigmoid(x)),
    "tf.image.resize": lambda x: tf.image.resize(x, [7, 4]),
    "tf.compat.v1.image.resize": lambda x: tf.compat.v1.image.resize(x, [7, 4], align_corners=True),
    "tf.compat.v1.image.resize_bilinear": lambda x: tf.compat.v1.image.resize_bilinear(x, [7, 4]),
    "tf.image.resize, nearest": lambda x: tf.image.resize(x, (10, 12), method="nearest"),
    "tf.image.rgb_to_grayscale": lambda x: tf.image.rgb_to_grayscale(x),
    "tf.image.rgb_to_hsv": lambda x: tf.image.rgb_to_hsv(tf.sigmoid(x)),
    **{f"tf.math.{name}": (lambda x, f=name: getattr(tf.math, f)(x * 2.0)) for name in ("asinh", "rint")},
    "tf.acosh": lambda x: tf.acosh(tf.abs(x) + 1.5),
    "tf.asinh": lambda x: tf.asinh(x),
    "tf.atanh": lambda x: tf.atanh(tf.tanh(x)),
    "tf.atan2": lambda x: tf.atan2(x, 0.5),
    "tf.truediv": lambda x: tf.truediv(x, 3.0),
    "tf.gather_nd": lambda x: tf.gather_nd(x[0], [[0, 1], [4, 5]]),
    "tf.linspace": lambda x: tf.linspace(x, x * 2.0, 4, axis=1),
    "tf.meshgrid": lambda x: x[:, 0] + tf.meshgrid(x[0, 0, 0], tf.range(6.0))[0],
    "tf.rank": lambda x: x * tf.cast(tf.rank(x), tf.float32),
    "tf.size": lambda x: x / tf.cast(tf.size(x), tf.float32),
    "tf.searchsorted": lambda x: tf.searchsorted(tf.sort(x[:, 0], axis=-1), x[:, 1], side="right"),
    "tf.sequence_mask": lambda x: tf.sequence_mask(tf.argmax(x, axis=-1), 3, tf.float32) * x,
    "tf.tensor_scatter_nd_add": lambda x: tf.tensor_scatter_nd_add(x[0], [[1], [3], [1]], x[0, :3]),
    "tf.tensor_scatter_nd_max": lambda x: tf.tensor_scatter_nd_max(x[0], [[1, 2]], [[0.1, 0.2, 0.3]]),
    "tf.tensor_scatter_nd_min": lambda x: tf.tensor_scatter_nd_min(x[0], [[1, 2]], [[0.1, 0.2, 0.3]]),
    "tf.tensor_scatter_nd_update": lambda x: tf.tensor_scatter_nd_update(x[0], [[4], [0]], x[0, 1:3]),
    "tf.cond": lambda x: tf.cond(tf.reduce_sum(x) > 0.0, lambda: x * 2.0, lambda: -x),
    "tf.case": lambda x: tf.case(
        [(tf.reduce_sum(x) > 1e6, lambda: x), (tf.reduce_sum(x) > -1e6, lambda: x * 2.0)], lambda: -x
    ),
    "tf.switch_case": lambda x: tf.switch_case(
        tf.cast(tf.reduce_max(x) > 0.0, tf.int32), [lambda: x, lambda: x * 3.0], lambda: -x
    ),
    "tf.while_loop": lambda x: tf.while_loop(
        lambda i, y: i < 3, lambda i, y: (i + 1, tf.tanh(y) + x), [tf.constant(0), x]
    )[1],
    "tf.while_loop, computed condition": lambda x: tf.while_loop(
        lambda y: tf.reduce_max(y) < 5.0, lambda y: [y * 1.5 + 0.1], [tf.abs(x)], maximum_iterations=40
    )[0],
    "tf.map_fn": lambda x: tf.map_fn(lambda y: y - tf.reduce_max(y), x),
    "tf.map_fn, structure": lambda x: tf.map_fn(lambda y: y[0] * y[1][0, 0], (x, x), fn_output_signature=tf.float32),
    "tf.vectorized_map": lambda x: tf.vectorized_map(lambda y: y / (1.0 + tf.reduce_max(tf.abs(y))), x),
    "tf.scan": lambda x: tf.scan(lambda a, y: a * 0.5 + y, tf.transpose(x, [1, 0, 2, 3])),
    "tf.scan, reverse": lambda x: tf.scan(lambda a, y: a * 0.5 + y, tf.transpose(x, [1, 0, 2, 3]), reverse=True),
    "tf.foldl": lambda x: tf.foldl(lambda a, y: a * 0.5 + y, tf.transpose(x, [1, 0, 2, 3]), x[:, 0] * 0.0),
    "tf.foldr": lambda x: tf.foldr(lambda a, y: a * 0.5 + y, tf.transpose(x, [1, 0, 2, 3])),
    "tf.nn.avg_pool1d": lambda x: tf.nn.avg_pool1d(x[:, 0], 2, 2, "VALID"),
    "tf.nn.avg_pool3d": lambda x: tf.nn.avg_pool3d(x[..., None], [2, 2, 1], 1, "VALID"),
    "tf.nn.max_pool1d": lambda x: tf.nn.max_pool1d(x[:, 0], 2, 1, "SAME"),
    "tf.nn.max_pool3d": lambda x: tf.nn.max_pool3d(x[..., None], (1, 2, 2), (1, 2, 1), "VALID"),
    "tf.nn.conv1d_transpose": lambda x: tf.nn.conv1d_transpose(
        x[:, 0], np.swapaxes(KERNEL[0], 1, 2), [tf.shape(x)[0], 12, 4], 2
    ),
    "tf.nn.conv2d_transpose": lambda x: tf.nn.conv2d_transpose(
        x, np.swapaxes(KERNEL, 2, 3), [tf.shape(x)[0], 10, 12, 4], strides=2, padding="SAME"
    ),
    "tf.nn.conv3d": lambda x: tf.nn.conv3d(x[:, None], KERNEL[None], [1, 1, 1, 1, 1], "SAME"),
    "tf.nn.convolution": lambda x: tf.nn.convolution(x, KERNEL, padding="SAME", dilations=[1, 2]),
    "tf.nn.separable_conv2d": lambda x: tf.nn.separable_conv2d(
        x, KERNEL[..., :2], np.ones((1, 1, 6, 5), np.float32), [1, 2, 2, 1], "SAME"
    ),
    "tf.nn.crelu": lambda x: tf.nn.crelu(x),
    "tf.nn.zero_fraction": lambda x: x * tf.nn.zero_fraction(tf.nn.relu(x)),
    "tf.math.count_nonzero": lambda x: tf.math.count_nonzero(tf.nn.relu(x), axis=1),
    "tf.math.cumulative_logsumexp": lambda x: tf.math.cumulative_logsumexp(x, axis=1, reverse=True),
    "tf.math.erfinv": lambda x: tf.math.erfinv(tf.tanh(x) * 0.9),
    "tf.math.multiply_no_nan": lambda x: tf.math.multiply_no_nan(1.0 / tf.nn.relu(x), tf.nn.relu(x)),
    "tf.math.xdivy": lambda x: tf.math.xdivy(tf.nn.relu(x), tf.nn.relu(x)),
    "tf.math.xlogy": lambda x: tf.math.xlogy(tf.nn.relu(x), tf.nn.relu(x)),
    "tf.math.zero_fraction": lambda x: x * tf.math.zero_fraction(tf.nn.relu(x)),
    "tf.linalg.band_part": lambda x: tf.linalg.band_part(x, 1, -1),
    "tf.linalg.cross": lambda x: tf.linalg.cross(x, x[:, ::-1]),
    "tf.linalg.det": lambda x: tf.linalg.det(tf.linalg.matmul(x, x, transpose_a=True)),
    "tf.linalg.inv": lambda x: tf.linalg.inv(tf.linalg.matmul(x, x, transpose_a=True) + tf.eye(3)),
    "tf.linalg.matvec": lambda x: tf.linalg.matvec(x, x[:, :, 0]),
    "tf.linalg.normalize": lambda x: tf.linalg.normalize(x, axis=-1)[0],
    "tf.linalg.solve": lambda x: tf.linalg.solve(
        tf.linalg.matmul(x, x, transpose_a=True) + tf.eye(3), tf.linalg.matrix_transpose(x)
    ),
    "tf.linalg.diag": lambda x: tf.linalg.diag(x),
    "tf.linalg.diag_part": lambda x: tf.linalg.diag_part(x),
    "tf.linalg.diag_part, above": lambda x: tf.linalg.diag_part(x, k=1),
    "tf.linalg.set_diag": lambda x: tf.linalg.set_diag(tf.matmul(x, x, transpose_b=True), x[..., 0]),
    "tf.slice, the whole batch": lambda x: tf.reshape(tf.slice(x, [0, 1, 0, 0], [-1, 2, -1, -1]), [tf.shape(x)[0], 36]),
    "tf.linalg.trace": lambda x: tf.linalg.trace(tf.linalg.matmul(x, x, transpose_a=True)),
    "tf.image.adjust_contrast": lambda x: tf.image.adjust_contrast(x, 1.5),
    "tf.image.adjust_gamma": lambda x: tf.image.adjust_gamma(tf.sigmoid(x), 0.7, 2.0),
    "tf.image.adjust_saturation": lambda x: tf.image.adjust_saturation(tf.sigmoid(x), 0.6),
    "tf.image.convert_image_dtype": lambda x: tf.image.convert_image_dtype(tf.cast(x * 9 + 99, tf.uint8), tf.float32),
    "tf.image.extract_patches": lambda x: tf.image.extract_patches(
        x, [1, 2, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID"
    ),
    "tf.image.grayscale_to_rgb": lambda x: tf.image.grayscale_to_rgb(x[..., :1]),
    "tf.image.pad_to_bounding_box": lambda x: tf.image.pad_to_bounding_box(x, 1, 2, 8, 9),
    "tf.image.per_image_standardization": lambda x: tf.image.per_image_standardization(x),
    "tf.image.resize_with_crop_or_pad": lambda x: tf.image.resize_with_crop_or_pad(x, 8, 3),
    "tf.image.rgb_to_yuv": lambda x: tf.image.rgb_to_yuv(x),
    **{f"tf.image.rot90, {k}": (lambda x, k=k: tf.image.rot90(x, k)) for k in range(4)},
    "tf.image.transpose": lambda x: tf.image.transpose(x),
    "tf.signal.stft": lambda x: tf.abs(tf.signal.stft(tf.reshape(x, [-1, 90]), 20, 10)),
    "tf.signal.stft, to the end": lambda x: tf.math.real(
        tf.signal.stft(tf.reshape(x, [-1, 5, 18]), 7, 3, 16, window_fn=tf.signal.hamming_window, pad_end=True)
    ),
    "tf.signal.stft, without a window": lambda x: tf.abs(tf.signal.stft(x[..., 0], 4, 1, window_fn=None)) ** 2,
    "tf.signal.rfft": lambda x: tf.math.imag(tf.signal.rfft(x[..., 0])),
    "tf.signal.rfft, of a length": lambda x: tf.abs(tf.signal.rfft(x[..., 0], [8])),
    "tf.signal.irfft": lambda x: tf.signal.irfft(
        tf.signal.rfft(x[..., 0]) * tf.complex(x[:, :, :4, 1], x[:, :, :4, 2])
    ),
    "tf.signal.fft": lambda x: tf.abs(tf.signal.fft(tf.cast(x, tf.complex64))[..., 1:] / 3.0),
    "tf.signal.fft2d": lambda x: tf.math.real(tf.signal.fft2d(tf.cast(x, tf.complex64))),
    "tf.signal.ifft2d": lambda x: tf.math.imag(tf.signal.ifft2d(tf.complex(x, 2.0 * x))),
    "tf.signal.frame": lambda x: tf.signal.frame(x[..., 0], 3, 2),
    "tf.signal.dct": lambda x: tf.signal.dct(x, norm="ortho"),
    "tf.signal.mfccs_from_log_mel_spectrograms": lambda x: tf.signal.mfccs_from_log_mel_spectrograms(x)[..., :2],
    "tf.complex": lambda x: tf.abs(tf.complex(x, 1.0 - x) - tf.complex(x * 3.0, x)),
    "tf.math.angle": lambda x: tf.math.angle(tf.complex(x, x + 1.0)),
    "tf.math.conj": lambda x: tf.math.imag(tf.math.conj(tf.complex(x, 1.0 - x)) * 2.0),
    "tf.math.imag": lambda x: tf.math.imag(tf.multiply(tf.complex(x, 1.0 - x), tf.complex(x, x))),
    "tf.math.real": lambda x: tf.math.real(-tf.complex(x, x) + tf.complex(x, x) * tf.cast(x[..., :1], tf.complex64)),
    "tf.debugging.check_numerics": lambda x: tf.debugging.check_numerics(x, "no number") * 2.0,
    "tf.debugging.assert_": lambda x: (tf.debugging.assert_rank(x, 4), x * 2.0)[1],
    "K.abs": lambda x: K.abs(x),
    "K.batch_flatten": lambda x: K.batch_flatten(x),
    "K.concatenate": lambda x: K.concatenate(
        [K.mean(x, axis=3, keepdims=True), K.max(x, axis=3, keepdims=True)], axis=3
    ),
    "K.clip": lambda x: K.clip(x, -0.5, 0.5),
    "K.dot": lambda x: K.dot(x, tf.ones((3, 2))),
    "K.exp": lambda x: K.exp(x) / K.sum(K.exp(x), axis=-1, keepdims=True),
    "K.expand_dims": lambda x: K.squeeze(K.expand_dims(x, 1), 1) * 2.0,
    "K.int_shape": lambda x: x * float(K.int_shape(x)[-1]),
    "K.l2_normalize": lambda x: K.l2_normalize(x, axis=-1),
    "K.permute_dimensions": lambda x: K.permute_dimensions(x, (0, 3, 1, 2)),
    "K.pow": lambda x: K.pow(x, 2),
    "K.relu": lambda x: K.relu(x, max_value=1.0),
    "K.repeat_elements": lambda x: K.repeat_elements(x, 2, axis=1),
    "K.reshape": lambda x: K.reshape(x, (-1, 30, 3)),
    "K.sigmoid": lambda x: x * K.sigmoid(x),
    "K.softmax": lambda x: K.softmax(x),
    "K.sqrt": lambda x: K.sqrt(K.square(x) + K.epsilon()),
    "K.stack": lambda x: K.stack([x, x], axis=1),
    "K.std": lambda x: K.std(x, axis=[1, 2]),
    "K.tanh": lambda x: K.tanh(x) + K.ones_like(x),
    "K.tile": lambda x: K.tile(x, [1, 1, 2, 1]),
    **{
        f"K.{name}": (lambda x, f=name: getattr(K, f)(x, axis=[1, 2], keepdims=True))
        for name in ("max", "mean", "min", "prod", "sum", "var")
    },
    "K.all": lambda x: K.cast(K.all(x > -1.0, axis=1), "float32"),
    "K.any": lambda x: K.cast(K.any(x > 1.0, axis=1), "float32"),
    "K.argmax": lambda x: K.argmax(x),
    "K.argmin": lambda x: K.argmin(x, axis=1),
    "K.gather": lambda x: K.gather(KERNEL[0], K.argmax(x)),
    "K.resize_images": lambda x: K.resize_images(x, 2, 3, "channels_last"),
    "K.switch": lambda x: K.switch(x > 0.0, x, x * 0.1),
}


class Raw(keras.layers.Layer):
    """Calls a function of raw TensorFlow."""

    def __init__(self, function: Function, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


def _model(function: Function) -> keras.Model:
    inputs = keras.Input((5, 6, 3), name="x")
    return keras.Model(inputs, Raw(function, name="raw")(inputs))


@pytest.mark.parametrize("name", CALLS)
def test_opens_with_the_same_numbers(name: str) -> None:
    converted = check(_model(CALLS[name]), exporter="direct")
    assert [layer.way for layer in converted.report.layers if layer.path == "raw"] == ["opened"]


def test_a_layer_decorated_with_tf_function_opens() -> None:
    class Decorated(keras.layers.Layer):
        @tf.function
        def call(self, x: Any) -> Any:
            return tf.nn.relu(x) * 2.0

    inputs = keras.Input((5,), name="x")
    check(keras.Model(inputs, Decorated(name="decorated")(inputs)), exporter="direct")


def test_every_redirected_function_is_tried() -> None:
    places = {tf: "tf", tf.nn: "tf.nn", tf.math: "tf.math", tf.linalg: "tf.linalg", tf.image: "tf.image", K: "K"}
    places |= {tf.debugging: "tf.debugging", tf.signal: "tf.signal"}
    redirected = {f"{places[m]}.{name}" for m, name, _ in tensorflow_places.redirections() if m in places}
    tried = {name.partition(",")[0] for name in CALLS}
    tried |= {f"tf.math.{name.removeprefix('tf.')}" for name in tried if name.count(".") == 1}
    redirected = {name for name in redirected if not name.startswith("tf.debugging.assert_")}
    assert redirected - tried <= {"tf.square", "tf.math.square", *(f"tf.{name}" for name in SIZES)}


SIZES = ("fill", "ones", "range", "zeros")  # of what is not symbolic in these models


def test_tensorflow_is_as_it_was_afterwards() -> None:
    before = {name: getattr(module, name) for module, name, _ in tensorflow_places.redirections()}
    convert_model(_model(tf.nn.relu))
    assert before == {name: getattr(module, name) for module, name, _ in tensorflow_places.redirections()}
    assert np.asarray(tf.reduce_mean(tf.constant([1.0, 3.0]))) == 2.0
