"""Convert a Keras model file to ONNX."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from converters.arguments import add_model_arguments, parse_shapes
from converters.convert import EXPORTERS, LAYOUTS, Conversion, convert_model
from converters.export import write
from converters.loading import load
from deploy.errors import ConversionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `kerasrt convert`."""
    parser.add_argument("model", help="a .keras or .h5 file, or a SavedModel folder")
    parser.add_argument("-o", "--output", required=True, help="the ONNX file to write")
    parser.add_argument("--opset", type=int, help="ONNX opset, 17 to 24 (default: the lowest that the graph needs)")
    parser.add_argument("--input-layout", choices=LAYOUTS, default="nhwc", help="layout of image inputs (default nhwc)")
    parser.add_argument(
        "--exporter", choices=EXPORTERS, default="auto", help="auto: own lowering, tf2onnx for the rest"
    )
    add_model_arguments(parser)
    parser.add_argument("--explain", action="store_true", help="print what became of each layer")


def run(arguments: argparse.Namespace) -> int:
    """Converts, writes, and says what was written."""
    if Path(arguments.output).suffix != ".onnx":
        raise ConversionError(
            "the output is an ONNX file",
            where=f"-o {arguments.output}",
            expected="a name that ends in .onnx",
            fix=f"-o {Path(arguments.output).with_suffix('.onnx')}",
        )
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # its allocator keeps what is freed; nothing is computed here
    model = load(
        arguments.model,
        arguments.custom_objects,
        trust_lambda=arguments.trust_lambda,
        signature=arguments.signature,
    )
    conversion = convert_model(
        model,
        opset=arguments.opset,
        input_layout=arguments.input_layout,
        exporter=arguments.exporter,
        shapes=parse_shapes(arguments.shapes),
    )
    write(conversion, arguments.output)
    if arguments.explain:
        _explain(conversion)
    report = conversion.report
    transposes = report.operations.get("Transpose", 0)
    print(f"{arguments.output}: {report.nodes} nodes, {transposes} Transpose, converted in {report.seconds:.2f} s")
    return 0


def _explain(conversion: Conversion) -> None:
    for layer in conversion.report.layers:
        became = ", ".join(layer.nodes) or "nothing of its own"
        print(f"{layer.path}  {layer.layer}  {layer.way}  {became}" + (f"  ({layer.why})" if layer.why else ""))
    sys.stdout.flush()
