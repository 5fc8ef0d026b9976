"""URL to store: the one place that knows local folders from object stores.

A URL is a path, ``file://``, ``s3://``, ``gs://`` or ``az://``. Credentials come from the
standard chains of each provider (environment, profile, instance role), never from a URL.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from storage.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as ObstoreStore
    from zarr.abc.store import Store

REMOTE_SCHEMES = ("s3", "gs", "az")


def normalize_url(url: str) -> str:
    """Absolute local path, or a remote URL without its trailing slash.

    Parameters
    ----------
    url : str
        A path, ``file://…``, ``s3://bucket/key``, ``gs://bucket/key`` or ``az://container/key``.

    Raises
    ------
    StorageError
        If the scheme is none of these or the URL is empty.
    """
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in REMOTE_SCHEMES:
        return url.rstrip("/")
    if scheme == "file":
        return str(Path(unquote(urlsplit(url).path)).absolute())
    if scheme:
        raise StorageError(
            f"URL {url!r} has the scheme {scheme!r}; use a path, file://, s3://, gs:// or az://"
        )
    if not url:
        raise StorageError("an empty URL was given; give a path or an s3://, gs:// or az:// URL")
    return str(Path(url).expanduser().absolute())


def join_url(url: str, *parts: str) -> str:
    """Append path parts to a URL."""
    return "/".join([url.rstrip("/"), *(part.strip("/") for part in parts)])


def is_local(url: str) -> bool:
    """Whether the URL names a place in a file system."""
    return urlsplit(url).scheme not in REMOTE_SCHEMES


@lru_cache(maxsize=64)
def open_remote(url: str) -> ObstoreStore:
    """Object store rooted at a remote URL, with retries and timeouts.

    Retries back off with jitter for at most three minutes, so a store that stays away
    ends a shard, not the run.
    """
    from datetime import timedelta

    from obstore.store import from_url

    return from_url(
        url,
        retry_config={"max_retries": 10, "retry_timeout": timedelta(minutes=3)},
        client_options={"timeout": timedelta(seconds=60), "allow_http": True},
    )


def open_store(url: str, *, read_only: bool = False) -> Store:
    """Zarr store at a URL: ``LocalStore`` in a file system, ``ObjectStore`` elsewhere."""
    from zarr.storage import LocalStore, ObjectStore

    if is_local(url):
        return LocalStore(normalize_url(url), read_only=read_only)
    return ObjectStore(open_remote(url), read_only=read_only)
