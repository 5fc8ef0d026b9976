"""Mask volumes of an image: stage a version, publish it in one write, list.

A version is an OME-Zarr label under ``labels/``. Readers know only what ``labels/zarr.json``
lists, so a version is invisible until that one small file is replaced. ::

    image.zarr/labels/zarr.json              {"ome": {"labels": ["cells-1f0c9a7e", "truth"]}}
    image.zarr/labels/cells-1f0c9a7e/        published
    image.zarr/labels/cells-77ab01c2/        staged: being written, or abandoned
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.label_names import LABELS, METADATA, is_version_of, label_url
from storage.ome_labels import (
    LabelClass,
    label_attributes,
    label_metadata,
    labels_attributes,
    parse_labels_list,
)
from storage.stores import join_url
from storage.write_grid import checksum, choose_chunks, create_array

if TYPE_CHECKING:
    from collections.abc import Iterator

    from storage.volume import Image

LOCK_SECONDS = 60.0
LOCK_WAIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class LabelLayout:
    """Shapes of a mask volume: the image's levels without its channels.

    Attributes
    ----------
    axes : str
        Axis names.
    shapes, chunks, cells : tuple of tuple of int
        Per level; a cell is one Zarr shard.
    """

    axes: str
    shapes: tuple[tuple[int, ...], ...]
    chunks: tuple[tuple[int, ...], ...]
    cells: tuple[tuple[int, ...], ...]


def label_layout(image: Image, itemsize: int) -> LabelLayout:
    """Layout of a mask volume for an image; the same for the same image."""
    base = image.volumes[0]
    kept = [i for i, axis in enumerate(base.axes) if axis != "c"]
    axes = "".join(base.axes[i] for i in kept)
    planar = "z" in base.axes and base.chunks[base.axes.index("z")] == 1
    shapes = tuple(tuple(volume.shape[i] for i in kept) for volume in image.volumes)
    grids = [choose_chunks(shape, axes, itemsize, planar=planar) for shape in shapes]
    return LabelLayout(axes, shapes, tuple(g[0] for g in grids), tuple(g[1] for g in grids))


def stage(
    image: Image,
    container_url: str,
    directory: str,
    *,
    name: str,
    classes: tuple[LabelClass, ...] | None,
    dtype: str,
    itemsize: int,
    source: str = "../../",
    provenance: dict[str, Any],
) -> LabelLayout:
    """Create an empty, unlisted version; one that is there already is left as it is.

    Parameters
    ----------
    image : Image
        The source image.
    container_url : str
        Where ``labels/`` is: the image itself, or another Zarr group.
    directory : str
        Folder under ``labels/``.
    name : str
        ``multiscales[0].name``.
    classes : tuple of LabelClass or None
        None for instances.
    dtype : str
        An unsigned integer type; `itemsize` is its size in bytes.
    source : str
        ``image-label.source.image``.
    provenance : dict
        Goes into the attribute ``maskmill``.
    """
    layout = label_layout(image, itemsize)
    group = Blobs(label_url(container_url, directory))
    if group.exists(METADATA):
        return layout
    metadata = label_metadata(image.metadata, name)
    for level, shape, chunks, cell in zip(
        metadata.levels, layout.shapes, layout.chunks, layout.cells, strict=True
    ):
        create_array(
            group.url,
            level.path,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=cell,
            axes=layout.axes,
        )
    attributes = {**label_attributes(metadata, classes, source), "maskmill": provenance}
    group.write(METADATA, group_document(attributes))
    return layout


def group_document(attributes: dict[str, Any]) -> bytes:
    """``zarr.json`` of a Zarr v3 group."""
    document = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    return json.dumps(document, indent=2).encode()


def listed(container_url: str) -> tuple[str, ...]:
    """Folders of the published labels; none where nothing was published."""
    return parse_labels_list(_labels_group(container_url))


def _labels_group(container_url: str) -> dict[str, Any]:
    """Attributes of the group that lists the labels; none if there is no such group yet."""
    try:
        document = json.loads(Blobs(join_url(container_url, LABELS)).read(METADATA))
    except FileNotFoundError:
        return {}
    attributes: dict[str, Any] = document.get("attributes", {})
    return attributes


def publish(
    container_url: str, directory: str, name: str, *, lock_url: str, owner: str
) -> list[str]:
    """List a version for readers in place of the earlier versions of its name.

    Parameters
    ----------
    container_url : str
        Where ``labels/`` is.
    directory, name : str
        The version, and the name under which others know it.
    lock_url : str
        Folder of the lock: beside the runs, so that runs of different names queue up.
    owner : str
        Who publishes; stands in the lock.

    Returns
    -------
    list of str
        Folders it replaced.
    """
    container = Blobs(join_url(container_url, LABELS))
    with publish_lock(Blobs(lock_url), owner):
        before = listed(container_url)
        replaced = [d for d in before if is_version_of(d, name) and d != directory]
        kept = [d for d in before if d not in replaced and d != directory]
        root = Blobs(container_url)
        if not root.exists(METADATA) and not root.exists(".zgroup"):
            root.write(METADATA, group_document({}))
        attributes = _labels_group(container_url) | labels_attributes((*kept, directory))
        container.write(METADATA, group_document(attributes))
    return replaced


@contextmanager
def publish_lock(
    folder: Blobs, owner: str, wait_seconds: float = LOCK_WAIT_SECONDS
) -> Iterator[None]:
    """Hold the publishing lock; one whose owner has not renewed it for a minute is taken over.

    Raises
    ------
    StorageError
        If another owner still holds it after the wait.
    """
    deadline = time.monotonic() + wait_seconds
    key = "publish.lock"
    while not folder.create(key, json.dumps({"owner": owner, "taken": time.time()}).encode()):
        holder = _read_lock(folder, key)
        if time.time() - holder.get("taken", 0.0) > LOCK_SECONDS and _may_remove(folder, holder):
            folder.delete(key)
        elif time.monotonic() > deadline:
            raise StorageError(
                f"publishing is locked by {holder.get('owner')}; if it is gone, remove "
                f"{join_url(folder.url, key)} and run the same command"
            )
        else:
            time.sleep(0.2)
    try:
        yield
    finally:
        folder.delete(key)


def _may_remove(folder: Blobs, holder: dict[str, Any]) -> bool:
    """Whether a stale lock is ours to remove: of several who find it, one is the first.

    Without the mark a slow finder would remove the lock that a faster one has taken since.
    """
    lock = checksum(json.dumps(holder, sort_keys=True).encode())
    return folder.create(f"publish.stale-{lock}", uuid4().hex.encode())


def _read_lock(folder: Blobs, key: str) -> dict[str, Any]:
    try:
        content = json.loads(folder.read(key))
    except (FileNotFoundError, ValueError):
        return {"taken": time.time()}
    return content if isinstance(content, dict) else {}
