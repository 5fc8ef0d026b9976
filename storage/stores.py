"""URL to store: the one place that knows local folders from object stores.

A URL is a path, ``file://``, ``s3://``, ``gs://`` or ``az://``. Credentials come from the
standard chains of each provider (environment, profile, instance role), never from a URL.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from storage.errors import StorageError
from storage.remote_options import MAX_RETRIES, store_options

if TYPE_CHECKING:
    from zarr.abc.store import Store

REMOTE_SCHEMES = ("s3", "gs", "az")
Settings = tuple[tuple[str, str], ...]

# Variables that decide how a store is reached.
SETTINGS = ("AWS_", "GOOGLE_", "AZURE_", "MASKMILL_STORE_")


def normalize_url(url: str) -> str:
    """Absolute local path, or a remote URL without its trailing slash.

    Parameters
    ----------
    url : str
        A path, ``file://…``, ``s3://bucket/key``, ``gs://bucket/key`` or ``az://container/key``.

    Raises
    ------
    StorageError
        If the scheme is none of these, the URL is empty or names no bucket, or it holds what
        may be a secret.
    """
    scheme = urlsplit(url).scheme if "://" in url else ""
    if scheme in REMOTE_SCHEMES:
        return _checked_remote(url, scheme)
    if scheme == "file":
        return str(Path(unquote(urlsplit(url).path)).absolute())
    if scheme:
        raise StorageError(
            f"URL {_shown(url)!r} has the scheme {scheme!r}; use a path, file://, s3://, gs:// or "
            "az://"
        )
    if not url:
        raise StorageError("an empty URL was given; give a path or an s3://, gs:// or az:// URL")
    return str(Path(url).expanduser().absolute())


def _checked_remote(url: str, scheme: str) -> str:
    place = url.partition("://")[2].rstrip("/")
    bucket, _, key = place.partition("/")
    if "@" in bucket or "?" in place or "#" in place:
        raise StorageError(
            f"URL {_shown(url)!r} holds more than bucket and key; credentials come from the "
            "environment, never from a URL"
        )
    if not bucket:
        raise StorageError(f"URL {url!r} names no bucket; expected {scheme}://BUCKET/KEY")
    if key and not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise StorageError(f"URL {url!r} has an empty part, . or ..; write the key out")
    return f"{scheme}://{place}"


def _shown(url: str) -> str:
    """A URL without what may be a secret: user, password and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def join_url(url: str, *parts: str) -> str:
    """Append path parts to a URL."""
    return "/".join([url.rstrip("/"), *(part.strip("/") for part in parts)])


def is_local(url: str) -> bool:
    """Whether the URL names a place in a file system."""
    return urlsplit(url).scheme not in REMOTE_SCHEMES


def open_remote(url: str, *, max_retries: int = MAX_RETRIES) -> Any:
    """Client of an object store, rooted at a remote URL.

    Failing requests are repeated with growing, random pauses until the deadline, so a store
    that stays away ends a run and does not hang it.

    Raises
    ------
    StorageError
        If the environment is unusable.
    """
    return _client(normalize_url(url), max_retries, store_settings())


def store_settings() -> Settings:
    """Variables of the environment that decide how object stores are reached, sorted."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith(SETTINGS)))


@lru_cache(maxsize=64)
def _client(url: str, max_retries: int, settings: Settings) -> Any:
    """One client, and its connections, for every use of a URL under the same settings."""
    from obstore.exceptions import BaseError
    from obstore.store import AzureStore, GCSStore, S3Store

    parts = urlsplit(url)
    kinds: dict[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    options = store_options(parts.scheme, dict(settings), max_retries=max_retries)
    try:
        return kinds[parts.scheme](parts.netloc, prefix=parts.path.strip("/") or None, **options)
    except (BaseError, ValueError) as error:
        # Only the kind of the failure: its text may quote a variable.
        raise StorageError(
            f"{url} cannot be reached with the settings in the environment "
            f"({type(error).__name__}); check the variables of its provider, such as region, "
            "endpoint and account"
        ) from None


def open_store(url: str, *, read_only: bool = False) -> Store:
    """Zarr store at a URL: ``LocalStore`` in a file system, `RemoteStore` elsewhere."""
    if is_local(url):
        from zarr.storage import LocalStore

        return LocalStore(normalize_url(url), read_only=read_only)
    from storage.remote_store import RemoteStore

    return RemoteStore.at(url, read_only=read_only)
