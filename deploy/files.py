"""Files and folders that appear whole or not at all, and their hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
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
        sweep(path)
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
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
        sweep(path)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                old = Path(tempfile.mkdtemp(prefix=_prefix(path) + _OLD, dir=path.parent))
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


def replace_link(path: Path, target: str) -> None:
    """Makes ``path`` a symbolic link to ``target``, in one step. Raises KerasrtError where it cannot be written."""
    with writing(path):
        sweep(path)
        folder = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))
        try:
            (folder / path.name).symlink_to(target, target_is_directory=True)
            os.replace(folder / path.name, path)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(path: Path) -> None:
    """Removes what processes that were killed left beside ``path``; an older folder on its way out is put back.

    Only temporary files of this machine whose process is gone; without process ids to go by (Windows), none.
    """
    if _owner() is None:
        return
    pattern = re.compile(re.escape(f".{path.name}.{_owner()}-") + r"(\d+)\.")
    for name in os.listdir(path.parent):
        item, found = path.parent / name, pattern.match(name)
        if found is None or _runs(int(found[1])):
            continue
        if name.startswith(_OLD, found.end()) and not os.path.lexists(path) and (item / path.name).exists():
            os.replace(item / path.name, path)
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


_OLD = "old."


def _prefix(path: Path) -> str:
    """How the name of a temporary file for ``path`` begins: it says whose it is."""
    return f".{path.name}.{_owner() or 'kerasrt'}-{os.getpid()}."


def _owner() -> str | None:
    """The machine's name, where a process can be asked for by its id."""
    return os.uname().nodename if hasattr(os, "uname") else None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's, or no process id at all
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
