"""The one way to read a box of voxels from a Zarr array, wherever it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore

from storage.local_reads import LocalReader
from storage.remote_reads import SPARE_BYTES, read_ahead
from storage.remote_store import RemoteStore
from storage.shard_codec import codec_of
from storage.shard_layout import Cell, box_of, layout_of

if TYPE_CHECKING:
    import zarr


def read_voxels(
    array: zarr.Array[Any], slices: tuple[Any, ...], *, spare_bytes: int = SPARE_BYTES
) -> Any:
    """``array[slices]``; of a sharded array with few requests, or without Zarr's pipeline.

    Parameters
    ----------
    array : zarr.Array
        Opened at its root.
    slices : tuple
        As for NumPy.
    spare_bytes : int
        A shard in an object store is fetched whole if at most so many bytes of its voxels are
        not wanted.
    """
    box = box_of(slices, array.shape)
    if box is None:
        return array[slices]
    if isinstance(array.store, LocalStore):
        reader = _local_reader(array, array.store)
        return array[slices] if reader is None else reader.read(box)
    layout = layout_of(array)
    if layout is None or not isinstance(array.store, RemoteStore):
        return array[slices]
    return read_ahead(array, array.store, slices, box, layout, spare_bytes)


def _local_reader(array: zarr.Array[Any], store: LocalStore) -> LocalReader | None:
    codec = codec_of(array)
    if codec is None:
        return None
    folder = Path(store.root, array.path)

    def path(shard: Cell) -> Path:
        return folder / array.metadata.encode_chunk_key(shard)

    return LocalReader(codec, path, array.fill_value)
