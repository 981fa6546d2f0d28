"""What a build target is, and the registry of them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from deploy.errors import BuildError
from deploy.manifest import Profile
from engines.apply.io_types import KEPT, IoTypes
from engines.recipe import Recipe

if TYPE_CHECKING:
    import onnx_ir

    from engines.layer_table import LayerTable, Lowered


@dataclass(frozen=True)
class Built:
    """What a target makes of a graph and a recipe.

    ``recipe``: as it was built; a layer can be higher than asked, which its ``why`` says.
    ``data``: the bytes of its file, an ``engine`` or a ``graph`` (``kind``) with the extension ``suffix``. ``table``:
    the realised layers and ``layers`` what became of each Conv, Gemm and MatMul, where the target tells. ``details``:
    builder version, compute capabilities, notes for the user. ``slow``: what was measured, where it gains nothing over
    FP32: it is then kept only if it was asked for by name.
    """

    recipe: Recipe
    kind: str
    suffix: str
    data: bytes
    table: LayerTable | None = None
    layers: tuple[Lowered, ...] = ()
    details: dict[str, Any] = field(default_factory=dict)
    slow: str = ""


class Target(Protocol):
    """A place where graphs run.

    ``precisions``: what it can compute in. ``open_sizes``: whether a size other than the batch may be unknown.
    """

    name: str
    open_sizes: bool

    @property
    def precisions(self) -> tuple[str, ...]: ...

    def missing(self) -> str:
        """Why this machine cannot build for the target, and what to install; empty where it can."""

    def version(self) -> str:
        """The version of the builder, from the installed package's metadata: nothing is imported."""

    def build(self, model: onnx_ir.Model, recipe: Recipe, profile: Profile, io: IoTypes = KEPT) -> Built:
        """Applies the recipe to an FP32 graph, gives its border the types ``io``, and builds it. Raises BuildError."""


def installed_version(*distributions: str) -> str:
    """The version of the first of these distributions that is installed, from its metadata alone; empty if none is."""
    for name in distributions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return ""


_TARGETS: dict[str, Target] = {}


def register(target: Target) -> None:
    """Adds a target; one of the same name is replaced."""
    _TARGETS[target.name] = target


def available() -> tuple[Target, ...]:
    """The targets that this machine can build for, the one that ``auto`` takes first."""
    import engines.targets.onnxruntime
    import engines.targets.rtx
    import engines.targets.tensorrt  # noqa: F401

    first = ("tensorrt", "tensorrt-rtx", "onnxruntime")
    names = [*first, *(name for name in _TARGETS if name not in first)]
    return tuple(_TARGETS[name] for name in names if not _TARGETS[name].missing())


def find(name: str) -> Target:
    """The target of that name; ``auto`` is the first that this machine can build for. Raises BuildError."""
    possible = available()
    if name == "auto":
        return possible[0]
    if name not in _TARGETS:
        raise BuildError(
            "unknown target",
            where="target",
            expected=", ".join(["auto", *_TARGETS]),
            found=repr(name),
            fix="leave it out: auto is the first that this machine can build for",
        )
    target = _TARGETS[name]
    if target not in possible:
        raise BuildError("this machine cannot build for that target", where=f"target {name}", fix=target.missing())
    return target
