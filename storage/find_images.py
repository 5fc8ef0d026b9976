"""OME-Zarr images below a folder or a prefix, found with a listing for each folder on the way.

Nothing below an image is listed, nor what belongs to runs, so the number of requests grows with
the number of images and not with their size. ::

    plates/                 listed
    plates/p1.zarr/         a plate: listed, its zarr.json read
    plates/p1.zarr/A/1/0    an image: listed, its zarr.json read, nothing below it
    plates/p1.zarr.runs/    run records: left alone
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import LABELS, METADATA
from storage.ome import ome_attributes
from storage.remote_errors import readable
from storage.requests import bulk_requests, count
from storage.stores import is_local, join_url, normalize_url, open_remote

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS_SUFFIX = ".runs"
# What a folder is.
IMAGE, GROUP, PLAIN, OTHER = "image", "group", "plain", "other"


@dataclass(frozen=True, slots=True)
class Listing:
    """What is right below a URL.

    Attributes
    ----------
    folders, objects : tuple of str
        Names, in order.
    """

    folders: tuple[str, ...]
    objects: tuple[str, ...]


def find_images(url: str) -> Iterator[str]:
    """URLs of the OME-Zarr images at or below a URL, in order; labels are none.

    A group whose metadata cannot be read is among them: who opens it learns what is wrong.

    Parameters
    ----------
    url : str
        Folder path or object-store prefix.

    Raises
    ------
    StorageError
        If there is nothing at all.
    """
    url = normalize_url(url)
    listing = list_folder(url)
    if not (listing.folders or listing.objects or _is_folder(url)):
        raise StorageError(
            f"{url} does not exist or holds nothing; give a folder or prefix with OME-Zarr images"
        )
    yield from _below(url, listing, frozenset())


def list_folder(url: str) -> Listing:
    """What is right below a URL: one listing, whatever lies deeper."""
    if is_local(url):
        return _local_listing(normalize_url(url))
    with readable(url):
        found = open_remote(url).list_with_delimiter(None)
    folders = sorted(_last(prefix) for prefix in found["common_prefixes"])
    objects = sorted(_last(item["path"]) for item in found["objects"])
    count("list", bulk_requests(len(folders) + len(objects)))
    return Listing(tuple(folders), tuple(objects))


def _local_listing(path: str) -> Listing:
    try:
        with os.scandir(path) as found:
            entries = sorted((entry.name, entry.is_dir()) for entry in found)
    except (FileNotFoundError, NotADirectoryError):
        return Listing((), ())
    names = {kind: tuple(n for n, is_dir in entries if is_dir == kind) for kind in (True, False)}
    return Listing(names[True], names[False])


def _last(key: str) -> str:
    return key.rstrip("/").rsplit("/", 1)[-1]


def _is_folder(url: str) -> bool:
    return is_local(url) and Path(url).is_dir()


def _below(url: str, listing: Listing, above: frozenset[str]) -> Iterator[str]:
    """Images at or below a folder that was listed; `above` are the folders it lies in."""
    kind = _kind(url, listing)
    if kind == IMAGE:
        yield url
    place = os.path.realpath(url) if is_local(url) else url
    # A link to a folder above would lead round and round.
    if kind not in (GROUP, PLAIN) or place in above:
        return
    for name in listing.folders:
        if not _is_passed_over(name, kind):
            child = join_url(url, name)
            try:
                listed = list_folder(child)
            except PermissionError:
                yield child
            else:
                yield from _below(child, listed, above | {place})


def _is_passed_over(name: str, kind: str) -> bool:
    is_labels = kind == GROUP and name == LABELS
    return is_labels or name.startswith(".") or name.endswith(RUNS_SUFFIX)


def _kind(url: str, listing: Listing) -> str:
    """What a folder is, by the metadata in it."""
    objects = set(listing.objects)
    if {".zarray", "run.json"} & objects:
        return OTHER
    # A group of Zarr v2 has its attributes in a file of their own, or has none.
    key = next((key for key in (METADATA, ".zattrs") if key in objects), None)
    if key is None:
        return GROUP if ".zgroup" in objects else PLAIN
    try:
        return _kind_by(key, json.loads(Blobs(url).read(key)))
    except (ValueError, TypeError, LookupError, AttributeError, PermissionError):
        return IMAGE


def _kind_by(key: str, document: Any) -> str:
    """What a folder is, by its metadata object."""
    if key == METADATA and document["node_type"] == "array":
        return OTHER
    ome = ome_attributes(document.get("attributes", {}) if key == METADATA else document)
    if LABELS in ome or "image-label" in ome:
        return OTHER
    return IMAGE if "multiscales" in ome else GROUP
