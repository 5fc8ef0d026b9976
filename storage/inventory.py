"""What a store says of its objects: folders, sizes, and times by the store's own clock."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from storage.local_folder import PARTIAL_SUFFIX
from storage.remote_tries import insist
from storage.requests import count
from storage.stores import is_local, normalize_url, open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.blobs import Blobs


@dataclass(frozen=True, slots=True)
class Usage:
    """What is stored below a URL.

    Attributes
    ----------
    objects, bytes : int
        How many objects, and their sizes together.
    newest : float
        When the last of them was written, in seconds of the store's clock; 0 where there is none.
    """

    objects: int
    bytes: int
    newest: float


def folders(url: str) -> list[str]:
    """Names of the folders right below a URL, in order; none where there is nothing."""
    if is_local(url):
        root = Path(normalize_url(url))
        return (
            sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
        )
    count("list")
    listing = insist(url, "", lambda: open_remote(url).list_with_delimiter(None))
    found = listing["common_prefixes"]
    return sorted(prefix.rstrip("/").rsplit("/", 1)[-1] for prefix in found)


def usage(url: str) -> Usage:
    """Objects, bytes and latest time below a URL."""
    objects = size = 0
    newest = 0.0
    for one_size, written in _stored(url):
        objects, size, newest = objects + 1, size + one_size, max(newest, written)
    return Usage(objects, size, newest)


def written(blobs: Blobs, key: str) -> float | None:
    """When an object was written, in seconds of the store's clock; None if there is none."""
    if is_local(blobs.url):
        try:
            return Path(normalize_url(blobs.url), key).stat().st_mtime
        except FileNotFoundError:
            return None
    count("head")
    try:
        found = insist(blobs.url, key, lambda: open_remote(blobs.url).head(key))
        return float(found["last_modified"].timestamp())
    except FileNotFoundError:
        return None


def store_time(blobs: Blobs) -> float:
    """What time it is by the store's clock: that of an object written just now, and removed.

    Ages of objects are differences of two of its times, so that it does not matter whether this
    machine's clock is right.

    Raises
    ------
    OSError
        If nothing can be written there.
    """
    key = f".{uuid4().hex}{PARTIAL_SUFFIX}"
    blobs.write(key, b"")
    try:
        return written(blobs, key) or 0.0
    finally:
        blobs.delete(key)


def _stored(url: str) -> Iterator[tuple[int, float]]:
    """Size and time of every object below a URL, those of killed writers too."""
    if not is_local(url):
        count("list")
        yield from insist(
            url,
            "",
            lambda: [
                (item["size"], item["last_modified"].timestamp())
                for page in open_remote(url).list(None)
                for item in page
            ],
        )
        return
    for folder, _, names in os.walk(normalize_url(url)):
        for name in names:
            status = Path(folder, name).lstat()
            yield status.st_size, status.st_mtime
