import hashlib
import math
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import Blobs
from storage.errors import StorageError
from storage.write_grid import (
    WriteGrid,
    check_one_writer,
    checksum,
    choose_chunks,
    create_array,
    write_cell,
)


@st.composite
def grids(draw):
    dimensions = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 12)) for _ in range(dimensions))
    return WriteGrid(shape, tuple(draw(st.integers(1, 14)) for _ in shape))


@st.composite
def boxes(draw, shape):
    start = tuple(draw(st.integers(0, size - 1)) for size in shape)
    return start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))


def cells_by_voxel(grid, start, stop):
    """Cells that a box touches, found voxel by voxel."""
    extent = [b - a for a, b in zip(start, stop, strict=True)]
    return sorted(
        {
            tuple((a + v) // c for a, v, c in zip(start, voxel, grid.cell, strict=True))
            for voxel in np.ndindex(*extent)
        }
    )


@given(grids(), st.data())
def test_cells_of_a_box(grid, data):
    start, stop = data.draw(boxes(grid.shape))
    assert list(grid.cells(start, stop)) == cells_by_voxel(grid, start, stop)


@given(grids())
def test_cells_partition_the_array(grid):
    seen = np.zeros(grid.shape, int)
    for index in np.ndindex(*grid.grid_shape):
        start, stop = grid.bounds(index)
        seen[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] += 1
    assert (seen == 1).all()


@given(grids(), st.data())
def test_a_cell_of_two_writers_is_refused(grid, data):
    written = data.draw(st.lists(boxes(grid.shape), max_size=4))
    cells = [cell for box in written for cell in cells_by_voxel(grid, *box)]
    if len(set(cells)) == len(cells):
        check_one_writer(grid, written)
    else:
        with pytest.raises(StorageError, match="would be written by shards"):
            check_one_writer(grid, written)


def test_two_writers_by_name():
    grid = WriteGrid((8, 8), (4, 4))
    with pytest.raises(
        StorageError,
        match=r"cell \(0, 1\) would be written by shards 0 and 2; cut shards .*\(4, 4\)",
    ):
        check_one_writer(grid, [((0, 0), (4, 6)), ((4, 0), (8, 8)), ((0, 6), (4, 8))])


# ----------------------------------------------------------------------------- the stored bytes


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
        record = write_cell(str(tmp_path / "ours"), "0", index, block)
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
    record = write_cell(str(tmp_path), "0", (0, 0), np.zeros((4, 4), np.uint8))
    assert record["size"] > 0
    assert (tmp_path / record["key"]).stat().st_size == record["size"]


def test_blocks_in_any_memory_order_give_the_same_bytes(tmp_path):
    make_array(tmp_path, "uint16", (6, 8), (3, 4), (6, 8))
    block = voxels((6, 8), "uint16")
    turned = np.asfortranarray(block)
    strided = np.repeat(block, 2, axis=1)[:, ::2]
    records = [write_cell(str(tmp_path), "0", (0, 0), b) for b in (block, turned, strided)]
    assert records[0] == records[1] == records[2]


def test_two_processes_give_the_same_bytes(tmp_path):
    make_array(tmp_path, "uint8", (64, 64), (16, 16), (64, 64))
    block = voxels((64, 64), "uint8")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(write_cell, str(tmp_path), "0", (0, 0), block) for _ in range(2)]
        first, second = (job.result() for job in jobs)
    assert first == second == write_cell(str(tmp_path), "0", (0, 0), block)
    assert [key for key, _ in Blobs(str(tmp_path)).list("0/c")] == ["0/c/0/0"]
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "0"), mode="r")[...], block)


def test_block_of_another_shape(tmp_path):
    make_array(tmp_path, "uint8", (6, 6), (4, 4), (4, 4))
    with pytest.raises(StorageError, match=r"block \(4, 4\) is not the cell \(1, 1\) of \(2, 2\)"):
        write_cell(str(tmp_path), "0", (1, 1), np.zeros((4, 4), np.uint8))
    assert list(Blobs(str(tmp_path)).list("0/c")) == []


def test_array_metadata(tmp_path):
    make_array(tmp_path, "uint8", (3, 7, 10), (1, 4, 4), (1, 8, 8))
    array = zarr.open_array(str(tmp_path / "0"), mode="r")
    assert (array.shape, array.chunks, array.shards) == ((3, 7, 10), (1, 4, 4), (1, 8, 8))
    assert array.metadata.zarr_format == 3
    assert array.metadata.dimension_names == ("z", "y", "x")
    assert (array.dtype, array.fill_value) == (np.uint8, 0)


def test_shard_that_splits_a_chunk(tmp_path):
    with pytest.raises(
        StorageError, match=r"shard \(4, 6\) is not a whole number of chunks \(4, 4\)"
    ):
        make_array(tmp_path, "uint8", (8, 8), (4, 4), (4, 6))


def test_checksum_is_blake2b_of_128_bits():
    assert checksum(b"") == "cae66941d9efbd404e4d88758ea67670"


# ---------------------------------------------------------------------------- chunks by default


@pytest.mark.parametrize(
    ("shape", "axes", "itemsize", "planar", "chunk", "shard"),
    [
        # One 1 MiB shard at least: 16 sections of 256 × 256, or the whole plane first.
        ((16, 256, 256), "zyx", 1, True, (1, 256, 256), (16, 256, 256)),
        ((256, 256, 256), "zyx", 1, False, (64, 64, 64), (64, 128, 128)),
        ((2048, 2048), "yx", 1, False, (256, 256), (1024, 1024)),
        # Small images: a chunk is rounded up to 16 in plane, not to 256.
        ((5, 40, 30), "zyx", 2, False, (16, 48, 32), None),
        # Times and channels are never mixed.
        ((2, 3, 64, 512, 512), "tczyx", 2, False, (1, 1, 64, 64, 64), None),
    ],
)
def test_choose_chunks_by_hand(shape, axes, itemsize, planar, chunk, shard):
    chunks, shards = choose_chunks(shape, axes, itemsize, planar=planar)
    assert chunks == chunk
    if shard is not None:
        assert shards == shard


@given(
    st.sampled_from(["yx", "zyx", "czyx", "tczyx"]),
    st.sampled_from([1, 2, 4, 8]),
    st.booleans(),
    st.data(),
)
def test_choose_chunks(axes, itemsize, planar, data):
    shape = tuple(data.draw(st.integers(1, 4 if a in "tc" else 20_000)) for a in axes)
    chunks, shards = choose_chunks(shape, axes, itemsize, planar=planar)
    assert choose_chunks(shape, axes, itemsize, planar=planar) == (chunks, shards)
    assert not any(s % c for s, c in zip(shards, chunks, strict=True))
    assert math.prod(shards) * itemsize <= max(2**25, math.prod(chunks) * itemsize)
    for axis, size, chunk, shard in zip(axes, shape, chunks, shards, strict=True):
        assert chunk <= (1 if axis in "tc" else 256)
        assert shard == chunk or shard < 2 * size  # never doubled beyond the array
        assert axis not in "tc" or shard == 1
    if planar and "z" in axes:
        assert chunks[axes.index("z")] == 1
