"""OME-Zarr to OME-TIFF."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.stores import is_local, normalize_url
from storage.units import unit_symbol
from storage.volume import Volume, open_image, open_label

if TYPE_CHECKING:
    from collections.abc import Iterator

TILE = 256
READ_BYTES = 2**28
# Offsets of a classic TIFF end at 4 GiB; the margin is for tags.
CLASSIC_BYTES = 2**32 - 2**25
OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")


def export_volume(image_url: str, label_name: str | None, out_path: str, *, level: int = 0) -> str:
    """Write a label, or the image itself, as OME-TIFF: compressed tiles, one page a section.

    Parameters
    ----------
    image_url : str
        OME-Zarr image.
    label_name : str or None
        Label of it; None for the image.
    out_path : str
        New ``.tif`` file; one for an object store is written on this machine first.
    level : int
        Resolution level, 0 the finest.

    Returns
    -------
    str
        URL of the file.

    Raises
    ------
    StorageError
        If the file is there already or the level or label is not, or OME-TIFF has no such type.
    """
    out = normalize_url(out_path)
    folder, _, file_name = out.rpartition("/")
    if not out.lower().endswith((".tif", ".tiff")):
        raise StorageError(f"{out} is no TIFF name; end it with .ome.tif")
    if Blobs(folder).exists(file_name) or (is_local(out) and Path(out).exists()):
        raise StorageError(f"{out} is there already; choose another name or remove it first")
    image = open_image(image_url) if label_name is None else open_label(image_url, label_name)
    if not 0 <= level < len(image.volumes):
        raise StorageError(
            f"level {level} is not in {image.url}; it has 0 to {len(image.volumes) - 1}"
        )
    volume = image.volumes[level]
    if volume.dtype not in OME_TYPES:
        raise StorageError(
            f"{image.url} holds {volume.dtype} voxels, which OME-TIFF cannot; "
            f"it holds {', '.join(OME_TYPES)}"
        )
    if is_local(out):
        _write_whole(volume, image.metadata.name, Path(out))
    else:
        with TemporaryDirectory(prefix="maskmill-export-") as scratch:
            whole = Path(scratch, file_name)
            _write_whole(volume, image.metadata.name, whole)
            Blobs(folder).upload(file_name, whole)
    return out


def _write_whole(volume: Volume, name: str, out: Path) -> None:
    """Write beside the name and rename: an interrupted export leaves no half file there."""
    import tifffile

    partial = out.with_name(f".{out.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    big = np.prod(volume.shape, dtype=float) * np.dtype(volume.dtype).itemsize > CLASSIC_BYTES
    try:
        with tifffile.TiffWriter(partial, bigtiff=bool(big), ome=True) as writer:
            writer.write(
                _tiles(volume),
                shape=volume.shape,
                dtype=np.dtype(volume.dtype),
                tile=(TILE, TILE),
                compression="zlib",
                photometric="minisblack",
                metadata=_ome_metadata(volume, name),
            )
        partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)


def _ome_metadata(volume: Volume, name: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"axes": volume.axes.upper(), "Name": name or volume.path}
    symbol = unit_symbol(volume.unit)
    for axis, size in zip(volume.axes, volume.voxel_size, strict=True):
        if axis in "zyx" and symbol is not None:
            metadata[f"PhysicalSize{axis.upper()}"] = size
            metadata[f"PhysicalSize{axis.upper()}Unit"] = symbol
    return metadata


def _tiles(volume: Volume) -> Iterator[np.ndarray]:
    for plane in _planes(volume):
        for y in range(0, plane.shape[0], TILE):
            for x in range(0, plane.shape[1], TILE):
                yield np.ascontiguousarray(plane[y : y + TILE, x : x + TILE])


def _planes(volume: Volume) -> Iterator[np.ndarray]:
    """Planes in C order, read a row of chunks at a time if that fits, so none is read twice."""
    *leading, height, width = volume.shape
    if not leading:
        yield volume[:, :]
        return
    plane_bytes = height * width * np.dtype(volume.dtype).itemsize
    step = max(1, min(volume.chunks[-3], READ_BYTES // plane_bytes))
    for index in product(*(range(n) for n in leading[:-1])):
        outer = tuple(slice(i, i + 1) for i in index)
        for first in range(0, leading[-1], step):
            block = volume[(*outer, slice(first, min(first + step, leading[-1])))]
            yield from block.reshape(-1, height, width)
