"""A bundle: a folder with `manifest.json` and the files it names, each checked against its hash before it is used.

An engine is native code and a graph decides what runs, so nothing in a bundle is deserialized from bytes whose hash was
not checked first; the hash is of the very bytes that are handed on, not of a file read a second time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from deploy.errors import BundleError
from deploy.files import replace_link, replacing, sha256
from deploy.manifest import MANIFEST, Artifact, Manifest, read_manifest

CURRENT = Path("build") / "current"
"""The bundle taken when none is named: a relative symbolic link beside the bundle it names."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    def path(self, artifact: Artifact) -> Path:
        """The file of an artifact. Raises BundleError for a name that leads out of the bundle's folder."""
        name = PurePosixPath(artifact.file)
        if name.is_absolute() or ".." in name.parts or "\\" in artifact.file or not name.parts:
            raise BundleError(
                "an artifact's file lies outside the bundle",
                where=str(self.folder / MANIFEST),
                expected="a path inside the folder",
                found=artifact.file,
                fix="do not use this bundle; build it again: make engine",
            )
        return self.folder / name

    def read(self, artifact: Artifact) -> bytes:
        """The bytes of an artifact, whose hash is that of the manifest. Raises BundleError where it is not."""
        path = self.path(artifact)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise self._missing(artifact, error) from error
        self._compare(artifact, hashlib.sha256(data).hexdigest())
        return data

    def check(self) -> None:
        """Raises BundleError where any artifact is missing or its hash is not that of the manifest."""
        for artifact in self.manifest.artifacts:
            try:
                found = sha256(self.path(artifact))
            except OSError as error:
                raise self._missing(artifact, error) from error
            self._compare(artifact, found)

    def _compare(self, artifact: Artifact, found: str) -> None:
        if found != artifact.sha256:
            raise BundleError(
                "was changed after the bundle was built, so it is not used",
                where=str(self.path(artifact)),
                expected=f"sha256 {artifact.sha256}",
                found=f"sha256 {found}",
                fix="copy the bundle again, or build it again: make engine",
            )

    def _missing(self, artifact: Artifact, error: OSError) -> BundleError:
        return BundleError(
            f"a file of the bundle cannot be read ({error.strerror or error})",
            where=str(self.path(artifact)),
            fix="copy the whole bundle again, or build it again: make engine",
        )


def open_bundle(path: Path | str | None = None) -> Bundle:
    """Opens the bundle in folder ``path``; ``build/current`` when None. Reads the manifest alone.

    Raises BundleError where there is none, or it is broken or of another schema.
    """
    folder = CURRENT if path is None else Path(path)
    if folder.name == MANIFEST:
        folder = folder.parent
    elif folder.is_file():
        owner = bundle_around(folder)
        fix = f"--bundle {owner}" if owner else "name a folder that `make engine` or `kerasrt build` made"
        raise BundleError("is a file, not a bundle", where=str(folder), expected=f"a folder with {MANIFEST}", fix=fix)
    if path is None and not (folder / MANIFEST).is_file():
        raise BundleError(
            "no bundle has been built here yet",
            where=str(folder),
            expected=f"a bundle (a folder with {MANIFEST})",
            fix="build one with `make engine` in the project's folder, or name one with --bundle",
        )
    return Bundle(folder, read_manifest(folder))


def bundle_around(path: Path) -> Path | None:
    """The bundle's folder that ``path`` lies in, or is; None where there is none."""
    place = path.absolute().resolve()
    for folder in (place, *place.parents):
        try:
            if b'"artifacts"' in (folder / MANIFEST).read_bytes():
                return folder
        except OSError:
            continue
    return None


def artifact(
    folder: Path | str,
    file: str,
    kind: str,
    precision: str | None = None,
    target: str | None = None,
    *,
    details: dict[str, Any] | None = None,
) -> Artifact:
    """Describes ``folder/file`` (a relative path with forward slashes), with its size in bytes and its SHA-256."""
    path = Path(folder) / file
    return Artifact(file, sha256(path), path.stat().st_size, kind, precision, target, details or {})


def write_manifest(folder: Path | str, manifest: Manifest) -> Path:
    """Writes `manifest.json` into a bundle's folder, whole or not at all, and returns its path."""
    path = Path(folder) / MANIFEST
    with replacing(path) as temporary:
        temporary.write_text(manifest.to_json(), encoding="utf-8")
    return path


def set_current(folder: Path | str) -> Path:
    """Points ``current`` beside ``folder`` at it (``build/current`` -> ``name``), in one step; returns the link's path.

    Raises KerasrtError where the link cannot be written, BundleError where something that is no link stands in its
    place.
    """
    folder = Path(folder)
    link = folder.parent / CURRENT.name
    if link.exists() and not link.is_symlink():
        raise BundleError(
            "is no symbolic link, so it is left alone", where=str(link), fix="move it away; kerasrt needs that name"
        )
    replace_link(link, folder.name)
    return link
