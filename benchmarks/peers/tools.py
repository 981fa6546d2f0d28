"""The other tools: each runs in an environment of its own, once for each graph; results are kept in build/peers."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
KEPT = Path("build/peers")


@dataclass(frozen=True)
class Tool:
    """``environment``: the option that names its Python. ``method``: the last word of the runner's command."""

    name: str
    environment: str
    method: str


INT8 = (
    Tool("ModelOpt max", "modelopt", "max"),
    Tool("ModelOpt entropy", "modelopt", "entropy"),
    Tool("ONNX Runtime min-max", "onnxruntime", "minmax"),
    Tool("ONNX Runtime entropy", "onnxruntime", "entropy"),
    Tool("ONNX Runtime percentile", "onnxruntime", "percentile"),
    Tool("Sony MCT", "mct", "default"),
)
FP16 = (
    Tool("onnxconverter-common", "onnxruntime", "float16"),
    Tool("ModelOpt AutoCast", "modelopt", "autocast"),
)
"""With ``-io`` behind the method inputs and outputs are FP16 too."""
PACKAGES = {
    "modelopt": ("nvidia-modelopt", "onnxruntime-gpu"),
    "onnxruntime": ("onnxruntime", "onnxconverter-common"),
    "mct": ("model-compression-toolkit", "tensorflow"),
}


def run(tool: Tool, python: Path, graph: Path, calibration: Path, inputs: Path) -> Path | str:
    """The graph that the tool makes, or the last line of what it says where it makes none.

    MCT reads a description of the Keras model beside the graph, and gives the logits for the ``inputs`` (.npz).
    """
    runner = HERE / f"run_{tool.environment}.py"
    if tool.environment == "mct":
        files, kind = [graph.with_suffix(".keras.npz"), calibration, inputs], "npz"
    else:
        files, kind = [graph, calibration], "onnx"
    digest = hashlib.sha256()
    for file in (*files, runner):
        digest.update(file.read_bytes())
    output = KEPT / f"{graph.stem}.{tool.environment}.{tool.method}.{digest.hexdigest()[:12]}.{kind}"
    if output.is_file():
        return output
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(python), str(runner), *map(str, files), tool.method, str(output)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if output.is_file():
        return output
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else f"exit code {done.returncode}"


def versions(python: Path, environment: str) -> str:
    """Names and versions of the tool's packages."""
    code = "import sys, importlib.metadata as m; print(', '.join(f'{n} {m.version(n)}' for n in sys.argv[1:]))"
    command = [str(python), "-c", code, *PACKAGES[environment]]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
