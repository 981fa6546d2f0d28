"""The repairs that a user asks for, and whether what else was asked for goes with them."""

from __future__ import annotations

from collections.abc import Sequence

from deploy.errors import BuildError
from engines.calibration.tensorrt_cache import is_cache

REPAIRS = ("equalize", "rounding", "biases")
"""By the names that a user gives them, in the order in which they are tried; rounding corrects biases as well."""


SEARCHED = ("equalize",)
"""Those that stay right when a search raises some of the layers: in FP32 they change nothing."""


def parse(repairs: str | Sequence[str] | None, search: str = "") -> tuple[str, ...]:
    """The repairs to try, each once and in order. Raises BuildError for another name.

    ``auto`` is all that can be had; ``search``: as of `check`.
    """
    names = [name.strip() for name in (repairs.split(",") if isinstance(repairs, str) else repairs or ())]
    if names in ([], [""]):
        return ()
    if names == ["auto"]:
        return SEARCHED if search else REPAIRS
    if unknown := [name for name in names if name not in REPAIRS]:
        raise BuildError(
            "unknown repair",
            where="repairs",
            expected=f"auto, or some of {', '.join(REPAIRS)}",
            found=repr(unknown[0]),
            fix="--repairs auto tries all of them and keeps what lowers the error",
        )
    return tuple(name for name in REPAIRS if name in names)


def check(
    repairs: tuple[str, ...],
    precisions: Sequence[str],
    *,
    calibration: object,
    search: str = "",
    given: str = "",
    trained: bool = False,
) -> None:
    """Raises BuildError where repairs cannot be had.

    ``precisions``: what is made. ``search``: what else chooses precisions, a budget or a curve, with its name.
    ``given``: the recipe that is followed, or shown, in place of deciding. ``trained``: the model has quantizers.
    """
    if not repairs:
        return
    where = f"repairs {','.join(repairs)}"
    if given:
        raise BuildError(
            "a recipe that is given is followed as it is",
            where=where,
            found=given,
            fix="leave --repairs out (a recipe made with them has them), or give a model in place of the recipe",
        )
    if "int8" not in precisions:
        raise BuildError(
            "repairs are for INT8",
            where=where,
            expected="int8",
            found=", ".join(precisions),
            fix="leave --repairs out, or give --precision int8",
        )
    if search and (fitted := [name for name in repairs if name not in SEARCHED]):
        raise BuildError(
            f"a search raises layers one by one, and {' and '.join(fitted)} are fitted to all INT8 layers together",
            where=where,
            found=search,
            fix=f"--repairs {','.join(SEARCHED)}, or leave out one of both",
        )
    if trained:
        raise BuildError(
            "the scales are those of training, and repairs would change what it has fitted",
            where=where,
            found="a model with quantizers of its own",
            fix="leave --repairs out",
        )
    if calibration is None or is_cache(calibration):
        raise BuildError(
            "repairs need real samples to be fitted to and judged on",
            where=where,
            found="no calibration data" if calibration is None else f"{calibration}, a TensorRT calibration cache",
            fix="give some hundred real samples: --calibration calibration.npz",
        )
