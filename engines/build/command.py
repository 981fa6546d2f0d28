"""Build a bundle: the FP32 graph, engines, golden pairs."""

from __future__ import annotations

import argparse

from converters.arguments import add_model_arguments, parse_shapes
from deploy.manifest import Profile


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `kerasrt build`."""
    add = parser.add_argument
    add("model", help="a .keras, .h5 or .onnx file, or a SavedModel folder")
    add("-o", "--output", required=True, metavar="FOLDER", help="the bundle to write, e.g. build/name")
    add(
        "--precision",
        help="engines beside the FP32 graph: fp32, fp16, bf16, int8, fp8 (default: fp16,int8); or auto",
    )
    add("--target", default="auto", help="tensorrt, tensorrt-rtx, onnxruntime (default: the first this machine can)")
    add(
        "--calibration",
        metavar="NPZ",
        help="real samples for INT8, one array per input; a folder of such files; or a TensorRT calibration cache "
        "(with --sample)",
    )
    add(
        "--calibration-method",
        default="auto",
        metavar="METHOD",
        help="minmax, percentile, entropy, mse, output (default: auto, what errs least at the outputs)",
    )
    add(
        "--recipe",
        metavar="FILE",
        help="follow this recipe, perhaps edited by hand, in place of deciding (see kerasrt recipe)",
    )
    add(
        "--budget",
        metavar="LIMIT",
        help="how far from FP32 the outputs may be: top1=0.1pp, agreement=99.5%%, kl=0.01, sqnr=30dB",
    )
    add(
        "--repairs",
        default="",
        metavar="NAMES",
        help="what to try on INT8, kept where it lowers the held-out error: equalize, rounding, biases; or auto, all",
    )
    add("--io-dtype", metavar="TYPE", help="fp16, or by name: image=uint8,scores=fp16 (default: as in the model, fp32)")
    add("--sample", metavar="NPZ", help="real inputs for the golden pairs (default: calibration samples)")
    add("--task", default="", help="classification or regression")
    add("--labels", default="", metavar="A,B,...", help="names of the classes")
    add("--name", help="the model's name (default: the folder's)")
    add("--min-batch", type=int, default=1, metavar="N", help="smallest batch of the engines (default 1)")
    add("--opt-batch", type=int, metavar="N", help="batch they are tuned for (default: the smallest)")
    add("--max-batch", type=int, default=8, metavar="N", help="largest batch of the engines (default 8)")
    add_model_arguments(parser)
    add("--force", action="store_true", help="build even where the bundle is up to date, and calibrate anew")


def run(arguments: argparse.Namespace) -> int:
    """Builds, and says what was built."""
    from engines.build import build

    build(
        arguments.model,
        arguments.output,
        arguments.precision,
        arguments.target,
        arguments.calibration,
        arguments.sample,
        Profile(
            arguments.min_batch,
            arguments.min_batch if arguments.opt_batch is None else arguments.opt_batch,
            arguments.max_batch,
        ),
        parse_shapes(arguments.shapes),
        arguments.name,
        tuple(label.strip() for label in arguments.labels.split(",") if label.strip()),
        arguments.task,
        custom_objects=arguments.custom_objects,
        trust_lambda=arguments.trust_lambda,
        signature=arguments.signature,
        calibration_method=arguments.calibration_method,
        recipe=arguments.recipe,
        io_dtype=arguments.io_dtype,
        budget=arguments.budget,
        repairs=arguments.repairs,
        force=arguments.force,
    )
    return 0
