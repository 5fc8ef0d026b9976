"""Whole objects below a prefix of an object store.

Stores put atomically. What decides between writers (records, locks, metadata) is small and goes
in one request; only large objects go in parts, several at a time.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import count as counting
from itertools import islice
from typing import TYPE_CHECKING, Any

from storage.errors import StorageError
from storage.local_folder import PARTIAL_SUFFIX
from storage.remote_errors import CutAnswerError, readable
from storage.remote_tries import Tries, insist
from storage.requests import PAGE, count
from storage.store_probe import check_store
from storage.stores import open_remote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MULTIPART_BYTES = 2**24
PART_BYTES = 2**23
PARTS_AT_ONCE = 4
READS_AHEAD = 16
# An object that vanishes between "already there" and reading it is being replaced by others.
CREATE_TRIES = 5


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """Objects below a prefix; the methods are those of `storage.blobs.Blobs`.

    Attributes
    ----------
    url : str
        ``s3://bucket/prefix`` or the like.
    """

    url: str

    @property
    def store(self) -> Any:
        """The client; its keys are relative to the prefix."""
        return open_remote(self.url)

    def read(self, key: str) -> bytes:
        """Bytes of an object."""
        data = insist(self.url, key, lambda: bytes(self.store.get(key).bytes()))
        count("get", read=len(data))
        return data

    def read_each(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Keys and bytes of objects, in order; the next few are on their way meanwhile."""
        remaining = iter(keys)
        with ThreadPoolExecutor(READS_AHEAD) as threads:
            asked = deque(
                (key, threads.submit(self.read, key)) for key in islice(remaining, READS_AHEAD)
            )
            while asked:
                key, found = asked.popleft()
                data = found.result()
                asked.extend((new, threads.submit(self.read, new)) for new in islice(remaining, 1))
                yield key, data

    def exists(self, key: str) -> bool:
        """Whether the object is there."""
        count("head")
        try:
            insist(self.url, key, lambda: self.store.head(key))
        except FileNotFoundError:
            return False
        return True

    def write(self, key: str, data: bytes) -> None:
        """Put a whole object, replacing what is there."""
        self._put(key, data, len(data))

    def upload(self, key: str, source: Path) -> None:
        """Put a whole object with the bytes of a file, which is not read into memory."""
        self._put(key, source, source.stat().st_size)

    def _put(self, key: str, source: bytes | Path, size: int) -> None:
        large = size > MULTIPART_BYTES
        put = partial(
            self.store.put,
            key,
            source,
            use_multipart=large,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )
        insist(self.url, key, put)
        # A large object is begun, put in parts and completed.
        count("put", 2 - (-size // PART_BYTES) if large else 1, written=size)

    def create(self, key: str, data: bytes) -> bool:
        """Put a whole object only if there is none."""
        for _ in range(CREATE_TRIES):
            if self._put_new(key, data):
                return True
            # A lost acknowledgement makes a repeated request meet its own object.
            with suppress(FileNotFoundError):
                return self.read(key) == data
        return False

    def _put_new(self, key: str, data: bytes) -> bool:
        from obstore.exceptions import AlreadyExistsError

        count("put", written=len(data))
        try:
            put = partial(self.store.put, key, data, mode="create", use_multipart=False)
            insist(self.url, key, put)
        except AlreadyExistsError:
            return False
        return True

    def versions(self, prefix: str) -> Iterator[tuple[str, int, str]]:
        """Keys, sizes in bytes and ETags (modification times without), in key order."""
        last = ""
        for item in self._listed(prefix):
            key: str = item["path"]
            if key <= last:
                raise StorageError(
                    f"{self.url} lists {key!r} after {last!r}; expected a store that lists its "
                    "keys in order, as S3 does except for directory buckets"
                )
            last = key
            name = key.rsplit("/", 1)[-1]
            if not (name.startswith(".") and name.endswith(PARTIAL_SUFFIX)):
                yield key, item["size"], str(item["e_tag"] or item["last_modified"])

    def _listed(self, prefix: str) -> Iterator[Any]:
        """Every object below a prefix; a page that ended early is asked for again."""
        last, tries = "", Tries()
        while True:
            try:
                for item in self._items(prefix, last):
                    last, tries = item["path"], Tries()
                    yield item
                return
            except CutAnswerError as cut:
                tries.bear(cut)

    def _items(self, prefix: str, after: str) -> Iterator[Any]:
        """Every object below a prefix and after a key, a page at a time."""
        pages = iter(self.store.list(prefix or None, offset=after or None, chunk_size=PAGE))
        for number in counting():
            with readable(self.url, prefix):
                page = next(pages, None)
            if page is not None or not number:
                count("list")
            if page is None:
                return
            yield from page

    def check_writable(self) -> None:
        """Refuse a store that cannot do what runs rely on."""
        check_store(self.url)

    def delete(self, key: str) -> None:
        """Remove an object."""
        count("delete")
        with suppress(FileNotFoundError):
            insist(self.url, key, lambda: self.store.delete(key))

    def delete_all(self) -> None:
        """Remove every object below the prefix, up to a thousand in one request."""
        if "/" not in self.url.partition("://")[2].strip("/"):
            raise StorageError(f"{self.url} is a whole bucket; name a prefix in it")
        keys = (item["path"] for item in self._listed(""))
        while page := list(islice(keys, PAGE)):
            self._delete_page(page)

    def _delete_page(self, keys: list[str]) -> None:
        count("delete")
        try:
            insist(self.url, "", lambda: self.store.delete(keys))
        except FileNotFoundError:
            # Somebody else removes them too, and this store tells of every one that is gone.
            for key in keys:
                self.delete(key)

    def remove_partials(self) -> int:
        """Nothing: a put that was interrupted leaves no object."""
        return 0
