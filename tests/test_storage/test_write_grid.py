import math

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StorageError
from storage.write_grid import (
    WriteGrid,
    check_one_writer,
    checksum,
    choose_chunks,
    create_array,
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


# ------------------------------------------------------------------------------- the arrays


def make_array(url, dtype, shape, chunks, shards):
    axes = "tczyx"[-len(shape) :]
    create_array(str(url), "0", shape=shape, dtype=dtype, chunks=chunks, shards=shards, axes=axes)


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
