"""The errors a user can meet. Each says what happened, where, what was expected and found, and what to do next.

Exit codes of every command: 2 for an error of the user's making (bad file, flag, model, bundle), 1 for a failed parity.
Whatever is no KerasrtError is a fault of the project's own: 70, with a traceback.
"""

from __future__ import annotations

REBUILD = "build the bundle again: make engine, or kerasrt build"
"""What to do about a bundle that is damaged."""


class KerasrtError(Exception):
    """One clear sentence for the user; never wraps a traceback from the depths.

    ``what`` is required; ``where`` names the Keras layer, the file or the flag; ``fix`` says what to do next.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", expected: str = "", found: str = "", fix: str = "") -> None:
        self.what, self.where, self.expected, self.found, self.fix = what, where, expected, found, fix
        head = f"{where}: {what}" if where else what
        parts = [("expected", expected), ("found", found), ("to do", fix)]
        super().__init__("\n  ".join([head, *(f"{label}: {text}" for label, text in parts if text)]))


class InputError(KerasrtError):
    """Data given to a model is unusable: a bad file, name, rank, size, dtype or value."""


class BundleError(KerasrtError):
    """A bundle is missing, incomplete, edited, or of a schema this version does not read."""


class ConversionError(KerasrtError):
    """A Keras model (or one of its layers) cannot be converted; a wrong graph is never written instead."""


class BuildError(KerasrtError):
    """A recipe or an engine cannot be made for the target that was asked for."""


class BackendError(KerasrtError):
    """No backend on this machine can run what was asked for."""


class ParityError(KerasrtError):
    """The outputs do not equal the reference within the threshold."""

    exit_code = 1
