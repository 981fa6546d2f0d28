"""The reference models: where each lies, its sample input and calibration data, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.errors import InputError
from examples.cbam_resnet import make
from examples.fer.model import LABELS as EXPRESSIONS
from examples.fer.model import model_path
from examples.speech.audio import LABELS as COMMANDS

HERE = Path(__file__).resolve().parent
MADE = HERE.parent / "build" / "models"
"""Where models that are not committed are made."""
DIGITS = tuple("0123456789")


@dataclass(frozen=True)
class Reference:
    """A reference model. ``sample`` and ``calibration`` are .npz files, one array for each input of the model.

    ``model`` returns the path of the model's file, and makes it and its data first where they are not committed and not
    there yet. ``task`` and ``labels`` are as in a bundle's manifest.
    """

    name: str
    model: Callable[[], Path]
    sample: Path
    calibration: Path
    task: str
    labels: tuple[str, ...] = ()


def reference(name: str) -> Reference:
    """The reference model of that name. Raises InputError, with the names there are, for another."""
    if name not in REFERENCES:
        raise InputError(
            "no reference model has this name", where=name, expected=f"one of {', '.join(REFERENCES)}", fix="choose one"
        )
    return REFERENCES[name]


def _committed(
    folder: str,
    name: str,
    task: str,
    labels: tuple[str, ...] = (),
    model: Callable[[], Path] | None = None,
    data_of: str | None = None,
) -> Reference:
    """A model whose data is committed: in its own folder, or in another example's, ``data_of``."""
    data = HERE / (data_of or folder)
    file = HERE / folder / f"{name}.keras"
    return Reference(name, model or (lambda: file), data / "input.npz", data / "calibration.npz", task, labels)


def _made_resnet(name: str, depth: int, attention: str | None) -> Path:
    path = MADE / f"{name}.keras"
    if not all(file.is_file() for file in (path, MADE / make.SAMPLE, MADE / make.CALIBRATION)):
        make.make(depth, attention, path)
    return path


def _resnet(depth: int, attention: str | None) -> Reference:
    name = f"{'cbam_' if attention else ''}resnet{depth}"
    model = partial(_made_resnet, name, depth, attention)
    return Reference(name, model, MADE / make.SAMPLE, MADE / make.CALIBRATION, "classification")


REFERENCES: dict[str, Reference] = {
    entry.name: entry
    for entry in (
        _committed("mean_spot", "mean_spot_cbam", "regression"),
        _committed("mean_spot", "mean_spot", "regression"),
        _committed("cbam_resnet", "digits", "classification", DIGITS),
        _committed("mobile", "digits_mobilenet", "classification", DIGITS, data_of="cbam_resnet"),
        _committed("mobile", "digits_efficientnet", "classification", DIGITS, data_of="cbam_resnet"),
        _committed("speech", "speech", "classification", COMMANDS),
        _committed("fer", "fer", "classification", EXPRESSIONS, model=model_path),
        *(_resnet(depth, attention) for attention in (None, "cbam") for depth in (50, 101, 152)),
    )
}
