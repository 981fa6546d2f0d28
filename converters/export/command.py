"""Convert a Keras model file to ONNX."""

from __future__ import annotations

import argparse
import json
import sys

from converters.convert import EXPORTERS, LAYOUTS, Conversion, convert_model
from converters.export import write
from converters.loading import load
from deploy.errors import ConversionError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `kerasrt convert`."""
    parser.add_argument("model", help="a .keras or .h5 file, or a SavedModel folder")
    parser.add_argument("-o", "--output", required=True, help="the ONNX file to write")
    parser.add_argument("--opset", type=int, help="ONNX opset (default 18)")
    parser.add_argument("--input-layout", choices=LAYOUTS, default="nhwc", help="layout of image inputs (default nhwc)")
    parser.add_argument(
        "--exporter", choices=EXPORTERS, default="auto", help="auto: own lowering, tf2onnx for the rest"
    )
    parser.add_argument(
        "--shapes", metavar="JSON", help="sizes Keras leaves open, e.g. '{\"image\": [null, 224, 224, 3]}'"
    )
    parser.add_argument("--custom-objects", nargs="+", metavar="MODULE:CLASS", help="classes the model file refers to")
    parser.add_argument("--trust-lambda", action="store_true", help="load Lambda layers: runs code that is in the file")
    parser.add_argument("--explain", action="store_true", help="print what became of each layer")


def run(arguments: argparse.Namespace) -> int:
    """Converts, writes, and says what was written."""
    model = load(arguments.model, arguments.custom_objects, trust_lambda=arguments.trust_lambda)
    conversion = convert_model(
        model,
        opset=arguments.opset,
        input_layout=arguments.input_layout,
        exporter=arguments.exporter,
        shapes=_shapes(arguments.shapes),
    )
    write(conversion, arguments.output)
    if arguments.explain:
        _explain(conversion)
    report = conversion.report
    transposes = report.operations.get("Transpose", 0)
    print(f"{arguments.output}: {report.nodes} nodes, {transposes} Transpose, converted in {report.seconds:.2f} s")
    return 0


def _shapes(text: str | None) -> dict[str, list[int | None]] | None:
    if text is None:
        return None
    try:
        shapes = json.loads(text)
        if not isinstance(shapes, dict) or not all(isinstance(value, list) for value in shapes.values()):
            raise ValueError("not an object of lists")
    except ValueError as error:
        raise ConversionError(
            f"cannot be read ({error})",
            where="--shapes",
            expected='JSON such as {"image": [null, 224, 224, 3]}',
            found=text,
        ) from error
    return shapes


def _explain(conversion: Conversion) -> None:
    for layer in conversion.report.layers:
        became = ", ".join(layer.nodes) or "nothing of its own"
        print(f"{layer.path}  {layer.layer}  {layer.way}  {became}" + (f"  ({layer.why})" if layer.why else ""))
    sys.stdout.flush()
