"""Each precision of a build: calibration, recipe, repairs, budget, engine, and what is worth keeping."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.golden import Golden
    from engines.build.data import Data
    from engines.build.options import Options
    from engines.build.progress import Progress
    from engines.build.source import Source
    from engines.build.steps import Made
    from engines.targets.base import Target


def every(asked: Options, target: Target, source: Source, golden: Golden, data: Data, progress: Progress) -> list[Made]:
    """A recipe and an engine for each precision, less those that gain nothing and were not asked for by name."""
    from engines.build.budget import search, weigh
    from engines.build.data import unchanging
    from engines.build.steps import make, worst
    from engines.calibration import tensorrt_cache
    from engines.calibration.collect import collect
    from engines.calibration.estimators import clips
    from engines.calibration.kept import calibrated
    from engines.calibration.listener import Listener, seen
    from engines.recipe.cached import cached
    from engines.recipe.rules import decide

    given, ranges, repairs = asked.given, None, bool(asked.repairs)
    cache = tensorrt_cache.read(asked.calibration) if tensorrt_cache.is_cache(asked.calibration) else None
    decided = [name for name in asked.precisions if given is None or name != given.precision]
    lacks = given is not None and given.needs_ranges(source.model)
    scales = None if cache is None or not (decided or lacks) else cached(source.model, cache)
    if (asked.calibration is not None and (decided or lacks)) or not {"fp16", "int8"}.isdisjoint(decided):
        with progress.step("calibrate") as notes:
            said: list[str] = []
            with progress.bar("calibrate", data.count) as advance:
                if data.calibration is None or asked.force:
                    samples = golden.inputs if data.calibration is None else data.calibration
                    ranges = collect(source.model, samples, advance, repairs=repairs)
                else:
                    ranges = calibrated(source.model, data.calibration, advance, said.append, repairs)
            notes.append(seen(ranges, said))
    if ranges is not None and data.calibration is not None and (note := unchanging(ranges, source.inputs)):
        progress.warn(note)
    if scales is not None and scales.missing:
        progress.warn(scales.summary())
    made: list[Made] = []
    for precision in asked.precisions:
        with progress.step(precision) as notes:
            if given is not None and precision == given.precision:
                recipe = given.completed(source.model, ranges if scales is None else scales.ranges(), target)
                notes.append(f"{len(recipe.edits())} entries by hand in {given.origin}")
            else:
                wanted = asked.repairs if precision == "int8" else ()
                method = asked.calibration_method
                listener = Listener(kept=notes.append, tried=lambda text: progress.part("repairs", text))
                recipe = decide(source.model, precision, ranges, method, cache, listener, wanted)
            if "repairs" in recipe.calibration:
                progress.part("repairs", recipe.calibration["repairs"])
            if asked.budget and ranges is not None:
                found = search(asked, target, source, data, ranges, recipe, made)
                recipe = found.recipe
                progress.part("budget", f"{asked.budget}: {found.summary()}")
                for note in found.notes:
                    progress.warn(note)
            made.append(make(recipe, source.model, target, asked.profile, golden, source.inputs, given, source.io))
            notes.append(f"simulated error {worst(made[-1].simulated)}")
            read = {layer.input for layer in recipe.layers if layer.input}
            if clipped := sum(clips(a.estimator) for a in recipe.activations if a.value in read):
                notes.append(f"{clipped} ranges clipped")
        for note in made[-1].built.details.get("notes", ()):
            progress.warn(note)
        if slow := made[-1].built.slow:
            progress.warn(f"{slow}; left out (--precision {precision} builds it)" if asked.by_default else slow)
            made = made[:-1] if asked.by_default else made
    kept, weighed = weigh(asked, made)
    for note in weighed:
        progress.warn(note)
    return kept
