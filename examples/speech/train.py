"""Speaks the commands, trains on them, and writes the model, a sample input and calibration data.

Needs Debian's espeak-ng: apt-get install espeak-ng
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from examples.saving import save_arrays, save_model
from examples.speech.audio import HELD_OUT, LABELS, SPEAKERS, clip, words
from examples.speech.features import Array, log_mel
from examples.speech.model import speech

HERE = Path(__file__).parent
SEED = 9
EPOCHS = 20


def dataset(
    speakers: tuple[str, ...], takes: int, clips: int, rng: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Spectrograms (items, 64, 40, 1) and labels: ``clips`` noisy clips of each take by each speaker."""
    audio, labels = words(speakers, takes, rng)
    features = [log_mel(clip(word, rng)) for word in audio for _ in range(clips)]
    return np.stack(features), np.repeat(labels, clips)


def main() -> None:
    rng = np.random.default_rng(SEED)
    x, y = dataset(tuple(s for s in SPEAKERS if s not in HELD_OUT), 12, 2, rng)
    x_test, y_test = dataset(HELD_OUT, 4, 1, rng)
    keras.utils.set_random_seed(SEED)
    model = speech(len(LABELS))
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * -(-len(x) // 64))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=EPOCHS, verbose=2)
    trained = speech(len(LABELS))
    trained.set_weights(model.get_weights())
    predicted = trained.predict(x_test, verbose=0).argmax(-1)
    accuracy = float(np.mean(predicted == y_test))
    print(f"speech: {len(x)} clips; held-out voices: accuracy {accuracy:.4f} of {len(y_test)} clips")
    save_model(trained, HERE / "speech.keras")
    save_arrays(HERE / "calibration.npz", spectrogram=x[rng.choice(len(x), 80, replace=False)])
    save_arrays(HERE / "input.npz", spectrogram=x_test[: len(LABELS)])


if __name__ == "__main__":
    main()
