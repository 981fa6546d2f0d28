"""Trains the small CBAM-ResNet on digits and writes the model, a sample input and calibration data."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from examples.cbam_resnet.data import SEED, digits_split, warped
from examples.cbam_resnet.model import digits
from examples.saving import save_arrays, save_model

HERE = Path(__file__).parent
EPOCHS = 40
BATCH = 32


def main() -> None:
    x, y, x_test, y_test = digits_split()
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = digits()
    rate = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * -(-len(x) // BATCH))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(keras.optimizers.Adam(rate), loss=loss, metrics=["accuracy"])
    for _ in range(EPOCHS):
        model.fit(warped(x, rng), np.eye(10)[y], batch_size=BATCH, verbose=2)
    trained = digits()
    trained.set_weights(model.get_weights())
    accuracy = float(np.mean(trained.predict(x_test, verbose=0).argmax(-1) == y_test))
    print(f"digits: held-out accuracy {accuracy:.4f} of {len(y_test)} items")
    save_model(trained, HERE / "digits.keras")
    save_arrays(HERE / "calibration.npz", image=x[:256])
    save_arrays(HERE / "input.npz", image=x_test[:8])


if __name__ == "__main__":
    main()
