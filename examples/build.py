"""Builds reference models into bundles, build/NAME each; the first one named becomes build/current."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from deploy.files import replacing
from deploy.manifest import Profile
from examples.reference import HERE, REFERENCES, Reference, reference

ROOT = HERE.parent
SAMPLE = "input.npz"
"""In the project's root: a copy of the sample input of the model in build/current."""


def copy_sample(sample: Path, root: Path = ROOT) -> bool:
    """Makes ``root/input.npz`` a copy of ``sample``, whole or not at all; returns whether it is one now.

    A file of the user's own in that place, one that is no reference model's sample, is left alone. Raises KerasrtError
    where the copy cannot be written.
    """
    place = root / SAMPLE
    if place.is_file() and not place.is_symlink():
        present = place.read_bytes()
        ours = (entry.sample for entry in REFERENCES.values() if entry.sample.is_file())
        if present not in [sample.read_bytes(), *(path.read_bytes() for path in ours)]:
            return False
    with replacing(place) as temporary:
        shutil.copyfile(sample, temporary)
    return True


def build_reference(
    entry: Reference, output: Path, precision: str | None, target: str, max_batch: int = 8, budget: str | None = None
) -> None:
    """Builds one reference model into ``output / entry.name``. Raises what `engines.build` raises."""
    import engines

    engines.build(
        entry.model(),
        output / entry.name,
        precision=precision,
        target=target,
        profile=Profile(maximum=max_batch),
        calibration=entry.calibration,
        budget=budget,
        sample=entry.sample,
        task=entry.task,
        labels=entry.labels,
        name=entry.name,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or of {', '.join(REFERENCES)}")
    parser.add_argument("--precision", help="as for engines.build (default: fp16,int8 as far as they suit the target)")
    parser.add_argument("--budget", metavar="LIMIT", help="as for engines.build, e.g. sqnr=30dB")
    parser.add_argument("--target", default="auto", help="as for engines.build (default: auto)")
    parser.add_argument(
        "--max-batch", type=int, default=8, metavar="N", help="largest batch of the engines (default 8)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("build"), metavar="FOLDER", help="default: build")


def run(arguments: argparse.Namespace) -> int:
    from deploy.bundle import set_current

    names = list(REFERENCES) if arguments.names == ["all"] else arguments.names
    entries = [reference(name) for name in names]
    for entry in entries:
        options = (arguments.precision, arguments.target, arguments.max_batch, arguments.budget)
        build_reference(entry, arguments.output, *options)
    first = entries[0]
    set_current(arguments.output / first.name)
    if not copy_sample(first.sample):
        print(f"{SAMPLE} is a file of your own and was left alone; the sample input is {first.sample}")
    return 0


if __name__ == "__main__":
    from deploy.cli import run_module

    run_module(sys.modules[__name__])
