"""Converts every model of keras.applications, and ResNet50 with attention, beside Keras's export and tf2onnx.

python -m benchmarks.applications [--only NAME,NAME] [--exporters NAME,NAME] [--limit 600] [--data FOLDER] [-o FILE]

Each model is prepared: random weights with no bias at zero, BatchNormalization statistics of one training-mode pass,
two random images, Keras's logits and their sensitivity; a model that lies in the data folder is taken from there. Then
each exporter converts it in a process of its own with a time limit. What is asked for is measured, the rows take the
place of older ones in a JSON file beside the table, and the table is written from all rows of that file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.applications_table import EXPORTERS, read, table, write
from deploy.files import replacing

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
FAMILIES = {
    "MobileNet": ("", "V2", "V3Small", "V3Large"),
    "EfficientNet": ("B0", "B1", "B2", "B3", "B4", "B5", "B6", "B7"),
    "EfficientNetV2": ("B0", "B1", "B2", "B3", "S", "M", "L"),
    "NASNet": ("Mobile", "Large"),
    "Inception": ("V3", "ResNetV2"),
    "Xception": ("",),
    "DenseNet": ("121", "169", "201"),
    "ResNet": ("50", "101", "152", "50V2", "101V2", "152V2"),
    "ConvNeXt": ("Tiny", "Small", "Base", "Large", "XLarge"),
    "VGG": ("16", "19"),
}
RESNETS = ("CBAMResNet50", "SEResNet50", "ECAResNet50")
MODELS = (*RESNETS, *(family + variant for family, variants in FAMILIES.items() for variant in variants))
PREPROCESSING = ("MobileNetV3", "EfficientNet", "ConvNeXt")
"""Families with Rescaling or Normalization in the model: they take pixel values from 0 to 255."""


def main() -> None:
    """Measures what is asked for, puts it into the JSON file and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", type=_names(MODELS), default=MODELS, metavar="NAME[,NAME]", help="models, else all")
    parser.add_argument("--exporters", type=_names(EXPORTERS), default=EXPORTERS, metavar="NAME[,NAME]")
    parser.add_argument("--limit", type=int, default=600, help="seconds for each process")
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "kerasrt-applications")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/applications.md"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a process that measures: model, what to do
    arguments = parser.parse_args()
    data: Path = arguments.data
    data.mkdir(parents=True, exist_ok=True)
    if arguments.one:
        name, step = arguments.one
        print(json.dumps(_prepare(name, data) if step == "prepare" else _measure(name, step, data)))
        return
    kept = arguments.output.with_suffix(".json")
    run = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    for name in arguments.only:
        for step in ("prepare", *arguments.exporters):
            rows = read(kept)
            if step == "prepare" and (name, step) in rows and (data / f"{name}.npz").exists():
                continue
            rows[name, step] = {"run": run, **_process(name, step, data, arguments.limit)}
            print(name, step, rows[name, step], flush=True)
            write(rows, MODELS, kept)
            with replacing(arguments.output) as path:
                path.write_text(table(rows, MODELS), encoding="utf-8")


def _names(allowed: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        if unknown := set(found) - set(allowed):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not among {', '.join(allowed)}")
        return found

    return names


def _process(name: str, step: str, data: Path, limit: int) -> dict[str, Any]:
    """One measurement in a process of its own; what went wrong is part of the row."""
    command = [sys.executable, "-m", "benchmarks.applications", "--one", name, step, "--data", str(data)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"failure": f"over {limit} s"}
    if done.returncode < 0:
        return {"failure": f"the process was ended by {signal.Signals(-done.returncode).name}"}
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
        return {"failure": reasons[-1][:200] if reasons else f"exit status {done.returncode}"}
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def build(name: str) -> Any:
    """The untrained model, with logits as its output."""
    import keras

    from examples.cbam_resnet.model import resnet

    if name == "CBAMResNet50":
        return resnet(50, attention="cbam")
    if name not in RESNETS:
        sized = {"input_shape": (224, 224, 3)} if name.startswith("MobileNetV3") else {}  # unknown unless given
        return getattr(keras.applications, name)(weights=None, classifier_activation=None, **sized)
    attend = _squeeze_excite if name == "SEResNet50" else _efficient_channel_attention

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        x = layer(*args, **kwargs)
        return attend(x) if layer.name.endswith("_3_bn") else x

    return keras.models.clone_model(build("ResNet50"), call_function=call)


def _squeeze_excite(x: Any, ratio: int = 16) -> Any:
    """Hu et al. 2018, with Dense layers on the pooled vector."""
    from keras import layers

    channels = x.shape[-1]
    gate = layers.Dense(channels // ratio, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Dense(channels, activation="sigmoid")(gate)
    return layers.Multiply()([x, layers.Reshape((1, 1, channels))(gate)])


def _efficient_channel_attention(x: Any, kernel: int = 5) -> Any:
    """Wang et al. 2020: a convolution over the pooled channels."""
    from keras import layers

    channels = x.shape[-1]
    gate = layers.Reshape((channels, 1))(layers.GlobalAveragePooling2D()(x))
    gate = layers.Conv1D(1, kernel, padding="same", use_bias=False, activation="sigmoid")(gate)
    return layers.Multiply()([x, layers.Reshape((1, 1, channels))(gate)])


def _prepare(name: str, data: Path) -> dict[str, Any]:
    """Random weights, statistics of one training-mode pass, two images, Keras's logits and how sensitive they are."""
    import keras

    keras.utils.set_random_seed(0)
    model = build(name)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if variable.name == "gamma":
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias"):
            variable.assign(rng.normal(0.0, 0.1, variable.shape))
    images = rng.standard_normal((4, *model.input_shape[1:])).astype(np.float32)
    if name.startswith(PREPROCESSING):
        images = np.clip(images * 64 + 128, 0, 255)
    norms = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    if norms:
        model(images, training=True)
    images = images[:2]
    logits = np.asarray(model(images, training=False))
    scale = float(np.abs(logits).max())
    changes = []
    for _ in range(3):
        moved = images * (1 + rng.choice([-2e-7, 2e-7], images.shape)).astype(np.float32)
        changes.append(float(np.abs(np.asarray(model(moved, training=False)) - logits).max()) / scale)
    model.save_weights(data / f"{name}.weights.h5")
    np.savez(data / f"{name}.npz", images=images, logits=logits)  # last: its presence says that all is there
    weights = sum(int(np.prod(variable.shape)) * 4 for variable in model.variables)
    return {"sensitivity": max(changes), "weights_mib": weights / 2**20}


def _measure(name: str, exporter: str, data: Path) -> dict[str, Any]:
    """One conversion to a file: processor seconds, additional peak memory, nodes, and the error of what it gives."""
    import onnx
    import onnxruntime

    model = build(name)
    model.load_weights(data / f"{name}.weights.h5")
    model(np.load(data / f"{name}.npz")["images"][:1])  # Keras's export refuses a model that was never called
    convert = {"kerasrt": _kerasrt, "keras": _keras, "tf2onnx": _tf2onnx}[exporter]
    _import(exporter)
    with tempfile.TemporaryDirectory(dir=data) as folder:
        path = Path(folder) / "model.onnx"
        with peak_memory() as memory:
            start = time.process_time()  # of all threads: the machine may be busy with other things
            convert(model, path)
            seconds = time.process_time() - start
        row = {"cpu_seconds": seconds, "memory_mib": memory[0], **_counts(path)}
        try:
            onnx.checker.check_model(path, full_check=True)
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            if len(session.get_inputs()) != 1:
                raise ValueError(f"the graph has {len(session.get_inputs())} inputs")
            pairs = np.load(data / f"{name}.npz")
            logits = session.run(None, {session.get_inputs()[0].name: pairs["images"]})[0]
            row["error"] = float(np.abs(logits - pairs["logits"]).max() / np.abs(pairs["logits"]).max())
        except Exception as error:  # whatever the checker or the runtime says of a peer's graph
            row["failure"] = " ".join(str(error).split())[:200]
    return row


def _counts(path: Path) -> dict[str, Any]:
    """Nodes and Transposes, and the nodes that onnxslim leaves (the external data beside the file is not read)."""
    import onnx
    import onnxslim

    graph = onnx.load(path, load_external_data=False).graph
    counts = Counter(node.op_type for node in graph.node)
    row: dict[str, Any] = {"nodes": sum(counts.values()), "transposes": counts["Transpose"]}
    try:
        slim = onnxslim.slim(str(path))
        row["slimmed"] = len(slim.graph.node)
        row["slimmed_transposes"] = sum(node.op_type == "Transpose" for node in slim.graph.node)
    except Exception as error:  # an invalid graph
        row["slim_failure"] = " ".join(str(error).split())[:200]
    return row


def _import(exporter: str) -> None:
    """Loads what an exporter is made of, which is not its time."""
    modules = ["tf2onnx.convert", "tf2onnx.tfonnx"]  # with all that they use; tf2onnx alone would load them when asked
    if exporter == "kerasrt":
        modules = [x.name for x in pkgutil.iter_modules(importlib.import_module("converters").__path__, "converters.")]
    for module in modules:
        importlib.import_module(module)


def _kerasrt(model: Any, path: Path) -> None:
    from converters.convert import convert_model
    from converters.export import write

    write(convert_model(model), path)


def _keras(model: Any, path: Path) -> None:
    model.export(path, format="onnx", verbose=False)


def _tf2onnx(model: Any, path: Path) -> None:
    import tensorflow as tf
    import tf2onnx

    shape = (None, *model.input_shape[1:])
    function = tf.function(lambda x: model(x, training=False))
    signature = [tf.TensorSpec(shape, tf.float32, name="image")]
    tf2onnx.convert.from_function(function, input_signature=signature, opset=18, output_path=str(path))


@contextmanager
def peak_memory(interval: float = 0.002) -> Iterator[list[float]]:
    """Gives a list whose one number, after the block, is the additional peak of resident memory in it, in MiB."""
    page = os.sysconf("SC_PAGE_SIZE")

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * page

    before = highest = resident()
    found, done = [0.0], threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(interval):
            highest = max(highest, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
        found[0] = (max(highest, resident()) - before) / 2**20


if __name__ == "__main__":
    main()
