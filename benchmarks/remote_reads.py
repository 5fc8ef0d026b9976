"""Requests and seconds of reads from a sharded array in an object store.

Makes an array of noise below a URL, reads boxes of it once as Zarr does and once with grouped
requests, and removes it again::

    python -m benchmarks.remote_reads s3://BUCKET/scratch
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.reads import read_voxels
from storage.requests import Lap
from storage.stores import join_url, open_store
from storage.write_grid import WriteGrid, create_array

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE, CHUNKS, SHARDS = (32, 2048, 2048), (1, 256, 256), (16, 1024, 1024)
# A box by what it is for.
BOXES = {
    "one section of one chunk": ((4, 5), (300, 500), (300, 500)),
    "one shard": ((0, 16), (0, 1024), (0, 1024)),
    "one shard with a halo of 32 in plane": ((0, 16), (0, 1056), (0, 1056)),
    "one section of the volume": ((4, 5), (0, 2048), (0, 2048)),
    "a box where eight shards meet": ((12, 20), (900, 1150), (900, 1150)),
}
REPEATS = 3


def main() -> None:
    """Make, measure, print one line a box, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    url = join_url(parser.parse_args().url, "remote-reads")
    make_noise(url)
    store = open_store(join_url(url, "0"), read_only=True)
    array = zarr.open_array(store, mode="r", zarr_format=3)
    sys.stdout.write("| box | | requests | MB | seconds |\n|---|---|---|---|---|\n")
    for name, bounds in BOXES.items():
        box = tuple(slice(*bound) for bound in bounds)
        for way, read in (
            ("Zarr alone", lambda box=box: array[box]),
            ("grouped", lambda box=box: read_voxels(array, box)),
        ):
            sys.stdout.write(f"| {name} | {way} | {measured(read)} |\n")
    Blobs(url).delete_all()


def make_noise(url: str) -> None:
    """An array that no codec makes smaller."""
    create_array(url, "0", shape=SHAPE, dtype="uint8", chunks=CHUNKS, shards=SHARDS, axes="zyx")
    rng = np.random.default_rng(0)
    grid = WriteGrid(SHAPE, SHARDS)
    for index in grid.cells((0,) * len(SHAPE), SHAPE):
        open_cells(url, "0").write(index, rng.integers(0, 256, SHARDS, np.uint8))


def measured(read: Callable[[], Any]) -> str:
    """Requests, megabytes and median seconds of a read."""
    seconds = []
    for _ in range(REPEATS):
        lap, started = Lap(), time.perf_counter()
        read()
        seconds.append(time.perf_counter() - started)
        found = lap()
    return f"{found['get']} | {found['bytes_read'] / 1e6:.1f} | {np.median(seconds):.3f}"


if __name__ == "__main__":
    main()
