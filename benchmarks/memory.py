"""Converts models file to file and writes the memory and time that it takes, beside the size of the weights.

python -m benchmarks.memory [--only NAME,NAME] [-o benchmarks/results/memory.md]

The last one is over protobuf's 2 GB; it needs about 9 GB of memory and of disk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LARGE = "VGG16 at 512x512"
"""Its first Dense kernel alone has 2^31 bytes, one more than a protobuf message may have."""
MODELS = ("CBAMResNet50", "ResNet152", "VGG16", LARGE)

HEAD = """# Memory of a conversion, file to file

`python -m benchmarks.memory`: `converters.export(model.keras, model.onnx)` in a process of its own; the peak of its resident memory less what it has with everything imported and a small model converted, and the processor time of all its threads. Then ONNX Runtime loads what was written, in a process of its own, and runs it on a random image; the error is the largest difference to what Keras gave before the model was saved, of the largest logit. Over 2 GB the weights are in a second file, `model.onnx.data`.

| model | weights MiB | more memory MiB | times the weights | processor seconds | .onnx MiB | .onnx.data MiB | error |
|---|---|---|---|---|---|---|---|
"""  # noqa: E501


def main() -> None:
    """Measures each model in processes of its own and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=lambda text: text.split(","), default=MODELS, metavar="NAME[,NAME]")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/memory.md"))
    arguments = parser.parse_args()
    text = HEAD
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.keras")
            weights = _apart(_save, name, path)
            more, seconds = _apart(_export, path)
            path.unlink()
            error = _apart(_error, path.with_suffix(".onnx"))
            graph, data = (_mib(path.with_name(file)) for file in ("model.onnx", "model.onnx.data"))
        text += (
            f"| {name} | {weights / 2**20:.0f} | {more / 2**20:.0f} | {more / weights:.2f} | {seconds:.1f} "
            f"| {graph} | {data} | {error:.1e} |\n"
        )
        print(text.splitlines()[-1], flush=True)
    arguments.output.write_text(text, encoding="utf-8")


def _apart(function: Any, *arguments: Any) -> Any:
    """A function's result from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def _save(name: str, path: Path) -> int:
    """Saves the model, an image and its logits beside it; gives the bytes of the weights."""
    import keras

    from examples.cbam_resnet.model import resnet

    keras.utils.set_random_seed(0)
    if name == "CBAMResNet50":
        model: Any = resnet(50, attention="cbam")
    else:
        sized = {"input_shape": (512, 512, 3)} if name == LARGE else {}
        application = getattr(keras.applications, name.partition(" ")[0])
        model = application(weights=None, classifier_activation=None, **sized)
    image = np.random.default_rng(0).standard_normal((1, *model.input_shape[1:])).astype(np.float32)
    np.savez(path.with_suffix(".npz"), image=image, logits=np.asarray(model(image, training=False)))
    model.save(path)
    return sum(4 * variable.value.shape.num_elements() for variable in model.variables)


def _export(path: Path) -> tuple[int, float]:
    """Bytes of memory that the export takes beyond what is there before it, and seconds of the processor."""
    import keras

    import converters

    small = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    )
    small_path = path.with_name("small.keras")
    small.save(small_path)
    converters.export(small_path, path.with_name("small.onnx"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    converters.export(path, path.with_suffix(".onnx"))
    seconds = time.process_time() - start
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), seconds


def _error(path: Path) -> float:
    """Largest difference between ONNX Runtime's logits and Keras's, of the largest logit."""
    import onnxruntime

    pairs = np.load(path.with_suffix(".npz"))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: pairs["image"]})
    return float(np.abs(logits - pairs["logits"]).max() / np.abs(pairs["logits"]).max())


def _mib(path: Path) -> str:
    return f"{path.stat().st_size / 2**20:.2f}" if path.exists() else ""


if __name__ == "__main__":
    main()
