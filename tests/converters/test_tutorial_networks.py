"""Whole networks in the forms that tutorials teach: parity, hardly a Transpose, and nothing left of computed shapes.

Each takes and gives values as Keras has them, so an image has one Transpose on its way in and one on its way out. The
image that is brightened meets itself in both orders; the points come out of a matrix product as Keras has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers, ops

from tests.converters.checking import check, randomize
from tests.converters.tensorflow_only import needs_tensorflow

Network = Callable[[], Any]


def _conv_norm(x: Any, filters: int, size: int = 3, **options: Any) -> Any:
    x = layers.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return ops.relu(layers.BatchNormalization()(x))


def segmentation() -> Any:
    """A U-shaped network of separable convolutions with residuals, up by transposed convolutions."""
    image = keras.Input((16, 16, 3))
    x = before = layers.Conv2D(8, 3, strides=2, padding="same")(image)
    for filters in (8, 16):
        x = layers.SeparableConv2D(filters, 3, padding="same")(layers.Activation("relu")(x))
        x = layers.MaxPooling2D(3, strides=2, padding="same")(layers.BatchNormalization()(x))
        x = before = layers.add([x, layers.Conv2D(filters, 1, strides=2, padding="same")(before)])
    for filters in (16, 8, 4):
        x = layers.Conv2DTranspose(filters, 3, padding="same")(layers.Activation("relu")(x))
        x = layers.UpSampling2D(2)(layers.BatchNormalization()(x))
        shortcut = layers.Conv2D(filters, 1, padding="same")(layers.UpSampling2D(2)(before))
        x = before = layers.add([x, shortcut])
    return keras.Model(image, layers.Conv2D(3, 3, padding="same", activation="softmax")(x))


def pyramid_pooling() -> Any:
    """Dilated convolutions of three rates beside the pooled image, then up bilinearly."""
    image = keras.Input((16, 16, 3))
    low = _conv_norm(image, 8, strides=2)
    pooled = _conv_norm(layers.AveragePooling2D(8)(low), 4, 1)
    parts = [layers.UpSampling2D(8, interpolation="bilinear")(pooled)]
    parts += [_conv_norm(low, 4, dilation_rate=rate) for rate in (1, 2, 3)]
    x = _conv_norm(layers.Concatenate()(parts), 4, 1)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return keras.Model(image, layers.Conv2D(5, 1)(x))


def low_light_curves() -> Any:
    """An image brightened by curves that a network of it gives, three channels of them at a time."""
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    curves = layers.Conv2D(12, 3, padding="same", activation="tanh")(x)
    enhanced = image
    for step in range(4):
        enhanced = enhanced + curves[..., 3 * step : 3 * step + 3] * (ops.square(enhanced) - enhanced)
    return keras.Model(image, enhanced)


def convolution_mixer() -> Any:
    """Patches by a strided convolution, then depthwise and pointwise ones with GELU."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 2, strides=2)(layers.Rescaling(1 / 255.0)(image))
    for _ in range(2):
        before = x
        x = layers.BatchNormalization()(layers.Activation("gelu")(layers.DepthwiseConv2D(5, padding="same")(x)))
        x = layers.Conv2D(8, 1)(layers.Add()([x, before]))
        x = layers.BatchNormalization()(layers.Activation("gelu")(x))
    return keras.Model(image, layers.Dense(4, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def dilated_audio() -> Any:
    """Causal gated convolutions of growing dilation over a waveform, with skips."""
    waveform = keras.Input((None, 1))
    x, skips = layers.Conv1D(8, 2, padding="causal")(waveform), []
    for rate in (1, 2, 4):
        gate, value = (
            layers.Conv1D(8, 2, dilation_rate=rate, padding="causal", activation=name)(x)
            for name in ("sigmoid", "tanh")
        )
        skips.append(layers.Conv1D(8, 1)(layers.multiply([gate, value])))
        x = layers.add([x, skips[-1]])
    return keras.Model(waveform, layers.Conv1D(1, 1)(layers.Activation("relu")(layers.add(skips))))


def scan_of_a_volume() -> Any:
    """Three-dimensional convolutions, one probability."""
    volume = keras.Input((10, 10, 8, 1))
    x = layers.BatchNormalization()(layers.MaxPool3D(2)(layers.Conv3D(4, 3, activation="relu")(volume)))
    return keras.Model(volume, layers.Dense(1, activation="sigmoid")(layers.GlobalAveragePooling3D()(x)))


def generator() -> Any:
    """A latent vector to an image by transposed convolutions."""
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4 * 4 * 8, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Reshape((4, 4, 8)),
            layers.Conv2DTranspose(8, 4, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.2),
            layers.Conv2DTranspose(3, 5, strides=2, padding="same", activation="tanh"),
        ]
    )


def points() -> Any:
    """Points of a cloud, moved by a matrix that a small network of them gives."""
    cloud = keras.Input((12, 3))
    x = layers.GlobalMaxPooling1D()(layers.ReLU()(layers.Conv1D(8, 1)(cloud)))
    matrix = layers.Reshape((3, 3))(layers.Dense(9)(x))
    x = layers.Dot(axes=(2, 1))([cloud, matrix])
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(8, 1)(x)))
    return keras.Model(cloud, layers.Dense(4)(layers.GlobalMaxPooling1D()(x)))


class _Involution(layers.Layer):
    """A kernel for each place, made from the channels at that place."""

    def build(self, shape: Any) -> None:
        self.kernels = layers.Conv2D(9, 1, name="kernels")
        self.kernels.build(shape)

    def call(self, x: Any) -> Any:
        _, height, width, channels = x.shape
        kernels = ops.reshape(self.kernels(x), (-1, height, width, 9, 1))
        patches = ops.image.extract_patches(x, size=(3, 3), strides=(1, 1), padding="same")
        return ops.sum(kernels * ops.reshape(patches, (-1, height, width, 9, channels)), axis=3)


def involution() -> Any:
    """Kernels computed from the image itself."""
    image = keras.Input((8, 8, 4))
    x = layers.ReLU()(_Involution()(image))
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


class _Decode(layers.Layer):
    """Boxes of a detector's grid, as raw TensorFlow computes them."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        x = tf.reshape(x, (tf.shape(x)[0], 4, 4, 2, 7))
        centre, size, rest = tf.split(x, (2, 2, 3), axis=-1)
        grid = tf.stack(tf.meshgrid(tf.range(4), tf.range(4)), axis=-1)[tf.newaxis, :, :, tf.newaxis, :]
        centre = (tf.sigmoid(centre) + tf.cast(grid, tf.float32)) * 8.0
        size = tf.exp(size) * tf.constant([[10.0, 13.0], [33.0, 23.0]])
        return tf.concat([centre, size, tf.sigmoid(rest)], axis=-1)


def detector() -> Any:
    """A strided network with a head that decodes its boxes."""
    image = keras.Input((16, 16, 3))
    x = layers.LeakyReLU(0.1)(layers.Conv2D(8, 3, strides=4, padding="same")(image))
    return keras.Model(image, _Decode()(layers.Conv2D(14, 1)(x)))


def super_resolution() -> Any:
    """Residual blocks over any size of image, up by depth to space of raw TensorFlow."""
    import tensorflow as tf

    image = keras.Input((None, None, 1))
    x = layers.Conv2D(8, 3, padding="same")(image)
    x = layers.Add()(
        [x, layers.Conv2D(8, 3, padding="same")(layers.Conv2D(8, 3, padding="same", activation="relu")(x))]
    )
    x = layers.Conv2D(4, 3, padding="same")(x)
    return keras.Model(image, layers.Lambda(lambda t: tf.nn.depth_to_space(t, 2))(x))


class _Priors(layers.Layer):
    """The boxes and variances that a map's predictions are relative to, for each sample."""

    def call(self, x: Any) -> Any:
        import tensorflow as tf

        rows = tf.constant([[[row / 10.0, 0.5, 0.2, 0.3, 0.1, 0.1] for row in range(16)]])
        return tf.tile(rows, (tf.shape(x)[0], 1, 1))


class _Corners(layers.Layer):
    """Scores, and boxes by their corners, of scores, offsets and priors side by side."""

    def call(self, y: Any) -> Any:
        import tensorflow as tf

        x, width = y[..., -8] * y[..., -2] * y[..., -4] + y[..., -6], tf.exp(y[..., -7] * y[..., -1]) * y[..., -3]
        return tf.concat([y[..., :-8], tf.stack([x - width / 2.0, x + width / 2.0], axis=-1)], axis=-1)


def priors() -> Any:
    """A detector whose priors are joined to what it predicts, and taken from it again (Liu et al. 2016)."""
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(image)
    scores, offsets = (layers.Reshape((16, n))(layers.Conv2D(n, 3, padding="same")(x)) for n in (3, 2))
    return keras.Model(image, _Corners()(layers.Concatenate()([layers.Softmax()(scores), offsets, _Priors()(x)])))


class _WeightedSum(layers.Layer):
    """Feature maps added by weights that sum to one, as in a bidirectional pyramid."""

    def build(self, shapes: Any) -> None:
        self.w = self.add_weight(shape=(len(shapes),), initializer="ones", name="gamma")

    def call(self, maps: Any) -> Any:
        import tensorflow as tf

        w = keras.activations.relu(self.w)
        return tf.reduce_sum([w[i] * maps[i] for i in range(len(maps))], axis=0) / (tf.reduce_sum(w) + 1e-4)


def feature_pyramid() -> Any:
    """Maps of two sizes, up and down again."""
    image = keras.Input((16, 16, 3))
    large = _conv_norm(image, 8, strides=2)
    small = _conv_norm(large, 8, strides=2)
    top = _WeightedSum()([large, layers.UpSampling2D()(small)])
    low = _WeightedSum()([small, layers.MaxPooling2D()(top)])
    return keras.Model(image, [layers.Conv2D(4, 1)(top), layers.Conv2D(4, 1)(low)])


class _Boxes(layers.Layer):
    """One head over the maps of a pyramid, joined with the batch of the image that they come from."""

    def build(self, shapes: Any) -> None:
        self.up, self.head = layers.UpSampling2D(2), layers.Conv2D(8, 3, padding="same", name="head")
        self.head.build(shapes[1])

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf

        image, small = inputs
        maps = [small, self.up(small), tf.nn.relu(small)]
        return tf.concat([tf.reshape(self.head(x), [tf.shape(image)[0], -1, 4]) for x in maps], axis=1)


def pyramid_head() -> Any:
    """Boxes of all maps of a pyramid from one head (Lin et al. 2017)."""
    image = keras.Input((16, 16, 3))
    return keras.Model(image, _Boxes()([image, layers.Conv2D(8, 3, strides=4, padding="same")(image)]))


def spatial_transformer() -> Any:
    """Pixels gathered from a flattened batch of images, at places that the network gives."""
    import tensorflow as tf

    def sample(inputs: Any) -> Any:
        image, shift = inputs
        batch = tf.shape(image)[0]
        places = tf.cast(tf.clip_by_value(shift * 8.0, 0.0, 63.0), tf.int32) + tf.range(batch)[:, None] * 64
        return tf.reshape(tf.gather(tf.reshape(image, [-1, 1]), tf.reshape(places, [-1])), (batch, 4, 4, 1))

    image = keras.Input((8, 8, 1))
    moved = layers.Lambda(sample, output_shape=(4, 4, 1))([image, layers.Dense(16)(layers.Flatten()(image))])
    return keras.Model(image, layers.Conv2D(2, 3)(moved))


class _Latents(layers.Layer):
    """Learned rows, repeated for each sample."""

    def build(self, shape: Any) -> None:
        self.latents = self.add_weight(shape=(4, 8), initializer="random_normal", name="latents")

    def call(self, x: Any) -> Any:
        return ops.tile(ops.expand_dims(self.latents, 0), (ops.shape(x)[0], 1, 1))


def latent_queries() -> Any:
    """Learned latents that attend to a sequence (Jaegle et al. 2021)."""
    sequence = keras.Input((12, 6))
    latents = _Latents()(sequence)
    x = layers.LayerNormalization()(latents)
    x = layers.Add()([latents, layers.MultiHeadAttention(2, 4)(x, sequence)])
    return keras.Model(sequence, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def mixed_tokens() -> Any:
    """Tokens mixed by a Fourier transform whose imaginary part is zeros (Lee-Thorp et al. 2021)."""
    tokens = keras.Input((8, 6))
    real, _ = ops.fft2((tokens, ops.zeros_like(tokens)))
    return keras.Model(tokens, layers.LayerNormalization()(layers.Add()([tokens, real])))


def reparameterized() -> Any:
    """A block in its training form: by three, by one, and the value itself, each normalized (Ding et al. 2021)."""
    x = image = keras.Input((8, 8, 4))
    for _ in range(2):
        branches = [layers.Conv2D(4, size, padding="same", use_bias=False)(x) for size in (3, 1)]
        x = layers.ReLU()(layers.add([layers.BatchNormalization()(branch) for branch in (*branches, x)]))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def channel_shuffle() -> Any:
    """Grouped convolutions whose channels are shuffled, over any size of image."""
    import tensorflow as tf

    def shuffle(x: Any) -> Any:
        rows, columns = tf.shape(x)[1], tf.shape(x)[2]
        x = tf.reshape(x, tf.stack([tf.shape(x)[0], rows, columns, 2, 4]))
        return tf.reshape(tf.transpose(x, [0, 1, 2, 4, 3]), tf.stack([-1, rows, columns, 8]))

    image = keras.Input((None, None, 3))
    x = layers.Lambda(shuffle)(layers.Conv2D(8, 3, padding="same")(image))
    return keras.Model(image, layers.Conv2D(8, 1, groups=2)(x))


def split_channels() -> Any:
    """Units that split their channels, join them again and shuffle them (Ma et al. 2018)."""

    def shuffle(x: Any) -> Any:
        x = layers.Permute((1, 2, 4, 3))(layers.Reshape((8, 8, 2, 4))(x))
        return layers.Reshape((8, 8, 8))(x)

    image = keras.Input((16, 16, 3))
    x = _conv_norm(image, 8, strides=2)
    for _ in range(2):
        kept, rest = ops.split(x, 2, axis=-1)
        x = shuffle(layers.Concatenate()([kept, _conv_norm(layers.DepthwiseConv2D(3, padding="same")(rest), 4, 1)]))
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


def cut_channels() -> Any:
    """A grouped convolution as it was written before there was one: of slices of the image."""
    image = keras.Input((8, 8, 6))
    parts = [layers.Lambda(lambda x, i=i: x[..., 2 * i : 2 * i + 2])(image) for i in range(3)]
    return keras.Model(image, layers.Concatenate()([layers.Conv2D(2, 3)(part) for part in parts]))


def pixel_shuffle() -> Any:
    """Channels to pixels by reshaping, between convolutions."""
    image = keras.Input((6, 6, 3))
    x = layers.Conv2D(12, 3, padding="same", activation="relu")(image)
    x = ops.transpose(ops.reshape(x, (-1, 6, 6, 2, 2, 3)), (0, 1, 3, 2, 4, 5))
    return keras.Model(image, layers.Conv2D(3, 3)(ops.reshape(x, (-1, 12, 12, 3))))


@pytest.mark.parametrize(
    ("network", "transposes"),
    [
        (segmentation, 2),
        (pyramid_pooling, 2),
        (low_light_curves, 3),
        (convolution_mixer, 1),
        (dilated_audio, 0),
        (scan_of_a_volume, 0),
        (generator, 1),
        (points, 2),
        (involution, 1),
        (split_channels, 3),
        (cut_channels, 2),
        (pixel_shuffle, 3),
        (latent_queries, 4),
        (mixed_tokens, 0),
        (reparameterized, 1),
        pytest.param(detector, 2, marks=needs_tensorflow),
        pytest.param(feature_pyramid, 3, marks=needs_tensorflow),
        pytest.param(pyramid_head, 4, marks=needs_tensorflow),
        pytest.param(priors, 3, marks=needs_tensorflow),
        pytest.param(channel_shuffle, 5, marks=needs_tensorflow),
        pytest.param(super_resolution, 0, marks=needs_tensorflow),
    ],
    ids=lambda x: getattr(x, "__name__", x),
)
def test_network(network: Network, transposes: int) -> None:
    converted = check(randomize(network()))
    counts = Counter(node.op_type for node in converted.model.graph)
    assert counts["Transpose"] <= transposes
    assert not {"Gather", "Expand", "Cast"} & set(counts)


def test_what_is_known_of_them_is_computed_before() -> None:
    counts = [
        Counter(node.op_type for node in check(randomize(f())).model.graph) for f in (latent_queries, mixed_tokens)
    ]
    assert counts[0]["MatMul"] == 5  # keys, values, scores, their sum, the output: queries are constants
    assert counts[1]["MatMul"] + counts[1]["Conv"] == 4  # cosines and sines over both axes, of the real part alone
    assert check(randomize(reparameterized())).report.operations["Conv"] == 2


@needs_tensorflow
def test_gathered_pixels_of_an_unknown_batch() -> None:
    counts = Counter(node.op_type for node in check(randomize(spatial_transformer())).model.graph)
    assert counts["Gather"] == 1
    assert counts["Transpose"] == 1
