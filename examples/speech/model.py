"""A small command recogniser in Keras: convolutions of one frame by three bands."""

from __future__ import annotations

import keras
from keras import layers

from examples.speech.features import BANDS, FRAMES


def speech(classes: int = 8) -> keras.Model:
    """The untrained model. Input ``spectrogram``: (batch, 64 frames, 40 bands, 1); output ``logits``: (batch, 8)."""
    inputs = keras.Input((FRAMES, BANDS, 1), name="spectrogram")
    x = inputs
    for i in (1, 2, 3):
        x = layers.Conv2D(16, (1, 3), strides=(1, 2), name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
    x = layers.MaxPooling2D((8, 1), name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(classes, name="logits")(x)
    return keras.Model(inputs, x, name="speech")
