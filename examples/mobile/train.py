"""Trains the networks of `examples.mobile.model` on digits and writes them; their data is of `examples.cbam_resnet`.

python -m examples.mobile.train [mobilenet] [efficientnet]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import keras
import numpy as np

from examples.cbam_resnet.data import SEED, digits_held_out, digits_split, warped
from examples.mobile.model import efficientnet, mobilenet
from examples.saving import save_model

HERE = Path(__file__).parent
MODELS = {"mobilenet": mobilenet, "efficientnet": efficientnet}
EPOCHS = 60
BATCH = 64


def train(name: str) -> None:
    """Trains one network, prints its held-out accuracy and writes ``digits_NAME.keras``."""
    x, y, _, _ = digits_split()
    keras.utils.set_random_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = MODELS[name]()
    rate = keras.optimizers.schedules.CosineDecay(4e-3, EPOCHS * -(-len(x) // BATCH))
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(keras.optimizers.Adam(rate), loss=loss)
    for _ in range(EPOCHS):
        model.fit(warped(x, rng), np.eye(10)[y], batch_size=BATCH, verbose=0)
    trained = MODELS[name]()
    trained.set_weights(model.get_weights())
    images, labels = digits_held_out()
    right = trained.predict(images, verbose=0).argmax(-1) == labels
    print(f"{name}: {trained.count_params()} parameters, held-out accuracy {right[:360].mean():.4f} of 360, "
          f"{right.mean():.4f} of {len(right)} with warped ones")  # fmt: skip
    save_model(trained, HERE / f"{trained.name}.keras")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(MODELS), metavar="NAME", help=f"of {', '.join(MODELS)}")
    for name in parser.parse_args().names:
        train(name)


if __name__ == "__main__":
    main()
