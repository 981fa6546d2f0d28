"""Writes an untrained ResNet at 224x224x3, its statistics calibrated on real photographs, and its data."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.cbam_resnet.data import SEED, photographs
from examples.saving import save_arrays, save_model

SAMPLE, CALIBRATION = "photographs.npz", "photographs_calibration.npz"
"""Files beside the model: a sample input of two photographs, and 32 others to calibrate with."""


def make(depth: int, attention: str | None, output: Path) -> None:
    """Writes the model to ``output`` (.keras) and the data beside it; half a minute or less."""
    import keras

    from examples.cbam_resnet.model import calibrate_batch_norm, resnet

    images = photographs(34)
    keras.utils.set_random_seed(SEED)
    model = resnet(depth, attention)
    calibrate_batch_norm(model, images[2:18], SEED)
    save_arrays(output.parent / SAMPLE, image=images[:2])
    save_arrays(output.parent / CALIBRATION, image=images[2:])
    save_model(model, output)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--depth", type=int, choices=[50, 101, 152], default=50)
    parser.add_argument("--attention", choices=["cbam"], help="put a CBAM layer into every block")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .keras file to write")


def run(arguments: argparse.Namespace) -> int:
    make(arguments.depth, arguments.attention, arguments.output)
    return 0


if __name__ == "__main__":
    from deploy.cli import run_module

    run_module(sys.modules[__name__])
