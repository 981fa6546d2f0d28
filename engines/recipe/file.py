"""Reading and writing a recipe's file, which a user may have edited.

An entry whose seal does not fit, or that has none, was written or changed by hand; it is marked so from then on. All
that is wrong with a file is reported at once, each fault with its layer.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from deploy.errors import BuildError
from deploy.files import replacing
from engines.recipe import (
    FLOATING,
    PRECISIONS,
    SCHEMA,
    ActivationScale,
    Equalized,
    LayerPrecision,
    Recipe,
    fields_of,
    name_of_row,
    seal,
)
from engines.recipe.faults import refuse

AGAIN = "undo the last edit, or make the recipe again"

Row = TypeVar("Row", LayerPrecision, ActivationScale, Equalized)

_TEXT, _NUMBER = (str,), (int, float)
_LAYER: dict[str, tuple[type, ...]] = {
    "name": _TEXT, "precision": _TEXT, "why": _TEXT, "weight_scales": (list,), "input": _TEXT, "bias": (list,),
    "rounding": _TEXT,
}  # fmt: skip
_ACTIVATION: dict[str, tuple[type, ...]] = {
    "value": _TEXT, "scale": _NUMBER, "minimum": _NUMBER, "maximum": _NUMBER, "estimator": _TEXT
}  # fmt: skip
_EQUALIZED: dict[str, tuple[type, ...]] = {"name": _TEXT, "factors": (list,)}
_HEAD: dict[str, tuple[type, ...]] = {
    "schema": (int,), "precision": _TEXT, "base": _TEXT, "calibration": (dict,), "model": _TEXT
}  # fmt: skip
_MARKS: dict[str, tuple[type, ...]] = {"seal": _TEXT, "by_hand": (bool,)}
_OPTIONAL = frozenset(
    {"why", "weight_scales", "input", "bias", "rounding", "estimator", "calibration", "model", *_MARKS}
)


def write_recipe(value: Recipe, path: Path | str) -> None:
    """Writes the recipe as JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(value.to_json(), encoding="utf-8")


def read_recipe(path: Path | str) -> Recipe:
    """Reads a recipe and checks each field. Raises BuildError that names the file, and each layer that is wrong."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(f"cannot be read as a recipe ({error})", path) from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else type(data).__name__
        raise BuildError(
            "is a recipe of another version",
            where=str(path),
            expected=f"schema {SCHEMA}",
            found=str(found),
            fix="make it again with this version",
        )
    groups = {key: data.pop(key, None) for key in ("layers", "activations")}
    groups["equalized"] = data.pop("equalized", [])
    if wrong := [key for key, rows in groups.items() if not isinstance(rows, list)]:
        raise _unreadable(f"has no list of {wrong[0]}", path)
    faults = list(_field_faults(data, _HEAD, ""))
    layers = tuple(_rows(groups["layers"], LayerPrecision, _LAYER, "name", faults))
    activations = tuple(_rows(groups["activations"], ActivationScale, _ACTIVATION, "value", faults))
    equalized = tuple(_rows(groups["equalized"], Equalized, _EQUALIZED, "name", faults))
    refuse(faults, str(path))
    names = [name_of_row(row) for group in (layers, activations, equalized) for row in group]
    content = {key: data[key] for key in ("precision", "base")}
    content |= {"calibration": data.get("calibration", {}), "model": data.get("model", ""), "schema": SCHEMA}
    by_hand = _by_hand(data, [content, names])
    result = Recipe(**content, layers=layers, activations=activations, equalized=equalized, by_hand=by_hand)
    refuse(_value_faults(result), str(path))
    return result


def _unreadable(what: str, path: Path) -> BuildError:
    return BuildError(what, where=str(path), expected="the JSON of a recipe.*.json in a bundle", fix=AGAIN)


def _rows(
    rows: list[Any], kind: type[Row], fields: Mapping[str, tuple[type, ...]], key: str, faults: list[BuildError]
) -> Iterator[Row]:
    """The entries of one list; what is wrong with one goes to ``faults``."""
    for index, row in enumerate(rows):
        named = isinstance(row, dict) and isinstance(row.get(key), str)
        where = f"{'layer' if key == 'name' else 'value'} {row[key] if named else f'number {index + 1}'}"
        found = [_fault(where, "is no entry", "an object", str(row)[:60])] if not isinstance(row, dict) else []
        found = found or list(_field_faults(row, fields, where))
        faults += found
        if found:
            continue
        given = {name: value for name, value in row.items() if name in fields}
        given |= {name: tuple(row[name]) for name in ("weight_scales", "bias", "factors") if name in row}
        if kind is LayerPrecision:
            given |= {"why": row.get("why", "")}
        made = kind(**given)
        yield kind(**given, by_hand=_by_hand(row, fields_of(made)))


def _by_hand(row: Mapping[str, Any], content: object) -> bool:
    return bool(row.get("by_hand", False)) or row.get("seal") != seal(content)


def _field_faults(row: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], where: str) -> Iterator[BuildError]:
    """Fields that are unknown, missing or of another kind of JSON value."""
    known = {**fields, **_MARKS}
    for name in row:
        if name not in known:
            yield _fault(where, f"field {name!r} is unknown", ", ".join(fields), name)
    for name, kinds in known.items():
        if name not in row:
            if name not in _OPTIONAL:
                yield _fault(where, f"field {name!r} is missing", ", ".join(fields), ", ".join(row))
        elif not isinstance(row[name], kinds) or (isinstance(row[name], bool) and bool not in kinds):
            yield _fault(where, f"field {name!r} is no {_WORDS[kinds[0]]}", _WORDS[kinds[0]], repr(row[name])[:60])


_WORDS = {str: "text", int: "number", list: "list", dict: "object", bool: "true or false"}


def _value_faults(recipe: Recipe) -> Iterator[BuildError]:
    """Precisions that do not exist, scales that are not positive numbers, ranges that are none."""
    for where, precision in [("", recipe.precision), ("", recipe.base), *_precisions(recipe)]:
        if precision not in PRECISIONS:
            yield _fault(where, "unknown precision", ", ".join(PRECISIONS), repr(precision))
    if recipe.base in PRECISIONS and recipe.base not in FLOATING:
        fix = f"give the base fp16, and {recipe.base} to the layers"
        yield _fault("", "the base must be a floating type", ", ".join(FLOATING), recipe.base, fix)
    for layer in recipe.layers:
        if wrong := [str(scale) for scale in layer.weight_scales if not _is_scale(scale)]:
            what = "a weight scale is not a positive number"
            yield _fault(f"layer {layer.name}", what, "positive numbers", ", ".join(wrong[:5]))
        if wrong := [str(number) for number in layer.bias if not _is_number(number)]:
            yield _fault(f"layer {layer.name}", "a bias is not a number", "finite numbers", ", ".join(wrong[:5]))
    for row in recipe.equalized:
        if wrong := [str(factor) for factor in row.factors if not _is_scale(factor)]:
            yield _fault(
                f"layer {row.name}", "a factor is not a positive number", "positive numbers", ", ".join(wrong[:5])
            )
    for value in recipe.activations:
        where, limits = f"value {value.value}", (value.minimum, value.maximum)
        if not _is_scale(value.scale):
            yield _fault(where, "the scale is not a positive number", "a positive number", str(value.scale))
        if not (all(map(math.isfinite, limits)) and limits[0] <= limits[1]):
            yield _fault(where, "the range is none", "two numbers, minimum <= maximum", f"{limits[0]}, {limits[1]}")


def _precisions(recipe: Recipe) -> Iterator[tuple[str, str]]:
    return ((f"layer {layer.name}", layer.precision) for layer in recipe.layers)


def _is_number(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)


def _is_scale(scale: object) -> bool:
    return _is_number(scale) and scale > 0  # type: ignore[operator]


def _fault(where: str, what: str, expected: str, found: str, fix: str = AGAIN) -> BuildError:
    return BuildError(what, where=where, expected=expected, found=found, fix=fix)
