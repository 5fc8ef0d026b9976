"""Which stored objects of an array are missing: Zarr would read them as the fill value."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from storage.blobs import Blobs
from storage.stores import join_url, open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.volume import Volume


def missing_objects(volume: Volume, region: Sequence[slice]) -> list[str]:
    """Keys of the Zarr shards (or chunks) of a region that are not stored, in order.

    Parameters
    ----------
    volume : Volume
        Of Zarr 2 or 3.
    region : sequence of slice
        Start and stop along each axis.
    """
    import zarr

    array = zarr.open_array(open_store(join_url(volume.url, volume.path), read_only=True), mode="r")
    cell = volume.shards or volume.chunks
    stored = {key for key, _ in Blobs(volume.url).list(volume.path)}
    ranges = [
        range(s.start // size, -(-s.stop // size)) for s, size in zip(region, cell, strict=True)
    ]
    keys = (
        f"{volume.path}/{array.metadata.encode_chunk_key(place)}"
        for place in itertools.product(*ranges)
    )
    return [key for key in keys if key not in stored]
