"""Prove that a bundle equals its Keras model, and by how much."""

from __future__ import annotations

import argparse
from typing import Any

from deploy.cli import add_backend_arguments, add_bundle_argument
from deploy.errors import InputError
from deploy.interrupts import import_module
from deploy.parity import report
from deploy.parity.compare import Parity
from deploy.verify import verify


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_bundle_argument(parser)
    add_backend_arguments(parser)
    parser.add_argument(
        "--reference",
        metavar="MODEL",
        help="the Keras model (.keras, .h5), run here; without it the outputs recorded at export are taken",
    )
    parser.add_argument(
        "--input", metavar="NPZ", help="inputs to compare on, with --reference (default: the golden ones)"
    )
    parser.add_argument(
        "--layers", action="store_true", help="compare every Keras layer and name the first that diverges"
    )
    parser.add_argument(
        "--custom-objects",
        action="append",
        default=[],
        metavar="MODULE:CLASS",
        help="a class of your own that the reference needs; may be repeated",
    )


def run(arguments: argparse.Namespace) -> int:
    parity = verify(
        arguments.bundle,
        arguments.reference,
        arguments.layers,
        inputs=arguments.input,
        backend=arguments.backend,
        precision=arguments.precision,
        custom_objects=dict(_custom_object(text) for text in arguments.custom_objects),
    )
    print(f"{parity.precision} on {parity.backend} against {parity.reference}, {report.samples(parity)}")
    print("\n".join(report.table(parity.outputs)))
    if arguments.layers:
        print("\nlayers of the FP32 graph (onnxruntime-cpu)")
        print("\n".join(layer_lines(parity)))
    print(f"\nparity  {report.verdict(parity)}")
    return 0 if parity.passed else 1


def layer_lines(parity: Parity) -> list[str]:
    """A table of the layers that were compared, and the first that diverges."""
    if not parity.layers:
        return ["none can be compared: the graph holds none of those that were recorded"]
    first = parity.first_diverging
    found = "no layer diverges" if first is None else f"the first layer that diverges: {first.name}"
    return [*report.table(parity.layers), found]


def _custom_object(text: str) -> tuple[str, Any]:
    module, _, name = text.partition(":")
    try:
        return name, getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        fix = "write module:Class, and start where that module can be imported"
        raise InputError(f"cannot be imported ({error})", where=f"--custom-objects {text}", fix=fix) from error
