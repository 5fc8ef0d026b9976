"""Versions of mask volumes as folders: which there are, and how one is taken away.

A reader that has a version open knows its metadata and asks for chunks one by one; a chunk that
is gone reads as background. No order of deletion can protect it, only time: a version is taken
away long after readers were last shown it. Metadata goes first, so that nobody opens what is
being taken away, and what a killed removal leaves can be told from a version.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from storage.blobs import Blobs
from storage.consolidated import without_copies
from storage.errors import StorageError
from storage.inventory import folders
from storage.label_names import LABELS, METADATA, label_url
from storage.labels import encoded, listed, publish_lock, read_document
from storage.stores import is_local, join_url, normalize_url

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION = re.compile(r"(.+)-[0-9a-f]{8}(-\d+)?")


def name_of_version(directory: str) -> str | None:
    """NAME of a folder NAME-KEY or NAME-KEY-n; None of any other."""
    found = _VERSION.fullmatch(directory)
    return found[1] if found else None


def label_folders(container_url: str) -> list[str]:
    """Folders under ``labels/``, published or not, in order."""
    return folders(join_url(container_url, LABELS))


def remove_version(container_url: str, directory: str, *, lock_url: str, owner: str) -> None:
    """Take a version away: copies of its metadata, its metadata, then its chunks.

    Killed in the middle, the same call goes on.

    Parameters
    ----------
    container_url : str
        Where ``labels/`` is.
    directory : str
        The version, which must not be published.
    lock_url : str
        Folder of the publishing lock.
    owner : str
        Who removes; stands in the lock.

    Raises
    ------
    StorageError
        If the version is published; nothing was removed then.
    """
    label = Blobs(label_url(container_url, directory))
    with publish_lock(lock_url, owner) as lock:
        if directory in listed(container_url):
            raise StorageError(f"{label.url} is published; publish another version first")
        lock.check(confirm=True)
        _drop_copies(container_url, directory)
        for key in (METADATA, *_level_metadata(label)):
            label.delete(key)
    label.delete_all()


def _drop_copies(container_url: str, directory: str) -> None:
    for group, path in (
        (Blobs(container_url), f"{LABELS}/{directory}"),
        (Blobs(join_url(container_url, LABELS)), directory),
    ):
        document = read_document(group)
        renewed = without_copies(document, path)
        if renewed != document:
            group.write(METADATA, encoded(renewed))


def _level_metadata(label: Blobs) -> Iterator[str]:
    return (f"{level}/{METADATA}" for level in folders(label.url))


def remove_folder(url: str) -> None:
    """Remove an empty folder of a file system; one that is not empty any more stays."""
    if is_local(url):
        with suppress(OSError):
            Path(normalize_url(url)).rmdir()
