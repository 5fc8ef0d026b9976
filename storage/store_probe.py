"""What an object store must be able to do before anything is written to it.

Runs rely on three things: an object can be put only where there is none (locks, new arrays),
what was put can be read and listed at once (records), and what was removed is gone. Zarr itself
makes no array without the first. A store that lacks one is refused before any work.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import Any
from uuid import uuid4

from storage.errors import StorageError
from storage.local_folder import PARTIAL_SUFFIX
from storage.remote_errors import StoreUnavailableError, status_of
from storage.remote_options import MAX_RETRIES
from storage.remote_tries import insist
from storage.requests import count
from storage.stores import Settings, normalize_url, open_remote, store_settings

# Repetitions before "not implemented" is believed; what fails otherwise gets the whole deadline.
QUICK_RETRIES = 4
NOT_IMPLEMENTED = "501"


def check_store(url: str) -> None:
    """Refuse an object store that cannot do what runs rely on; once for a URL and process.

    Makes about six requests; the object it puts for this is removed again, and listings leave
    it out while it is there.

    Raises
    ------
    StorageError
        If the store lacks something; the message says what.
    OSError
        If it gives no access or no answer.
    """
    _check(normalize_url(url), store_settings())


@lru_cache(maxsize=64)
def _check(url: str, _settings: Settings) -> None:
    folder = f".{uuid4().hex}"
    key = f"{folder}/{folder}{PARTIAL_SUFFIX}"
    try:
        _check_create(url, key)
        if _keys(url, folder) != [key]:
            raise _refusal(url, "does not list at once what was put")
    except Exception:
        # A store that does not answer must not be waited for a second time.
        with suppress(OSError, StorageError):
            _delete(url, key, QUICK_RETRIES)
        raise
    _delete(url, key, MAX_RETRIES)
    if _keys(url, folder):
        raise _refusal(url, "still lists what was removed")


def _check_create(url: str, key: str) -> None:
    mine, other = uuid4().bytes, uuid4().bytes
    try:
        made = _create(url, key, mine, QUICK_RETRIES)
    except StoreUnavailableError:
        made = _create(url, key, mine, MAX_RETRIES)
    # A lost acknowledgement makes a repeated request meet its own object.
    if not made and _read(url, key) != mine:
        raise _refusal(url, "says that a new object is there already")
    if _create(url, key, other, MAX_RETRIES):
        raise _refusal(url, "replaces an object that was to be put only where there is none")
    if _read(url, key) != mine:
        raise _refusal(url, "does not give back at once what was put")


def _create(url: str, key: str, data: bytes, max_retries: int) -> bool:
    """Put an object where there is none; False if there is one."""
    count("put", written=len(data))
    try:
        return insist(url, key, lambda: _put_new(url, max_retries, key, data))
    except FileNotFoundError as error:
        raise StorageError(str(error)) from None


def _put_new(url: str, max_retries: int, key: str, data: bytes) -> bool:
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError

    lacking = "cannot put an object only where there is none (conditional PUT)"
    try:
        _client(url, max_retries).put(key, data, mode="create", use_multipart=False)
    except AlreadyExistsError:
        return False
    except (NotImplementedError, NotSupportedError):
        raise _refusal(url, lacking) from None
    except BaseError as error:
        if status_of(str(error)) != NOT_IMPLEMENTED:
            raise
        raise _refusal(url, lacking) from None
    return True


def _read(url: str, key: str) -> bytes:
    """Bytes of the object; none if it is not there."""
    count("get")
    with suppress(FileNotFoundError):
        return insist(url, key, lambda: bytes(_client(url, MAX_RETRIES).get(key).bytes()))
    return b""


def _keys(url: str, folder: str) -> list[str]:
    pages = _client(url, MAX_RETRIES).list
    count("list")
    return insist(url, folder, lambda: [one["path"] for page in pages(folder) for one in page])


def _delete(url: str, key: str, max_retries: int) -> None:
    count("delete")
    with suppress(FileNotFoundError):
        insist(url, key, lambda: _client(url, max_retries).delete(key))


def _client(url: str, max_retries: int) -> Any:
    return open_remote(url, max_retries=max_retries)


def _refusal(url: str, what: str) -> StorageError:
    return StorageError(
        f"{url}: this store {what}, which runs need; use another store, such as S3, Google Cloud "
        "Storage, Azure Blob Storage or Ceph, or a local folder"
    )
