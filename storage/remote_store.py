"""Zarr's door to object stores: every request is counted, every error has advice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from zarr.storage import ObjectStore, WrapperStore

from storage.remote_tries import insist_async
from storage.requests import bulk_requests, count
from storage.stores import normalize_url, open_remote

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

# Ranges this close are asked for together: what lies between costs less than another request.
NEAR_BYTES = 2**18


class RemoteStore(WrapperStore[ObjectStore[Any]]):
    """Zarr store below a remote URL.

    Parameters
    ----------
    store : zarr.storage.ObjectStore
        What makes the requests.
    url : str
        Where it is rooted; errors name it.
    """

    def __init__(self, store: ObjectStore[Any], url: str) -> None:
        super().__init__(store)
        self.url = url

    @classmethod
    def at(cls, url: str, *, read_only: bool) -> RemoteStore:
        """The store at a URL."""
        url = normalize_url(url)
        return cls(ObjectStore(open_remote(url), read_only=read_only), url)

    def _with_store(self, store: ObjectStore[Any]) -> RemoteStore:
        return RemoteStore(store, self.url)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Bytes of an object or of a part of it; None if it is not there."""
        found = await insist_async(
            self.url, key, lambda: self._store.get(key, prototype, byte_range)
        )
        count("get", read=0 if found is None else len(found))
        return found

    async def get_ranges(
        self, key: str, ranges: Sequence[tuple[int, int]], prototype: BufferPrototype
    ) -> list[Buffer]:
        """Several parts of an object, near ones in one request.

        Parameters
        ----------
        ranges : sequence of tuple of int
            Start and stop in bytes, in rising order.
        """
        import obstore

        starts, stops = [start for start, _ in ranges], [stop for _, stop in ranges]
        ask = partial(obstore.get_ranges_async, self._store.store, key)
        parts = await insist_async(
            self.url, key, lambda: ask(starts=starts, ends=stops, coalesce=NEAR_BYTES)
        )
        spans = joined(ranges)
        count("get", len(spans), read=sum(stop - start for start, stop in spans))
        return [prototype.buffer.from_bytes(bytes(part)) for part in parts]

    async def get_partial_values(
        self,
        prototype: BufferPrototype,
        key_ranges: Iterable[tuple[str, ByteRequest | None]],
    ) -> list[Buffer | None]:
        """Parts of several objects, one request each."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether the object is there."""
        count("head")
        return await insist_async(self.url, key, lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Put a whole object."""
        count("put", written=len(value))
        await insist_async(self.url, key, lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Put a whole object if there is none."""
        count("put", written=len(value))
        await insist_async(self.url, key, lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        count("delete")
        await insist_async(self.url, key, lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        """Remove every object below a prefix."""
        import obstore

        keys = [key async for key in self.list_prefix(f"{prefix.rstrip('/')}/" if prefix else "")]
        if keys:
            count("delete", bulk_requests(len(keys)))
            await insist_async(
                self.url, prefix, lambda: obstore.delete_async(self._store.store, keys)
            )

    async def getsize(self, key: str) -> int:
        """Size of an object in bytes."""
        count("head")
        return await insist_async(self.url, key, lambda: self._store.getsize(key))

    async def list(self) -> AsyncIterator[str]:
        """Keys of all objects."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Keys of the objects below a prefix."""
        for key in await self._listed(prefix, self._store.list_prefix):
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Names in one folder."""
        for name in await self._listed(prefix, self._store.list_dir):
            yield name

    async def _listed(
        self, prefix: str, listing: Callable[[str], AsyncIterator[str]]
    ) -> Sequence[str]:
        """A whole listing; one that ended early is asked for again."""

        async def whole() -> list[str]:
            count("list")
            return [name async for name in listing(prefix)]

        return await insist_async(self.url, prefix, whole)


def joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is asked for when rising ranges that lie near each other are asked for together."""
    spans: list[tuple[int, int]] = []
    for start, stop in ranges:
        if spans and start - spans[-1][1] <= NEAR_BYTES:
            spans[-1] = (spans[-1][0], max(stop, spans[-1][1]))
        else:
            spans.append((start, stop))
    return spans
