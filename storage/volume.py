"""Volumes: one resolution level of an image or a label as a lazy array.

A `Volume` is plain data and travels between processes; it opens its Zarr array where it is
first read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.errors import StorageError
from storage.label_names import LABELS, check_name, label_url
from storage.ome import MALFORMED, ImageMetadata, Level, parse_image
from storage.ome_labels import parse_labels_list
from storage.stores import is_local, join_url, normalize_url, open_store

if TYPE_CHECKING:
    import zarr


@dataclass(frozen=True, slots=True)
class Volume:
    """One resolution level as an array: it has ``shape``, ``dtype`` and ``[slices]``.

    Attributes
    ----------
    url : str
        URL of the multiscale group.
    path : str
        Path of the array in it.
    axes : str
        Axis names, such as ``"zyx"``.
    shape : tuple of int
        Voxels per axis.
    dtype : str
        Name of the data type in native byte order, such as ``"uint16"``.
    chunks : tuple of int
        Chunk shape: the smallest unit of reading.
    shards : tuple of int or None
        Zarr shard shape, a multiple of `chunks`: the unit of writing. None if not sharded.
    voxel_size : tuple of float
        Per axis, in `unit` for the spatial axes; 1.0 for t and c.
    unit : str or None
        Unit of the spatial axes (a UDUNITS name), if known.
    """

    url: str
    path: str
    axes: str
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None
    voxel_size: tuple[float, ...]
    unit: str | None

    def __getitem__(self, slices: Any) -> np.ndarray:
        """Voxels of a region, in native byte order and C order.

        Raises
        ------
        StorageError
            If a stored chunk cannot be decoded.
        """
        from storage.reads import read_voxels

        # The layout is part of the key: an array made anew at the same place is opened anew.
        array = _open_array(self.url, self.path, self.shape, self.dtype, self.chunks, self.shards)
        try:
            return np.asarray(read_voxels(array, slices), dtype=np.dtype(self.dtype), order="C")
        except (ValueError, RuntimeError) as error:
            raise StorageError(
                f"{self.url} level {self.path} has a damaged chunk ({error}); restore it, or make "
                "image or mask anew"
            ) from error


@dataclass(frozen=True, slots=True)
class Image:
    """A multiscale image or label.

    Attributes
    ----------
    url : str
        URL of its Zarr group.
    metadata : ImageMetadata
        Axes and levels.
    attributes : dict
        All attributes of the group.
    volumes : tuple of Volume
        One per level, finest first.
    """

    url: str
    metadata: ImageMetadata
    attributes: dict[str, Any]
    volumes: tuple[Volume, ...]


def open_image(url: str) -> Image:
    """Open an OME-Zarr image, 0.4 or 0.5, with all its levels; voxels are not read.

    Raises
    ------
    StorageError
        If the URL holds no Zarr group, no OME metadata, axes other than t, c, z, y, x, or
        arrays that do not fit the metadata; the message says what to use instead.
    """
    url = normalize_url(url)
    attributes = _group_attributes(url)
    metadata = parse_image(attributes, url)
    volumes = tuple(_open_level(url, metadata, level) for level in metadata.levels)
    return Image(url, metadata, attributes, volumes)


def open_label(image_url: str, name: str) -> Image:
    """Open a label of an image.

    Parameters
    ----------
    image_url : str
        The image, or another group that holds ``labels/``.
    name : str
        NAME for its published version, the folder under ``labels/`` of any version, or the full
        path or URL of a label, wherever it is.

    Raises
    ------
    StorageError
        If there is no such label; the message lists those there are.
    """
    if f"/{LABELS}/" in name:
        return open_image(name)
    image_url = normalize_url(image_url)
    published = published_labels(image_url)
    if name in published:
        return open_image(label_url(image_url, name))
    for directory in published:
        label = open_image(label_url(image_url, directory))
        if label.metadata.name == name:
            return label
    try:
        return open_image(label_url(image_url, check_name(name)))
    except NotZarrError:
        known = ", ".join(published) or "none"
        raise StorageError(
            f"label {name!r} is not in {join_url(image_url, LABELS)}; labels there: {known}"
        ) from None


def published_labels(image_url: str) -> tuple[str, ...]:
    """Folders of the labels that an image lists, in 0.4 or 0.5; none if it has no labels."""
    try:
        return parse_labels_list(_group_attributes(join_url(normalize_url(image_url), LABELS)))
    except NotZarrError:
        return ()


class NotZarrError(StorageError):
    """There is no Zarr group at a URL."""


def _group_attributes(url: str) -> dict[str, Any]:
    import zarr

    if is_local(url) and not Path(url).exists():
        raise NotZarrError(f"{url} does not exist; expected an OME-Zarr image")
    try:
        node = zarr.open(open_store(url, read_only=True), mode="r")
    except FileNotFoundError as error:
        raise NotZarrError(
            f"{url} is not a Zarr: it holds no zarr.json and no .zgroup; "
            "make an OME-Zarr image with `maskmill import`"
        ) from error
    except (*MALFORMED, ValueError) as error:
        raise StorageError(
            f"{url} is not a readable Zarr ({error}); restore or rewrite its metadata"
        ) from error
    if isinstance(node, zarr.Array):
        raise StorageError(
            f"{url} is a Zarr array, not an OME-Zarr image; use the group that holds it, "
            f"such as {url.rsplit('/', 1)[0]}"
        )
    return dict(node.attrs)


def _open_level(url: str, metadata: ImageMetadata, level: Level) -> Volume:
    import zarr

    try:
        array = zarr.open_array(open_store(join_url(url, level.path), read_only=True), mode="r")
    except (FileNotFoundError, *MALFORMED, ValueError) as error:
        raise StorageError(
            f"{url} lists the level {level.path!r}, but no array can be opened there ({error}); "
            "restore it or import the image again"
        ) from error
    if array.ndim != len(metadata.axes):
        raise StorageError(
            f"{url} level {level.path!r} has the shape {array.shape} for the "
            f"{len(metadata.axes)} axes {metadata.axis_names}"
        )
    if array.dtype.kind not in "buif":
        raise StorageError(
            f"{url} level {level.path!r} holds {array.dtype} voxels; expected numbers"
        )
    spatial = [axis.type == "space" for axis in metadata.axes]
    return Volume(
        url=url,
        path=level.path,
        axes=metadata.axis_names,
        shape=array.shape,
        dtype=array.dtype.name,
        chunks=array.chunks,
        shards=array.shards,
        voxel_size=tuple(s if at else 1.0 for s, at in zip(level.scale, spatial, strict=True)),
        unit=metadata.axes[-1].unit,
    )


@lru_cache(maxsize=128)
def _open_array(url: str, path: str, *_layout: object) -> zarr.Array[Any]:
    import zarr

    return zarr.open_array(open_store(join_url(url, path), read_only=True), mode="r")
