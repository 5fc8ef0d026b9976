"""Cells of an array: the bytes that are stored, and what is asked of a store on the way."""

from __future__ import annotations

import hashlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import zarr

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.errors import StorageError
from storage.pyramid import build_level
from storage.write_grid import WriteGrid, create_array


def make_array(url, dtype, shape, chunks, shards):
    axes = "tczyx"[-len(shape) :]
    create_array(str(url), "0", shape=shape, dtype=dtype, chunks=chunks, shards=shards, axes=axes)


def voxels(shape, dtype):
    return np.random.default_rng(0).integers(0, 5, shape).astype(dtype)


CASES = [
    ("uint8", (7, 10), (2, 3), (4, 6)),  # edge cells along both axes
    ("uint16", (8, 12), (4, 4), (4, 4)),  # a shard of one chunk, no edge
    ("uint32", (3, 5, 9), (2, 4, 4), (2, 8, 8)),
    ("float32", (2, 3, 5), (1, 2, 2), (1, 4, 4)),
    ("uint64", (5,), (16,), (16,)),  # an array smaller than its chunk
]


@pytest.mark.parametrize(("dtype", "shape", "chunks", "shards"), CASES)
def test_cells_equal_what_zarr_writes(tmp_path, dtype, shape, chunks, shards):
    data = voxels(shape, dtype)
    make_array(tmp_path / "ours", dtype, shape, chunks, shards)
    make_array(tmp_path / "zarrs", dtype, shape, chunks, shards)
    zarr.open_array(str(tmp_path / "zarrs" / "0"), mode="r+")[...] = data
    grid = WriteGrid(shape, shards)
    for index in grid.cells((0,) * len(shape), shape):
        start, stop = grid.bounds(index)
        block = data[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))]
        record = open_cells(str(tmp_path / "ours"), "0").write(index, block)
        stored = Blobs(str(tmp_path / "ours")).read(record["key"])
        assert stored == Blobs(str(tmp_path / "zarrs")).read(record["key"])
        assert record == {
            "key": "0/c/" + "/".join(map(str, index)),
            "size": len(stored),
            "checksum": hashlib.blake2b(stored, digest_size=16).hexdigest(),
        }
    np.testing.assert_array_equal(
        zarr.open_array(str(tmp_path / "ours" / "0"), mode="r")[...], data
    )


def test_background_is_stored_too(tmp_path):
    """A missing object is then always a fault, never background."""
    make_array(tmp_path, "uint8", (4, 4), (2, 2), (4, 4))
    record = open_cells(str(tmp_path), "0").write((0, 0), np.zeros((4, 4), np.uint8))
    assert record["size"] > 0
    assert (tmp_path / record["key"]).stat().st_size == record["size"]


def test_blocks_in_any_memory_order_give_the_same_bytes(tmp_path):
    make_array(tmp_path, "uint16", (6, 8), (3, 4), (6, 8))
    block = voxels((6, 8), "uint16")
    turned = np.asfortranarray(block)
    strided = np.repeat(block, 2, axis=1)[:, ::2]
    records = [open_cells(str(tmp_path), "0").write((0, 0), b) for b in (block, turned, strided)]
    assert records[0] == records[1] == records[2]


def test_two_processes_give_the_same_bytes(tmp_path):
    make_array(tmp_path, "uint8", (64, 64), (16, 16), (64, 64))
    block = voxels((64, 64), "uint8")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(open_cells(str(tmp_path), "0").write, (0, 0), block) for _ in range(2)]
        first, second = (job.result() for job in jobs)
    assert first == second == open_cells(str(tmp_path), "0").write((0, 0), block)
    assert [key for key, _ in Blobs(str(tmp_path)).list("0/c")] == ["0/c/0/0"]
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "0"), mode="r")[...], block)


def test_block_of_another_shape(tmp_path):
    make_array(tmp_path, "uint8", (6, 6), (4, 4), (4, 4))
    with pytest.raises(StorageError, match=r"block \(4, 4\) is not the cell \(1, 1\) of \(2, 2\)"):
        open_cells(str(tmp_path), "0").write((1, 1), np.zeros((4, 4), np.uint8))
    assert list(Blobs(str(tmp_path)).list("0/c")) == []


# --- requests


def looks(object_server):
    """What was asked since the last look: metadata that were read, and objects that were put."""
    asked = [(one.method, one.path.rpartition("/")[2]) for one in object_server.asked]
    object_server.asked.clear()
    return asked.count(("GET", "zarr.json")), [method for method, _ in asked].count("PUT")


def test_a_cell_is_put_without_a_look_at_the_metadata(bucket, object_server):
    """Of an array that was opened before; by processes that got it, too."""
    url, data = f"{bucket}/image", voxels((8, 12), "uint8")
    make_array(url, "uint8", (8, 12), (2, 2), (4, 4))
    object_server.asked.clear()
    array = open_cells(url, "0")
    assert looks(object_server) == (1, 0)
    for index in array.grid.cells((0, 0), (8, 12)):
        start, stop = array.grid.bounds(index)
        array.write(index, data[tuple(map(slice, start, stop))])
    assert looks(object_server) == (0, 6)
    np.testing.assert_array_equal(array.read((slice(0, 8), slice(0, 12))), data)


def test_a_level_is_built_with_three_looks_at_the_metadata(bucket, object_server):
    """The finer array's and the coarser one's, and once more where the finer one is read."""
    url = f"{bucket}/image"
    make_array(url, "uint8", (8, 24), (2, 2), (4, 4))
    options = {"dtype": "uint8", "chunks": (2, 2), "shards": (4, 4), "axes": "yx"}
    create_array(url, "1", shape=(4, 12), **options)
    array = open_cells(url, "0")
    for index in array.grid.cells((0, 0), (8, 24)):
        array.write(index, voxels((4, 4), "uint8"))
    object_server.asked.clear()
    made = list(build_level(url, "0", "1", reducer="mode", scheduler="synchronous"))
    assert len(made) == 3
    assert looks(object_server) == (3, 3)
