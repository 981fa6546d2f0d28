"""Builds reference models into bundles, build/NAME each; the first one named becomes build/current."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path

from deploy.errors import KerasrtError
from examples.reference import HERE, REFERENCES, Reference, reference

ROOT = HERE.parent
LINK = "input.npz"
"""In the project's root: a link to the sample input of the model in build/current."""


def link_sample(sample: Path, root: Path = ROOT) -> bool:
    """Makes ``root/input.npz`` a link to ``sample``, in one step; returns whether it is one now.

    A file of the user's own in that place is left alone. Raises KerasrtError where the link cannot be written.
    """
    link = root / LINK
    if link.exists() and not link.is_symlink():
        return False
    target = os.path.relpath(sample.resolve(), root.resolve())
    if link.is_symlink() and os.readlink(link) == target:
        return True
    temporary = root / f".{LINK}.{os.getpid()}"
    try:
        os.symlink(target, temporary)
        os.replace(temporary, link)
    except OSError as error:
        raise KerasrtError(
            f"the link to the sample input cannot be written ({error.strerror})",
            where=str(link),
            fix=f"give the sample itself: python -m deploy.infer {target}",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return True


def build_reference(entry: Reference, output: Path, precision: str, target: str) -> None:
    """Builds one reference model into ``output / entry.name``. Raises what `engines.build` raises."""
    import engines

    engines.build(
        entry.model(),
        output / entry.name,
        precision=precision,
        target=target,
        calibration=entry.calibration,
        sample=entry.sample,
        task=entry.task,
        labels=entry.labels,
        name=entry.name,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"all, or of {', '.join(REFERENCES)}")
    parser.add_argument("--precision", default="fp16,int8", help="beside FP32, comma-separated (default: fp16,int8)")
    parser.add_argument("--target", default="auto", help="as for engines.build (default: auto)")
    parser.add_argument("-o", "--output", type=Path, default=Path("build"), metavar="FOLDER", help="default: build")


def run(arguments: argparse.Namespace) -> int:
    from deploy.bundle import set_current

    names = list(REFERENCES) if arguments.names == ["all"] else arguments.names
    entries = [reference(name) for name in names]
    for entry in entries:
        build_reference(entry, arguments.output, arguments.precision, arguments.target)
    first = entries[0]
    set_current(arguments.output / first.name)
    if not link_sample(first.sample):
        print(f"{LINK} is a file of your own and was left alone; the sample input is {first.sample}")
    return 0


if __name__ == "__main__":
    from deploy.cli import run_module

    run_module(sys.modules[__name__])
