"""docs/conformance.md from the outcomes: deterministic text, the same for the same code."""

from __future__ import annotations

import importlib.metadata
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from benchmarks.conformance.running import CRASHED, EQUAL, NO_CASE, REFUSED, WRONG, Outcome
from converters.coverage import coverage

GROUPS = {"layers": "Layers", "ops": "Operations", "activations": "Activations"}
PACKAGES = ("keras", "tensorflow", "onnxruntime", "onnx")
WHY = {
    "ops.argmax": "Keras takes -0 for less than 0 here, ONNX for equal: it would be nodes more in every model with one",
    "ops.argmin": "Keras takes -0 for less than 0 here, ONNX for equal: it would be nodes more in every model with one",
    "ops.max_pool": "TensorFlow starts from the lowest finite number, ONNX (as Keras on JAX) from -inf: it would be a "
    "node more in every model with a pooling",
    "ops.prod": "the product is beyond 64 bits, where ONNX Runtime's ReduceProd stays at the largest number",
    "ops.resize": "TensorFlow rounds a sum that lies within float32's error of a half",
}
"""Why a case that is wrong stays so, by its subject."""
SHOWN = 8
"""How many kinds of ONNX operations a row shows."""


def write(outcomes: Sequence[Outcome]) -> str:
    """The whole page."""
    counted = [outcome for outcome in outcomes if outcome.status != NO_CASE]
    subjects: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in counted:
        subjects[outcome.case.subject].append(outcome)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    lines = [
        "# Conformance",
        "",
        "Generated cases: each Keras layer and each function of `keras.ops` with the arguments that change inference.",
        "A case is converted by the direct path, without the fallback to tf2onnx; the graph passes `onnx.checker`",
        "(full) and strict shape inference, with the shape of every value known; ONNX Runtime runs it at the batch",
        "sizes 1 and 3 (or the model's own); what it gives has Keras's shapes and dtypes, integers and booleans equal,",
        "floats within max(1e-5, 10 times Keras's own sensitivity to changes of its inputs by ±2e-7) of the output's",
        "scale, where float16 or bfloat16 is computed within 4 of its spacings.",
        "",
        "Singular vectors and eigenvectors (`svd`, `eigh`), whose signs are an accident of the iteration, are compared",
        "without them. `rot90`, `unravel_index` and `nextafter` must equal NumPy in every bit: Keras 3.15.1 on",
        "TensorFlow gives other values there than on JAX (`benchmarks/conformance/references.py`).",
        "",
        f"Written by `python -m benchmarks.conformance` with {versions}, on the CPU.",
        f"What Keras itself does not run there is no case: {len(outcomes) - len(counted)} of the generated ones.",
        "The tables are in `benchmarks/conformance/tables`. "
        "`python -m benchmarks.conformance.keras_tests` does the same",
        "with what Keras's own tests call.",
        "",
        *_summary(counted),
        "",
        *_failures(counted),
    ]
    for prefix, title in GROUPS.items():
        rows = {subject: found for subject, found in subjects.items() if subject.partition(".")[0] == prefix}
        lines += ["", f"## {title}", "", *_table(rows)]
    return "\n".join(lines) + "\n"


def _summary(counted: Sequence[Outcome]) -> Iterator[str]:
    yield "| | cases | converted and equal | refused | crashed | wrong |"
    yield "|---|---|---|---|---|---|"
    for prefix, title in [*GROUPS.items(), ("", "All")]:
        found = Counter(x.status for x in counted if x.case.subject.startswith(prefix))
        total = sum(found.values())
        share = f"{found[EQUAL]} ({100 * found[EQUAL] / max(total, 1):.1f} %)"
        yield f"| {title} | {total} | {share} | {found[REFUSED]} | {found[CRASHED]} | {found[WRONG]} |"


def _failures(counted: Sequence[Outcome]) -> Iterator[str]:
    yield "## Failures"
    yield ""
    failed = [outcome for outcome in counted if outcome.status != EQUAL]
    if not failed:
        yield "None."
    for status in (WRONG, CRASHED, REFUSED):
        for outcome in sorted((x for x in failed if x.status == status), key=lambda x: str(x.case)):
            why = WHY.get(outcome.case.subject, "") if status == WRONG else ""
            yield f"- {status}: `{outcome.case}`: {outcome.reason}{why and f'. {why}'}"


def _table(subjects: dict[str, list[Outcome]]) -> Iterator[str]:
    ways = {row.operation.__name__.lower(): row.way for row in coverage()}
    yield "| | way | cases | equal | error below | ONNX operations |"
    yield "|---|---|---|---|---|---|"
    for subject in sorted(subjects, key=str.lower):
        found = subjects[subject]
        equal = [outcome for outcome in found if outcome.status == EQUAL]
        nodes = Counter[str]()
        for outcome in equal:
            nodes.update(outcome.nodes.keys())
        kinds = sorted(nodes, key=lambda kind: (-nodes[kind], kind))
        shown = ", ".join(kinds[:SHOWN]) + (", …" if len(kinds) > SHOWN else "")
        yield (
            f"| {subject.partition('.')[2] or subject} | {_way(subject, equal, ways)} | {len(found)} | {len(equal)} | "
            f"{_decade(max((x.error for x in equal), default=0.0)) if equal else ''} | {shown} |"
        )


def _way(subject: str, equal: Sequence[Outcome], ways: dict[str, str]) -> str:
    """Lowered, opened or refused: as the conversion reports of a layer, as the registry has an operation.

    A function without an operation class of its own consists of others.
    """
    name = subject.partition(".")[2]
    if subject.startswith("layers."):
        found = {outcome.ways[name] for outcome in equal if name in outcome.ways}
        return " or ".join(sorted(found)) or ("opened" if equal else "refused")
    return ways.get(name.replace("_", ""), "opened" if equal else "refused")


def _decade(error: float) -> str:
    """The power of ten above an error; 0 where there was none."""
    return "0" if error == 0 else f"1e{math.floor(math.log10(error)) + 1}"
