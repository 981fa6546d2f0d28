"""Runs one case: Keras, conversion by the direct path, checks of the graph, ONNX Runtime, comparison."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import ml_dtypes
import numpy as np
from keras import layers, ops, tree

from benchmarks.conformance.cases import NAMES, Array, Case
from benchmarks.conformance.references import is_exact, numpy_result, upright
from converters.convert import convert_model
from deploy.errors import ConversionError
from tests.converters import checking

EQUAL, WRONG, REFUSED, CRASHED, NO_CASE = "equal", "wrong", "refused", "crashed", "refused by Keras"


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    ``error`` is the largest, relative to the output's scale; ``ways`` how each class of layer was converted; ``nodes``
    the ONNX operations it became, with their counts.
    """

    case: Case
    status: str
    reason: str = ""
    error: float = 0.0
    ways: dict[str, str] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)


@keras.saving.register_keras_serializable(package="conformance")
class Apply(layers.Layer):
    """A layer whose call is a case's expression: for operations that Keras cannot put into a functional model."""

    def __init__(self, expression: str, **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.expression = expression

    def call(self, inputs: Any) -> Any:
        return evaluate(self.expression, inputs)


def evaluate(expression: str, inputs: Sequence[Any]) -> Any:
    """The value of a case's expression, a part of this package's own tables."""
    scope = {"keras": keras, "layers": layers, "ops": ops, "np": np, **dict(zip(NAMES, inputs, strict=False))}
    return eval(expression, scope)


def models(case: Case) -> Iterator[keras.Model]:
    """The case as a functional model with random weights, then, for an operation, as a layer that calls it."""
    keras.utils.set_random_seed(case.seed % 2**31)
    inputs = [
        keras.Input(batch_shape=(given.batch, *given.shape), dtype=given.dtype, name=name)
        for name, given in zip(NAMES, case.inputs, strict=False)
    ]
    if case.expression.startswith("layers."):
        yield checking.randomize(keras.Model(inputs, evaluate(case.expression, inputs)))
        return
    with contextlib.suppress(Exception):
        yield keras.Model(inputs, evaluate(case.expression, inputs))
    yield keras.Model(inputs, Apply(case.expression, name="apply")(inputs))


def run(case: Case, begun: Callable[[], None] = lambda: None) -> Outcome:
    """The outcome of one case; ``begun`` is called when Keras has run it."""
    batches = [given.batch for given in case.inputs if given.batch] or [1, 3]
    runs = {batch: case.arrays(batch) for batch in batches}
    try:
        model, expected = keras_result(case, runs)
        if is_exact(case):
            expected = {batch: numpy_result(case, inputs) for batch, inputs in runs.items()}
    except Exception as error:
        return Outcome(case, NO_CASE, one_line(error))
    begun()
    return assess(case, model, runs, expected)


Runs = dict[int, list[Array]]
"""Arrays by the batch size they are for."""


def assess(case: Case, model: keras.Model, runs: Runs, expected: Runs) -> Outcome:
    """Converts the case's model by the direct path and compares with what Keras gave."""
    try:
        converted = convert_model(model, exporter="direct")
    except ConversionError as error:
        return Outcome(case, REFUSED, one_line(error))
    except Exception as error:
        return Outcome(case, CRASHED, f"convert: {one_line(error)}")
    ways = {layer.layer: layer.way for layer in converted.report.layers}
    nodes = dict(Counter(node.op_type for node in converted.model.graph))
    try:
        proto = checking.check_graph(converted)
    except Exception as error:
        return Outcome(case, CRASHED, f"invalid graph: {one_line(error)}", ways=ways, nodes=nodes)
    try:
        session = checking.run_session(proto)
        found = {batch: session(inputs) for batch, inputs in runs.items()}
    except Exception as error:
        return Outcome(case, CRASHED, f"ONNX Runtime: {one_line(error)}", ways=ways, nodes=nodes)
    worst = 0.0
    for batch, inputs in runs.items():
        error, reason = judge(case, model, inputs, expected[batch], found[batch])
        if reason:
            return Outcome(case, WRONG, f"batch {batch}: {reason}", error, ways, nodes)
        worst = max(worst, error)
    return Outcome(case, EQUAL, "", worst, ways, nodes)


def keras_result(case: Case, runs: Runs) -> tuple[keras.Model, Runs]:
    """The first of the case's models that Keras runs, with its outputs; raises what the last one raised."""
    failure: Exception = ValueError("no model")
    found = models(case)
    while True:
        try:
            model = next(found)
            return model, {batch: reference(model, inputs) for batch, inputs in runs.items()}
        except StopIteration:
            raise failure from None
        except Exception as error:
            failure = error


def reference(model: keras.Model, inputs: Sequence[Array]) -> list[Array]:
    """What Keras gives."""
    outputs = model([ops.convert_to_tensor(x) for x in inputs], training=False)
    return [np.asarray(ops.convert_to_numpy(x)) for x in tree.flatten(outputs)]


def judge(
    case: Case, model: keras.Model, inputs: list[Array], expected: list[Array], found: list[Array]
) -> tuple[float, str]:
    """The largest error relative to the output's scale, and what is wrong with the outputs, if anything is.

    Floats may differ by max(1e-5, 10 times Keras's own sensitivity to changes of its inputs by ±2e-7), where float16 or
    bfloat16 is computed by 4 of its spacings; the rest is equal, and what is compared with NumPy (`is_exact`) in every
    bit. Where the dtype that Keras declares is not the one it gives when it runs (Average of integers, Add of
    integers), either is right. Singular vectors and eigenvectors are compared without their signs.
    """
    floor = _floor(case, [*inputs, *expected])
    if len(found) != len(expected):
        return 0.0, f"{len(found)} outputs for {len(expected)}"
    errors = []
    declared = [np.dtype(x.dtype) for x in tree.flatten(model.outputs)]
    expected = [
        wanted.astype(got.dtype) if got.dtype == dtype or _raised(case, got, wanted) else wanted
        for got, wanted, dtype in zip(found, expected, declared, strict=True)
    ]
    found, expected = upright(case, found, expected), upright(case, expected, expected)
    for got, wanted in zip(found, expected, strict=True):
        if got.shape != wanted.shape:
            return 0.0, f"shape {got.shape}, Keras {wanted.shape}"
        if got.dtype != wanted.dtype:
            return 0.0, f"dtype {got.dtype}, Keras {wanted.dtype}"
        if wanted.dtype.kind != "f" or is_exact(case):
            if not np.array_equal(got, wanted, equal_nan=wanted.dtype.kind == "f"):
                return 0.0, _differing(got, wanted)
            errors.append(0.0)
            continue
        special = ~np.isfinite(wanted)
        if not np.array_equal(got[special], wanted[special], equal_nan=True) or not np.isfinite(got[~special]).all():
            return float("inf"), _differing(got, wanted)
        difference = np.abs(got[~special].astype(np.float64) - wanted[~special].astype(np.float64))
        errors.append(float(difference.max(initial=0.0)) / checking.scale(wanted))
    if max(errors, default=0.0) > floor:
        slack = checking.sensitivity(lambda x: upright(case, reference(model, x), expected), inputs, expected)
        for index, error in enumerate(errors):
            if not error <= max(floor, 10 * slack[index]):
                return error, f"error {error:.2g}: {_differing(found[index], expected[index])}"
    return max(errors, default=0.0), ""


def _floor(case: Case, arrays: Sequence[Array]) -> float:
    """The error that is none: 4 spacings of the narrowest float."""
    for name in ("bfloat16", "float16"):
        if name in case.expression or any(str(x.dtype) == name for x in arrays):
            return 4 * float(ml_dtypes.finfo(name).eps)  # type: ignore[no-untyped-call]  # NumPy's has no bfloat16
    return 1e-5


def _raised(case: Case, got: Array, wanted: Array) -> bool:
    """Whether a layer under a policy of half floats gives float32: precision is the recipe's matter."""
    return "float16'" in case.expression and got.dtype == np.float32 and str(wanted.dtype) in ("float16", "bfloat16")


def _differing(got: Array, wanted: Array) -> str:
    """The element that differs most."""
    with np.errstate(all="ignore"):
        difference = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    difference = np.where((got == wanted) | (np.isnan(difference) & (np.isnan(got) & np.isnan(wanted))), 0, difference)
    at = np.unravel_index(int(np.nan_to_num(difference, nan=np.inf).argmax()), wanted.shape) if wanted.ndim else ()
    where = list(map(int, at))
    return f"{got[at]} at {where}, Keras {wanted[at]}"


def one_line(error: Exception) -> str:
    """An error's message in one line, without layer configurations and the numbers that Keras gives to names."""
    text = re.sub(r"\x1b\[\d+m", "", str(error)).partition("Arguments received by")[0]
    text = " ".join(text.partition("found: {")[0].split())[:400].strip()
    text = re.sub(r"'(\w+?)_\d+'", r"'\1'", text)
    return text if isinstance(error, ConversionError) else f"{type(error).__name__}: {text}"


def work(connection: Any) -> None:
    """What a worker process does: answers each case it is sent with its outcome, until None comes."""
    number = 0
    while (case := connection.recv()) is not None:
        connection.send(run(case, lambda: connection.send(None)))
        number += 1
        if number % 100 == 0:
            keras.backend.clear_session()
