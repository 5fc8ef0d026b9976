"""Small and whole objects by URL: records, cards, reports, encoded Zarr shards.

Every write is whole: a reader sees the old object or the new one, never half of it. In a
file system that takes a temporary file, ``fsync``, an atomic rename and ``fsync`` of the folder
(a rename alone can leave an empty file after a power cut); object stores put atomically.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.stores import is_local, join_url, normalize_url, open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTIAL_SUFFIX = ".partial"
PROBE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Blobs:
    """A folder of whole objects.

    Attributes
    ----------
    url : str
        Folder path or object-store prefix; keys are relative to it, with ``/`` between parts.
    """

    url: str

    def read(self, key: str) -> bytes:
        """Bytes of an object.

        Raises
        ------
        FileNotFoundError
            If there is no such object.
        """
        if is_local(self.url):
            return self._path(key).read_bytes()
        return bytes(open_remote(self.url).get(key).bytes())

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        if is_local(self.url):
            return self._path(key).is_file()
        try:
            open_remote(self.url).head(key)
        except FileNotFoundError:
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, replacing what is there."""
        if not is_local(self.url):
            open_remote(self.url).put(key, data)
            return
        path = self._path(key)
        partial = _write_partial(path, data)
        partial.replace(path)
        _sync_folder(path.parent)

    def create(self, key: str, data: bytes) -> bool:
        """Put a whole object only if there is none; False if there was one."""
        if not is_local(self.url):
            return self._create_remote(key, data)
        path = self._path(key)
        partial = _write_partial(path, data)
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        _sync_folder(path.parent)
        return True

    def _create_remote(self, key: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        try:
            open_remote(self.url).put(key, data, mode="create")
        except AlreadyExistsError:
            # A lost acknowledgement makes a retry meet its own object.
            return self.read(key) == data
        return True

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Keys and sizes in bytes below a folder, in key order."""
        return ((key, size) for key, size, _ in self.versions(prefix))

    def versions(self, prefix: str = "") -> Iterator[tuple[str, int, str]]:
        """Keys, sizes in bytes and version (ETag, or modification time in ns), in key order."""
        if not is_local(self.url):
            yield from sorted(
                (item["path"], item["size"], str(item["e_tag"] or item["last_modified"]))
                for batch in open_remote(self.url).list(prefix or None)
                for item in batch
            )
            return
        root = Path(normalize_url(self.url))
        for path in _files_in_key_order(root / prefix):
            status = path.stat()
            yield path.relative_to(root).as_posix(), status.st_size, str(status.st_mtime_ns)

    def check_writable(self) -> None:
        """Write and remove a small object; the folder and its listing stay as they were.

        Raises
        ------
        OSError
            If nothing can be written here.
        """
        if not is_local(self.url):
            key = f".{uuid4().hex}{PARTIAL_SUFFIX}"
            self.write(key, b"")
            self.delete(key)
            return
        folder = Path(normalize_url(self.url))
        while not folder.exists():
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        if is_local(self.url):
            self._path(key).unlink(missing_ok=True)
        elif self.exists(key):
            open_remote(self.url).delete(key)

    def delete_all(self) -> None:
        """Remove every object below the URL."""
        if is_local(self.url):
            shutil.rmtree(normalize_url(self.url), ignore_errors=True)
            return
        store = open_remote(self.url)
        for key, _ in list(self.list()):
            store.delete(key)

    def child(self, *parts: str) -> Blobs:
        """The folder below this one."""
        return Blobs(join_url(self.url, *parts))

    def _path(self, key: str) -> Path:
        return Path(normalize_url(self.url), key)


def _files_in_key_order(folder: Path) -> Iterator[Path]:
    """Files below a folder in the order of an object store: ``a.json`` before ``a/b``."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name + "/" * entry.is_dir())
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in_key_order(Path(entry))
        elif entry.is_file() and not entry.name.endswith(PARTIAL_SUFFIX):
            yield Path(entry)


def _write_partial(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}{PARTIAL_SUFFIX}")
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


def fetch_folder(url: str) -> Path:
    """Local copy of a folder of objects; a local folder is itself.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the URL.
    """
    if is_local(url):
        folder = Path(normalize_url(url))
        if not folder.is_dir():
            raise FileNotFoundError(f"{url} is not a folder; give the folder of a bundle")
        return folder
    blobs = Blobs(normalize_url(url))
    folder = Path(tempfile.mkdtemp(prefix="maskmill-bundle-"))
    copy = Blobs(str(folder))
    keys = [key for key, _ in blobs.list()]
    if not keys:
        raise FileNotFoundError(f"{url} holds no objects; give the URL of a bundle")
    for key in keys:
        copy.write(key, blobs.read(key))
    return folder
