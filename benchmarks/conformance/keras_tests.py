"""Other people's cases: what Keras's own tests of its layers and operations call, converted and compared.

Keras's wheel carries its tests. They run here as they are, and what they call is recorded: each layer that goes through
`run_layer_test`, and each call of a `keras.ops` function on arrays. Nothing of them is copied.

python -m benchmarks.conformance.keras_tests [-o benchmarks/results/keras_tests.md]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import inspect
import json
import os
import subprocess
import sys
import tempfile
import types
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import pytest
from keras import ops, tree
from keras.src import testing

from benchmarks.conformance.cases import Case, Given
from benchmarks.conformance.running import (
    CRASHED,
    EQUAL,
    NO_CASE,
    REFUSED,
    WRONG,
    Outcome,
    assess,
    one_line,
    reference,
)
from tests.converters import checking

MODULES = {
    "layers": ["keras.src.layers"],
    "ops": [f"keras.src.ops.{name}_test" for name in ("core", "einops", "image", "linalg", "math", "nn", "numpy")],
}
NOT_OPERATIONS = (
    "convert_to_numpy",
    "convert_to_tensor",
    "is_tensor",
    "dtype",
    "shape",
    "array",
    "jvp",
    "custom_gradient",
)


@dataclass
class Recorder:
    """Writes each distinct case into the journal, before and after it ran; what runs inside of one is no case."""

    journal: Path
    seen: set[str] = field(default_factory=set)
    inside: bool = False

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.inside, before = True, self.inside
        try:
            yield
        finally:
            self.inside = before

    def record(self, label: str, subject: str, build: Callable[[], tuple[keras.Model, list[Any]]]) -> None:
        """Runs a case unless it was there before."""
        case = Case(subject, label, ())
        if label in self.seen:
            return
        self.seen.add(label)
        with self.alone(), self.journal.open("a", encoding="utf-8") as journal:
            journal.write(json.dumps({"label": label}) + "\n")
            journal.flush()
            outcome = self._run(case, build)
            journal.write(json.dumps(asdict(outcome)) + "\n")

    def _run(self, case: Case, build: Callable[[], tuple[keras.Model, list[Any]]]) -> Outcome:
        try:
            model, inputs = build()
            runs = {len(inputs[0]): inputs}
            expected = {batch: reference(model, x) for batch, x in runs.items()}
        except Exception as error:
            return Outcome(case, NO_CASE, one_line(error))
        return assess(case, model, runs, expected)


class Call(keras.layers.Layer):
    """A layer that calls a function with its inputs in their places."""

    def __init__(self, function: Callable[..., Any], structure: Any, places: list[int]) -> None:
        super().__init__(autocast=False, name="call")
        self.function, self.structure, self.places = function, [structure], places

    def call(self, inputs: Any) -> Any:
        leaves = tree.flatten(self.structure[0])
        for place, value in zip(self.places, inputs, strict=True):
            leaves[place] = value
        args, kwargs = tree.pack_sequence_as(self.structure[0], leaves)
        return self.function(*args, **kwargs)


def is_array(value: Any) -> bool:
    """Whether a test's argument is data: a NumPy array or a tensor with at least one axis."""
    return isinstance(value, np.ndarray) or (ops.is_tensor(value) and not isinstance(value, keras.Variable))


def plain(value: Any) -> Any:
    """A test's array as NumPy, in 32 bits where it is float64, the default of NumPy that no model has."""
    if not is_array(value):
        return value
    array = np.asarray(ops.convert_to_numpy(value))
    return array.astype("float32") if array.dtype == np.float64 else array


def describe(value: Any) -> str:
    """An argument in a case's label."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}" + (f"={value.ravel().tolist()}" if value.size <= 4 else "")
    name = getattr(value, "__qualname__", None)
    if name:
        return str(name)
    if isinstance(value, keras.layers.Layer):
        return f"{type(value).__name__}({value.get_config()})"
    return repr(value)


def operation_case(recorder: Recorder, name: str, function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """A call of `keras.ops.name` on arrays: those with axes become inputs, all other arguments constants."""
    structure = tree.map_structure(plain, (args, kwargs))
    leaves = tree.flatten(structure)
    places = [
        i for i, x in enumerate(leaves) if isinstance(x, np.ndarray) and x.ndim and x.size and x.dtype.kind in "fiub"
    ]
    if not places:
        return
    label = f"ops.{name}({', '.join(describe(x) for x in leaves)})"
    if kwargs:
        label += f" {list(kwargs)}"

    def build() -> tuple[keras.Model, list[Any]]:
        failure: Exception | None = None
        for chosen in (places, places[:1]):  # a second array may have to be a constant, such as indices or a window
            inputs = [keras.Input(batch_shape=leaves[i].shape, dtype=str(leaves[i].dtype)) for i in chosen]
            try:
                model = keras.Model(inputs, Call(function, structure, chosen)(inputs))
                reference(model, [leaves[i] for i in chosen])
                return model, [leaves[i] for i in chosen]
            except Exception as error:
                failure = error
        assert failure is not None
        raise failure

    recorder.record(label, f"ops.{name}", build)


def layer_case(recorder: Recorder, given: dict[str, Any]) -> None:
    """A call of `run_layer_test`: the layer on its input data, or random data of the shape, with an unknown batch."""
    cls, init, call = given["layer_cls"], given["init_kwargs"] or {}, given.get("call_kwargs") or {}
    data, shape, dtype = given.get("input_data"), given.get("input_shape"), given.get("input_dtype")
    if given.get("input_sparse") or given.get("input_ragged") or (data is None and shape is None):
        return
    if data is None:
        dtype = dtype or tree.map_shape_structure(lambda _: "float32", shape)
        shapes = tree.map_shape_structure(lambda x: x, shape)
        dtypes = iter(tree.flatten(dtype))
        data = tree.map_shape_structure(lambda x: Given(tuple(x[1:]), next(dtypes), batch=x[0]).array(1, 0), shapes)
        data = tree.map_structure(lambda x: np.abs(x) if x.dtype.kind == "i" else x, data)
        if isinstance(data, dict):  # "x_shape" is the shape of the argument x
            data = {name.removesuffix("_shape"): value for name, value in data.items()}
    data = tree.map_structure(plain, data)
    flat = tree.flatten(data)
    fixed = any(is_array(x) for x in tree.flatten(call))
    what = ", ".join([*(f"{k}={describe(v)}" for k, v in init.items()), *(describe(x) for x in flat)])

    def build() -> tuple[keras.Model, list[Any]]:
        inputs = [
            keras.Input(batch_shape=(x.shape[0] if fixed else None, *x.shape[1:]), dtype=str(x.dtype)) for x in flat
        ]
        placed = tree.pack_sequence_as(data, inputs)
        layer = cls(**init)
        outputs = layer(**placed, **call) if isinstance(placed, dict) else layer(placed, **call)
        return checking.randomize(keras.Model(inputs, outputs)), flat

    recorder.record(f"layers.{cls.__name__}({what}) {describe(call) if call else ''}", f"layers.{cls.__name__}", build)


class Plugin:
    """Puts the recorder in the place of `run_layer_test`, or around the functions of keras.ops."""

    def __init__(self, recorder: Recorder, group: str) -> None:
        self.recorder, self.group = recorder, group

    def pytest_collection_finish(self) -> None:
        if self.group == "layers":
            signature = inspect.signature(testing.TestCase.run_layer_test)

            def run_layer_test(test: Any, *args: Any, **kwargs: Any) -> None:
                bound = signature.bind(test, *args, **kwargs)
                layer_case(self.recorder, bound.arguments)

            testing.TestCase.run_layer_test = run_layer_test
            return
        places = [module for name, module in list(sys.modules.items()) if name.startswith("keras") and ".ops" in name]
        for name in dir(ops):
            real = getattr(ops, name)
            if name.startswith("_") or name in NOT_OPERATIONS or not inspect.isfunction(real):
                continue
            wrapped = self._wrapped(name, real)
            for place in [ops, *places]:
                if getattr(place, name, None) is real:
                    setattr(place, name, wrapped)

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def function(*args: Any, **kwargs: Any) -> Any:
            if self.recorder.inside:
                return real(*args, **kwargs)
            with self.recorder.alone():
                result = real(*args, **kwargs)
            if any(is_array(x) for x in tree.flatten((args, kwargs))):
                with contextlib.suppress(TypeError, ValueError):  # arguments that are no plain structure
                    operation_case(self.recorder, name, real, args, kwargs)
            return result

        return function


def skip_if_backend(name: str, reason: str) -> pytest.MarkDecorator:
    """Keras's own mark of a test that does not hold for a backend."""
    return pytest.mark.skipif(keras.backend.backend() == name, reason=reason)


def record(group: str, journal: Path, choice: str) -> None:
    """Runs the tests of one group; what the journal has already is not run again."""
    recorder = Recorder(journal)
    if journal.exists():
        recorder.seen = {json.loads(line).get("label") for line in journal.read_text(encoding="utf-8").splitlines()}
    sys.modules["conftest"] = types.SimpleNamespace(skip_if_backend=skip_if_backend)  # what the tests import it for
    options = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=no", "--continue-on-collection-errors", "--pyargs"]
    options += ["-k", choice] if choice else []
    pytest.main([*options, *MODULES[group]], plugins=[Plugin(recorder, group)])


def read(journal: Path) -> list[dict[str, str]]:
    """Label, status and reason of each case; one without an outcome ended its process."""
    cases: dict[str, dict[str, str]] = {}
    for line in journal.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        label = entry.get("label") or entry["case"]["expression"]
        reason = entry.get("reason", "the process ended")
        cases[label] = {"label": label, "status": entry.get("status", NO_CASE), "reason": reason}
    return [cases[label] for label in sorted(cases)]


def write(groups: dict[str, list[dict[str, str]]]) -> str:
    """The page."""
    lines = [
        "# What Keras's own tests call",
        "",
        f"Recorded from the tests in the wheel of Keras {keras.__version__} with",
        "`python -m benchmarks.conformance.keras_tests`: each layer that goes through `run_layer_test`, each call of a",
        "`keras.ops` function on arrays; distinct ones. Converted by the direct path and compared with Keras as in",
        "docs/conformance.md. What Keras cannot put into a model is no case.",
        "",
        "| | cases | converted and equal | refused | crashed | wrong | no case |",
        "|---|---|---|---|---|---|---|",
    ]
    for group, found in groups.items():
        counts = Counter(case["status"] for case in found)
        total = len(found) - counts[NO_CASE]
        share = f"{counts[EQUAL]} ({100 * counts[EQUAL] / max(total, 1):.1f} %)"
        rest = " | ".join(str(counts[status]) for status in (REFUSED, CRASHED, WRONG, NO_CASE))
        lines.append(f"| {group} | {total} | {share} | {rest} |")
    for status in (WRONG, CRASHED, REFUSED):
        failed = [case for found in groups.values() for case in found if case["status"] == status]
        if failed:
            lines += ["", f"## {status.capitalize()}", ""]
        lines += [f"- `{case['label'].strip()[:300]}`: {case['reason'][:200]}" for case in failed]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Records each group in a process of its own, which is started anew when a case ended it, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("groups", nargs="*", default=list(MODULES), help="layers, ops")
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/results/keras_tests.md"))
    parser.add_argument("-k", default="", help="pytest's choice of tests")
    parser.add_argument("--journal", type=Path, help="record one group into this file of JSON lines, and write no page")
    arguments = parser.parse_args()
    if arguments.journal:
        record(arguments.groups[0], arguments.journal, arguments.k)
        return
    with tempfile.TemporaryDirectory() as folder:
        journals = {group: Path(folder, f"{group}.json") for group in arguments.groups}
        for group, journal in journals.items():
            command = [sys.executable, "-m", "benchmarks.conformance.keras_tests", group, "--journal", str(journal)]
            while subprocess.run([*command, "-k", arguments.k], check=False).returncode < 0:
                print("a case ended the process", flush=True)
        arguments.output.write_text(write({group: read(x) for group, x in journals.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
