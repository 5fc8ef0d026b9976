"""Whole objects in a folder of a file system.

A write takes a temporary file, ``fsync``, an atomic rename and ``fsync`` of the folder: a rename
alone can leave an empty file after a power cut.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PARTIAL_SUFFIX = ".partial"
PROBE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """Objects below a folder; the methods are those of `storage.blobs.Blobs`.

    Attributes
    ----------
    root : pathlib.Path
        Absolute; it need not be there yet.
    """

    root: Path

    def read(self, key: str) -> bytes:
        """Bytes of an object."""
        return (self.root / key).read_bytes()

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Keys and bytes of objects, one after the other."""
        return ((key, self.read(key)) for key in keys)

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        return (self.root / key).is_file()

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, replacing what is there."""
        path = self.root / key
        _write_partial(path, data).replace(path)
        _sync_folder(path.parent)

    def create(self, key: str, data: bytes) -> bool:
        """Put a whole object only if there is none."""
        path = self.root / key
        partial = _write_partial(path, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        _sync_folder(path.parent)
        return True

    def upload(self, key: str, source: Path) -> None:
        """Put a whole object with the bytes of a file."""
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(path)
        try:
            shutil.copyfile(source, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(path)
        _sync_folder(path.parent)

    def versions(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Keys, sizes in bytes and modification times in ns, in key order."""
        start = (self.root / prefix).relative_to(self.root).as_posix()
        for key, entry in _files_in_key_order(
            self.root / prefix, "" if start == "." else f"{start}/"
        ):
            status = entry.stat()
            yield key, status.st_size, str(status.st_mtime_ns)

    def check_writable(self) -> None:
        """Write a small file that has no name, in the folder or the one it would be made in."""
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def delete(self, key: str) -> None:
        """Remove an object."""
        (self.root / key).unlink(missing_ok=True)

    def delete_all(self) -> None:
        """Remove the folder."""
        if self.root == self.root.parent:
            raise StorageError(f"{self.root} is the root of the file system; name a folder in it")
        shutil.rmtree(self.root, ignore_errors=True)

    def remove_partials(self) -> int:
        """Remove what killed writers left; their number."""
        found = [path for path in self.root.rglob(f".*{PARTIAL_SUFFIX}") if path.is_file()]
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)


def _files_in_key_order(folder: Path, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Keys and files below a folder in the order of an object store: ``a.json`` before ``a/b``."""
    if folder.is_dir():
        yield from _entries_in_key_order(str(folder), prefix)


def _entries_in_key_order(folder: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The same as plain text: a million paths take their time to be made."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name + "/" * entry.is_dir())
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries_in_key_order(entry.path, f"{prefix}{entry.name}/")
        elif entry.is_file() and not entry.name.endswith(PARTIAL_SUFFIX):
            yield prefix + entry.name, entry


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL_SUFFIX}")


def _write_partial(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial_name(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        # A full disk must not also keep the torn file that filled it.
        partial.unlink(missing_ok=True)
        raise
    return partial


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
