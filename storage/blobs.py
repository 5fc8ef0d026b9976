"""Small and whole objects by URL: records, cards, reports, encoded Zarr shards.

Every write is whole: a reader sees the old object or the new one, never half of it. How that is
done is told in `storage.local_folder` and `storage.remote_folder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.local_folder import LocalFolder
from storage.stores import is_local, join_url, normalize_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from storage.remote_folder import RemoteFolder


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
        return self._folder().read(key)

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Keys and bytes of objects, in the order of the keys.

        From an object store several are asked for ahead, as each takes a round trip.

        Raises
        ------
        FileNotFoundError
            If one of them is not there.
        """
        return self._folder().read_each(keys)

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        return self._folder().exists(key)

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, replacing what is there."""
        self._folder().write(key, data)

    def upload(self, key: str, source: Path) -> None:
        """Put a whole object with the bytes of a local file, replacing what is there."""
        self._folder().upload(key, source)

    def create(self, key: str, data: bytes) -> bool:
        """Put a whole object only if there is none; False if there was one.

        An object with the same bytes counts as this writer's own, whose acknowledgement was
        lost: bytes that two writers may both bring need something of the writer in them.
        """
        return self._folder().create(key, data)

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Keys and sizes in bytes below a folder, in key order."""
        return ((key, size) for key, size, _ in self.versions(prefix))

    def versions(self, prefix: str = "") -> Iterator[tuple[str, int, str]]:
        """Keys, sizes in bytes and version (ETag, or modification time in ns), in key order."""
        return self._folder().versions(prefix)

    def check_writable(self) -> None:
        """Write and remove a small object; the folder and its listing stay as they were.

        Raises
        ------
        OSError
            If nothing can be written here.
        StorageError
            If this is an object store that cannot put an object only where there is none, or
            does not show at once what was put.
        """
        self._folder().check_writable()

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        self._folder().delete(key)

    def delete_all(self) -> None:
        """Remove every object below the URL.

        Raises
        ------
        StorageError
            If the URL is a whole bucket, or the root of the file system.
        """
        self._folder().delete_all()

    def remove_partials(self) -> int:
        """Remove the half objects that killed writers left in a file system; their number.

        Only for who alone may write here: a writer at work loses the object it is writing.
        """
        return self._folder().remove_partials()

    def child(self, *parts: str) -> Blobs:
        """The folder below this one."""
        return Blobs(join_url(self.url, *parts))

    def _folder(self) -> LocalFolder | RemoteFolder:
        if is_local(self.url):
            return LocalFolder(Path(normalize_url(self.url)))
        from storage.remote_folder import RemoteFolder

        return RemoteFolder(normalize_url(self.url))
