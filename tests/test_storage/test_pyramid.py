import threading

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import Blobs
from storage.cells import open_cells
from storage.downsample import mean_downsample, mode_downsample
from storage.errors import StorageError
from storage.pyramid import build_level, level_factors
from storage.volume import Volume
from storage.write_grid import WriteGrid, checksum, create_array

REDUCE = {"mode": mode_downsample, "mean": mean_downsample}


def make_levels(url, voxels, factors, chunks=4, shards=8):
    axes = "tczyx"[-voxels.ndim :]
    coarse = tuple(-(-size // f) for size, f in zip(voxels.shape, factors, strict=True))
    for path, shape in (("0", voxels.shape), ("1", coarse)):
        create_array(
            str(url),
            path,
            shape=shape,
            dtype=voxels.dtype.name,
            chunks=(chunks,) * voxels.ndim,
            shards=(shards,) * voxels.ndim,
            axes=axes,
        )
    grid = WriteGrid(voxels.shape, (shards,) * voxels.ndim)
    for cell in grid.cells((0,) * voxels.ndim, voxels.shape):
        start, stop = grid.bounds(cell)
        region = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        open_cells(str(url), "0").write(cell, voxels[region])
    return Volume(
        str(url), "1", axes, coarse, voxels.dtype.name, (chunks,) * voxels.ndim, None, (), None
    )


@pytest.mark.parametrize("reducer", ["mode", "mean"])
@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ((21, 19), (2, 2)),
        ((5, 21, 18), (1, 2, 2)),
        ((17, 9, 20), (2, 2, 2)),
        ((2, 5, 20, 17), (1, 2, 4, 2)),
        ((2, 2, 5, 9, 9), (1, 1, 1, 2, 3)),
    ],
)
def test_level_is_the_reduced_array(tmp_path, reducer, shape, factors):
    voxels = np.random.default_rng(1).integers(0, 4, shape, dtype=np.uint16)
    coarse = make_levels(tmp_path, voxels, factors)
    list(build_level(str(tmp_path), "0", "1", reducer=reducer, scheduler="synchronous"))
    np.testing.assert_array_equal(coarse[:], REDUCE[reducer](voxels, factors))


def test_any_scheduler_and_a_second_time_give_the_same_bytes(tmp_path):
    voxels = np.random.default_rng(2).integers(0, 9, (9, 40, 40), dtype=np.uint8)
    results = []
    for name, scheduler in (
        ("a", "synchronous"),
        ("b", "threads"),
        ("c", dask.get),
        ("a", "threads"),
    ):
        make_levels(tmp_path / name, voxels, (1, 2, 2))
        url = str(tmp_path / name)
        results.append(list(build_level(url, "0", "1", reducer="mode", scheduler=scheduler)))
    assert results[0] == results[1] == results[2] == results[3]


def test_records_tell_every_cell_and_its_bytes(tmp_path):
    coarse = make_levels(tmp_path, np.zeros((9, 40), np.uint8), (1, 2))
    url = str(tmp_path)
    records = list(build_level(url, "0", "1", reducer="mode", scheduler="threads"))
    assert [record["cell"] for record in records] == [[i, j] for i in range(2) for j in range(3)]
    assert {record["level"] for record in records} == {"1"}
    for record in records:
        data = Blobs(url).read(record["key"])
        assert (record["size"], record["checksum"]) == (len(data), checksum(data))
    assert not coarse[:].any()


def test_each_task_reads_only_what_its_cell_covers(tmp_path, monkeypatch):
    voxels = np.ones((4, 64, 64), np.uint8)
    make_levels(tmp_path, voxels, (1, 2, 2))
    seen, lock = [], threading.Lock()

    def reduce(block, factors):
        with lock:
            seen.append(block.size)
        return mode_downsample(block, factors)

    monkeypatch.setattr("storage.pyramid.mode_downsample", reduce)
    list(build_level(str(tmp_path), "0", "1", reducer="mode", scheduler="threads"))
    assert sum(seen) == voxels.size
    # A cell of 4 × 8 × 8 coarse voxels is made of slabs one chunk (4) thick.
    assert max(seen) == 4 * (4 * 2) * (8 * 2)


def test_level_of_rounded_down_shape(tmp_path):
    """Other writers leave the remainder out: 9 → 4."""
    voxels = np.arange(81, dtype=np.uint8).reshape(9, 9)
    make_levels(tmp_path, voxels, (1, 1))
    create_array(
        str(tmp_path), "1", shape=(4, 4), dtype="uint8", chunks=(4, 4), shards=(4, 4), axes="yx"
    )
    coarse = Volume(str(tmp_path), "1", "yx", (4, 4), "uint8", (4, 4), (4, 4), (), None)
    list(build_level(str(tmp_path), "0", "1", reducer="mean", scheduler="threads"))
    np.testing.assert_array_equal(coarse[:], mean_downsample(voxels[:8, :8], (2, 2)))


@given(st.integers(1, 10_000), st.integers(1, 16))
def test_factor_gives_back_the_shape(fine, factor):
    for coarse in {-(-fine // factor), max(1, fine // factor)}:
        (found,) = level_factors((fine,), (coarse,))
        assert coarse in (fine // found, -(-fine // found))
        assert found <= factor
        # Long axes leave no doubt, and a factor of 2 never does.
        if fine >= 2 * factor * factor or (factor == 2 and fine > 1):
            assert found == factor


def test_shapes_out_of_proportion():
    with pytest.raises(StorageError, match=r"shape \(7,\) is no reduction of \(10,\)"):
        level_factors((10,), (7,))
    with pytest.raises(StorageError, match="is no reduction of"):
        level_factors((10,), (11,))
    with pytest.raises(StorageError, match="differ in axes"):
        level_factors((10, 10), (5,))
