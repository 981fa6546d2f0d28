"""Trains MEAN_Spot, or its CBAM form (--attention cbam); writes the model, a sample input and calibration data."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from examples.mean_spot.data import Samples, samples, split
from examples.saving import save_arrays, save_model

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).parent
SEED = 9
TEST_SEED = 10


def scores(model: keras.Model, data: Samples) -> tuple[float, float]:
    """Area under the ROC curve and mean squared error of the model's scores."""
    from sklearn.metrics import roc_auc_score

    spot = model.predict(data.inputs(), batch_size=256, verbose=0)[:, 0]
    return float(roc_auc_score(data.label, spot)), float(np.mean((spot - data.label) ** 2))


def train(attention: str | None, data: Samples, epochs: int) -> keras.Model:
    """A trained model, uncompiled."""
    import keras

    from examples.mean_spot.model import mean_spot

    keras.utils.set_random_seed(SEED)
    model = mean_spot(attention)
    steps = epochs * -(-len(data.label) // 64)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    model.compile(keras.optimizers.Adam(rate), loss="mse")
    model.fit(data.inputs(), data.label, batch_size=64, epochs=epochs, verbose=2)
    trained = mean_spot(attention)
    trained.set_weights(model.get_weights())
    return trained


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attention", choices=["cbam"], help="add a CBAM-ResNet module after the merge")
    parser.add_argument("--epochs", type=int, default=16)
    arguments = parser.parse_args()
    seen, unseen = split()
    data, held_out = samples(seen, 12, SEED, stride=3), samples(unseen, 4, TEST_SEED, stride=2)
    model = train(arguments.attention, data, arguments.epochs)
    auc, error = scores(model, held_out)
    print(f"{model.name}: held-out faces: AUC {auc:.4f}, mean squared error {error:.4f}, {len(held_out.label)} items")
    save_model(model, HERE / f"{model.name}.keras")
    some = np.random.default_rng(SEED).choice(len(data.label), 96, replace=False)
    save_arrays(HERE / "calibration.npz", **{name: values[some] for name, values in data.inputs().items()})
    few = [*np.flatnonzero(held_out.label == 1)[5:80:20], *np.flatnonzero(held_out.label == 0)[5:80:20]]
    save_arrays(HERE / "input.npz", **{name: values[few] for name, values in held_out.inputs().items()})


if __name__ == "__main__":
    main()
