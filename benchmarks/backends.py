"""Converts models under other backends of Keras, and compares what the graphs give with what that backend gives.

python -m benchmarks.backends jax=PYTHON torch=PYTHON [--only NAME,NAME] [-o benchmarks/results/backends.md]

Each backend is named with an interpreter that has it, in an environment without TensorFlow. Each model is measured in
a process of its own: one of keras.applications gets random weights and BatchNormalization statistics of eight random
images, of which two are compared, a reference model its trained weights and its sample. Rows that are in the JSON file
beside the table stay.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.files import replacing
from examples.reference import reference

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
REFERENCES = ("mean_spot", "mean_spot_cbam", "speech", "digits")
APPLICATIONS = (
    *("MobileNetV2", "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "ConvNeXtTiny", "ResNet50V2"),
    *("NASNetMobile", "InceptionV3", "Xception", "DenseNet121", "MobileNet", "ResNet50"),
)
"""The smallest of each family of `keras.applications` that has one of at most 30 million parameters."""
MODELS = (*REFERENCES, *APPLICATIONS)
SIZE = 96
"""Of the images: their graphs have the same operations as at 224."""
PREPROCESSING = ("MobileNetV3", "EfficientNet", "ConvNeXt")
"""Families with Rescaling or Normalization in the model: they take pixel values from 0 to 255."""

Outputs = Callable[[list[NDArray[Any]]], NDArray[Any]]

HEAD = f"""# Other backends of Keras

`python -m benchmarks.backends jax=PYTHON torch=PYTHON`: each model built and converted under that backend, without TensorFlow installed, and run by ONNX Runtime; the largest difference to that backend's own output, of the largest output, and what the backend's own output changes under three random changes of its input by ±2e-7 (`benchmarks/applications.py` has the same for TensorFlow). The applications take {SIZE}x{SIZE} images. `same bytes`: the graph is that of the other backends here to the last byte (models whose weights come from a file).

Where Keras's backends differ among themselves a graph is that of the backend it is converted under: with PyTorch `AveragePooling` with `padding="same"` counts repeated border pixels where the padding is uneven (and is refused for an unknown size), and bicubic resizing has another kernel; `sobel_edges` mirrors the border with TensorFlow alone.

| model | backend | Keras | nodes | error | sensitivity | passed | same bytes |
|---|---|---|---|---|---|---|---|
"""  # noqa: E501


def main() -> None:
    """Measures what is asked for, puts it into the JSON file and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("backends", nargs="*", metavar="BACKEND=PYTHON")
    parser.add_argument("--only", type=lambda text: text.split(","), default=MODELS, metavar="NAME[,NAME]")
    parser.add_argument("--limit", type=int, default=600, help="seconds for each process")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/backends.md"))
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a process that measures this model
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(_measure(arguments.one)))
        return
    kept = arguments.output.with_suffix(".json")
    for name in arguments.only:
        for backend, python in (entry.split("=", 1) for entry in arguments.backends):
            rows = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
            rows[f"{name} {backend}"] = _process(name, backend, python, arguments.limit)
            print(name, backend, rows[f"{name} {backend}"], flush=True)
            for path, text in ((kept, json.dumps(rows, indent=1) + "\n"), (arguments.output, _table(rows))):
                with replacing(path) as temporary:
                    temporary.write_text(text, encoding="utf-8")


def _process(name: str, backend: str, python: str, limit: int) -> dict[str, Any]:
    """One measurement in a process of its own; what went wrong is part of the row."""
    run = {"run": time.strftime("%Y-%m-%d", time.gmtime())}
    try:
        done = subprocess.run(
            [python, "-m", "benchmarks.backends", "--one", name],
            env={**os.environ, "KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {**run, "failure": f"over {limit} s"}
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
        ended = f"ended by signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        return {**run, "failure": ended if done.returncode < 0 or not reasons else reasons[-1][:200]}
    row: dict[str, Any] = {**run, **json.loads(done.stdout.splitlines()[-1])}
    return row


def _measure(name: str) -> dict[str, Any]:
    """Error and sensitivity of one model on the backend at hand, its graph's nodes and hash."""
    import keras
    import onnxruntime

    import converters

    if importlib.util.find_spec("tensorflow") is not None:
        raise SystemExit("TensorFlow is installed in this environment")
    if name in REFERENCES:
        model = converters.load(reference(name).model())
        sample = dict(np.load(reference(name).sample))
        inputs = [sample[x.name] for x in model.inputs]
    else:
        model, inputs = _application(name)

    def outputs(values: list[NDArray[Any]]) -> NDArray[Any]:
        given = values[0] if len(values) == 1 else values
        return np.asarray(keras.ops.convert_to_numpy(model(given, training=False)))

    expected = outputs(inputs)
    scale = float(np.abs(expected).max())
    rng = np.random.default_rng(7)
    changes = []
    for _ in range(3):
        moved = [(x * (1 + rng.choice([-2e-7, 2e-7], x.shape))).astype(x.dtype) for x in inputs]
        changes.append(float(np.abs(outputs(moved) - expected).max()) / scale)
    graph = converters.convert(model).SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found = session.run(None, dict(zip((x.name for x in session.get_inputs()), inputs, strict=True)))[0]
    return {
        "keras": keras.__version__,
        "nodes": len(converters.convert(model).graph.node),
        "error": float(np.abs(found - expected).max()) / scale,
        "sensitivity": max(changes),
        "graph": hashlib.sha256(graph).hexdigest() if name in REFERENCES else "",
    }


def _application(name: str) -> tuple[Any, list[NDArray[Any]]]:
    """The model with random weights, no bias at zero, and the statistics of eight images; two of these."""
    import keras

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, classifier_activation=None, input_shape=(SIZE, SIZE, 3))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype(np.float32))
        elif variable.name in ("beta", "bias"):
            variable.assign(rng.normal(0.0, 0.1, variable.shape).astype(np.float32))
    images = rng.standard_normal((8, *model.input_shape[1:])).astype(np.float32)
    if name.startswith(PREPROCESSING):
        images = np.clip(images * 64 + 128, 0, 255)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(images, training=True)
    return model, [images[:2]]


def _table(rows: dict[str, dict[str, Any]]) -> str:
    text = HEAD
    for key in sorted(rows, key=lambda key: (MODELS.index(key.split()[0]), key)):
        row, (name, backend) = rows[key], key.split()
        if "failure" in row:
            text += f"| {name} | {backend} | {row['failure']} | | | | | |\n"
            continue
        passed = row["error"] <= max(1e-5, 10 * row["sensitivity"])
        others = {x.get("graph") for other, x in rows.items() if other.split()[0] == name}
        same = ("yes" if len(others) == 1 else "no") if row["graph"] else ""
        text += (
            f"| {name} | {backend} | {row['keras']} | {row['nodes']} | {row['error']:.1e} | {row['sensitivity']:.1e} "
            f"| {'yes' if passed else 'no'} | {same} |\n"
        )
    return text


if __name__ == "__main__":
    main()
