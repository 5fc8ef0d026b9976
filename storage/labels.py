"""Mask volumes of an image: stage a version, publish it in one write, list.

A version is an OME-Zarr label under ``labels/``. Readers know only what ``labels/zarr.json``
lists, so a version is invisible until that one small file is replaced. ::

    image.zarr/labels/zarr.json              {"ome": {"labels": ["cells-1f0c9a7e", "truth"]}}
    image.zarr/labels/cells-1f0c9a7e/        published
    image.zarr/labels/cells-77ab01c2/        staged: being written, or abandoned
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storage.blobs import Blobs
from storage.consolidated import has_copies, with_copies
from storage.label_names import LABELS, METADATA, is_version_of, label_url
from storage.lease import Lease, hold
from storage.ome import ome_attributes
from storage.ome_labels import (
    LabelClass,
    label_attributes,
    label_metadata,
    labels_attributes,
    parse_labels_list,
)
from storage.stores import join_url
from storage.write_grid import choose_chunks, create_array

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from storage.volume import Image

LOCK = "publish.lock"
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
    return encoded({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def encoded(document: dict[str, Any]) -> bytes:
    """A ``zarr.json`` document as it is stored."""
    return json.dumps(document, indent=2).encode()


def read_document(group: Blobs, key: str = METADATA) -> dict[str, Any]:
    """A ``zarr.json`` document; empty if there is none."""
    try:
        document: dict[str, Any] = json.loads(group.read(key))
    except FileNotFoundError:
        return {}
    return document


def listed(container_url: str) -> tuple[str, ...]:
    """Folders of the published labels; none where nothing was published."""
    document = read_document(Blobs(join_url(container_url, LABELS)))
    return parse_labels_list(document.get("attributes", {}))


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

    Raises
    ------
    LeaseBusyError
        If another publishes for longer than two minutes.
    """
    with publish_lock(lock_url, owner) as lock:
        before = listed(container_url)
        replaced = [d for d in before if is_version_of(d, name) and d != directory]
        kept = [d for d in before if d not in replaced and d != directory]
        root = Blobs(container_url)
        if not root.exists(METADATA) and not root.exists(".zgroup"):
            root.write(METADATA, group_document({}))
        lock.check(confirm=True)
        _write_list(container_url, (*kept, directory), directory)
    return replaced


def publish_lock(lock_url: str, owner: str) -> AbstractContextManager[Lease]:
    """The lock under which ``labels/zarr.json`` is changed; waits for other publishers."""
    return hold(Blobs(lock_url), LOCK, owner, wait_seconds=LOCK_WAIT_SECONDS)


def _write_list(container_url: str, names: tuple[str, ...], directory: str) -> None:
    """Put the list of labels in its place, then the copies of what changed, where there are any."""
    root, group = Blobs(container_url), Blobs(join_url(container_url, LABELS))
    document = read_document(group) or {"zarr_format": 3, "node_type": "group"}
    document["attributes"] = document.get("attributes", {}) | labels_attributes(names)
    container = read_document(root)
    changed = {}
    if has_copies(document) or has_copies(container):
        changed = _label_documents(group, directory)
    document = with_copies(document, changed)
    group.write(METADATA, encoded(document))
    below = {f"{LABELS}/{path}": found for path, found in changed.items()}
    renewed = with_copies(container, {LABELS: document, **below})
    if renewed != container:
        root.write(METADATA, encoded(renewed))


def _label_documents(group: Blobs, directory: str) -> dict[str, dict[str, Any]]:
    """Documents of a label and its levels, by path below ``labels/``."""
    found = {directory: read_document(group, f"{directory}/{METADATA}")}
    multiscales = ome_attributes(found[directory].get("attributes", {})).get("multiscales") or ()
    for dataset in (level for one in multiscales for level in one["datasets"]):
        path = f"{directory}/{dataset['path']}"
        found[path] = read_document(group, f"{path}/{METADATA}")
    return {path: document for path, document in found.items() if document}
