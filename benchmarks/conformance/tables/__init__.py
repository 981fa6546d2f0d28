"""The tables of cases, by family; each module has `CASES`."""

from __future__ import annotations

from benchmarks.conformance.cases import Case, distinct
from benchmarks.conformance.tables import (
    elementwise,
    layers_core,
    layers_sequence,
    layers_spatial,
    linalg,
    models,
    nn,
    reduction,
    shape,
)

FAMILIES = (elementwise, reduction, shape, linalg, nn, layers_core, layers_sequence, layers_spatial, models)


def everything() -> tuple[Case, ...]:
    """All cases, each once, by subject."""
    return distinct(case for family in FAMILIES for case in family.CASES)
