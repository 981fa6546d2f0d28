"""Writes a bundle: into a folder beside the output, put in its place when it is whole."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from deploy.bundle import artifact, write_manifest
from deploy.files import replacing_folder
from deploy.golden import FILE, Golden, write_golden
from deploy.manifest import Manifest
from engines.build.cache import versions, with_code
from engines.build.options import Options
from engines.build.source import Source
from engines.build.steps import File, Made

if TYPE_CHECKING:
    from engines.targets.base import Target


def write(
    asked: Options,
    target: Target,
    source: Source,
    golden: Golden,
    origin: str,
    changes: dict[str, float],
    made: list[Made],
    key: str,
) -> Manifest:
    """Writes the graphs, engines, golden pairs, and the manifest that binds them. Raises KerasrtError."""
    import onnx_ir

    from engines.apply.io_types import retype
    from engines.graphs import load

    bordered = load(source.model)
    retype(bordered, source.io)
    graph = onnx_ir.to_proto(bordered if source.io.changed else source.model).SerializeToString()
    golden = dataclasses.replace(golden, inputs=source.io.border(golden.inputs))
    files = [File("model.onnx", graph, "graph", "fp32"), *(file for one in made for file in one.files)]
    with replacing_folder(asked.output) as folder:
        for file in files:
            (folder / file.name).write_bytes(file.data)
        write_golden(folder, golden)
        artifacts = [artifact(folder, f.name, f.kind, f.precision, f.target, details=f.details) for f in files]
        manifest = Manifest(
            name=asked.name,
            inputs=source.io.specs(source.inputs),
            outputs=source.io.specs(source.outputs),
            artifacts=(*artifacts, artifact(folder, FILE, "golden")),
            layers=source.layers,
            profile=asked.profile,
            task=asked.task,
            labels=asked.labels,
            sensitivity=changes,
            simulated={one.recipe.precision: one.simulated for one in made},
            versions=versions(),
            provenance={**source.provenance, "golden": origin, "target": f"{target.name} {target.version()}"},
            commands={one.recipe.precision: one.command for one in made if one.command},
            key=with_code(key, source.provenance.get("code", [])),
        )
        write_manifest(folder, manifest)
    return manifest
