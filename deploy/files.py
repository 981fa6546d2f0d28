"""Files and folders that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.errors import KerasrtError


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """An OSError while writing becomes one sentence that names the path."""
    try:
        yield
    except OSError as error:
        fix = "free some space" if error.errno == 28 else "choose a folder you may write to, or mend its permissions"
        raise KerasrtError(f"cannot be written ({error.strerror or error})", where=str(path), fix=fix) from error


@contextlib.contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside ``path``; on success it is renamed to it, on any failure removed.

    Raises KerasrtError when the folder cannot be written or the disk is full; ``path`` is then as it was.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o666 & ~mask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: Path | str) -> Iterator[Path]:
    """Yields a temporary folder beside ``path``; on success it takes the place of ``path``, on any failure it is
    removed.

    An older folder at ``path`` stays untouched until the new one is whole. Raises KerasrtError as `replacing` does.
    """
    path = Path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield temporary
            mask = os.umask(0)
            os.umask(mask)
            temporary.chmod(0o777 & ~mask)
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
                try:
                    os.replace(path, old / path.name)
                    os.replace(temporary, path)
                finally:
                    if not os.path.lexists(path):  # whatever came in between, Ctrl-C included
                        os.replace(old / path.name, path)
                    shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
