"""Calibration that is not done twice: passes and choices are kept on disk by content, and a broken pass goes on.

1. The key of a pass is a hash of the FP32 graph, of all samples, of the versions of what computes and of this
   project's code. The target and the precision are not in it: another build of the same model has the same pass.
2. While a pass runs, what it has seen is kept every `EVERY` seconds, and when it is interrupted or fails: the next one
   goes on behind the last whole batch, with the same batches, so that the result is the same to the bit.
3. The key of a choice is a hash of its pass and of the recipe that the ranges are chosen for.
Samples that can be read but once (an iterator) have no key: nothing of them is kept.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable

import onnx_ir as ir

from engines.build.cache import content_of, source_code, versions
from engines.calibration import choice, store
from engines.calibration.choice import Choice
from engines.calibration.collect import Progress, begin, collect
from engines.calibration.data import Widened, provenance
from engines.calibration.ranges import Ranges, Seen
from engines.calibration.store import Say
from engines.graphs import load
from engines.recipe import Recipe

EVERY = 10.0
"""Seconds of a pass that may be lost."""
_COMPUTES = ("python", "kerasrt", "numpy", "onnx", "onnx-ir", "onnxruntime", "onnxruntime-gpu")


def calibrated(
    source: object,
    samples: object,
    progress: Progress | None = None,
    say: Say = lambda _: None,
    repairs: bool = False,
) -> Ranges:
    """`engines.calibration.collect.collect`, from what is kept where there is anything. ``say`` is told what was."""
    model = load(source)
    key = pass_key(model, samples, repairs)
    if not key:
        return collect(model, samples, progress, repairs=repairs)
    seen, complete = _kept(model, key, say, repairs)
    if complete:
        say("kept from an earlier build")
        return dataclasses.replace(seen.ranges(provenance(samples)), key=key)
    if seen.samples:
        say(f"{seen.samples} of them kept from a build that was interrupted")
    try:
        ranges = collect(model, samples, progress, seen, _keeper(key, say))
    except BaseException:
        if seen.samples and seen.whole:
            store.write(key, {"complete": False, "seen": seen.state()}, say)
        raise
    store.write(key, {"complete": True, "seen": seen.state()}, say)
    return dataclasses.replace(ranges, key=key)


def chosen(model: ir.Model, recipe: Recipe, ranges: Ranges, method: str = "auto", say: Say = lambda _: None) -> Choice:
    """The choice of the methods ``auto`` and ``output``, from what is kept where there is anything."""
    choose = choice.choose if method == "auto" else choice.by_outputs
    if not ranges.key:
        return choose(model, recipe, ranges)
    text = dataclasses.replace(recipe, calibration={}).to_json()
    key = hashlib.sha256(f"choice {method} {ranges.key} {text}".encode()).hexdigest()
    if (state := store.read(key, say)) is not None:
        with store.understood(say):
            found = Choice(**state)
            say("the choice of ranges kept from an earlier build")
            return found
    found = choose(model, recipe, ranges)
    store.write(key, dataclasses.asdict(found), say)
    return found


def pass_key(model: ir.Model, samples: object, repairs: bool = False) -> str:
    """The content key of a pass over the samples, hex; empty where they can be read but once. Raises InputError where a
    file cannot be read.
    """
    given = ""
    if isinstance(samples, Widened):
        given, samples = repr((samples.given, samples.wanted)), samples.source
    parts = [content_of(ir.to_proto(model)), content_of(samples)]
    if any(part.endswith("?") for part in parts):
        return ""
    found = {name: version for name, version in versions().items() if name in _COMPUTES}
    return hashlib.sha256(json.dumps(["pass", repairs, *parts, given, found, source_code()]).encode()).hexdigest()


def _kept(model: ir.Model, key: str, say: Say, repairs: bool) -> tuple[Seen, bool]:
    """What a pass has seen that was begun before, and whether it is all; a new one where there is none."""
    if (state := store.read(key, say)) is not None:
        with store.understood(say):
            seen = begin(model, repairs)
            seen.restore(state["seen"])
            return seen, bool(state["complete"])
    return begin(model, repairs), False


def _keeper(key: str, say: Say) -> Callable[[Seen], None]:
    """Keeps what a pass has seen, every `EVERY` seconds."""
    last = time.monotonic()

    def keep(seen: Seen) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            store.write(key, {"complete": False, "seen": seen.state()}, say)
            last = time.monotonic()

    return keep
