import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from storage.cells import open_cells
from storage.errors import StorageError
from storage.intensity import percentiles
from storage.volume import Volume
from storage.write_grid import WriteGrid, create_array


def make_volume(url, voxels, axes, chunks):
    shape = voxels.shape
    create_array(
        str(url), "0", shape=shape, dtype=voxels.dtype.name, chunks=chunks, shards=chunks, axes=axes
    )
    grid = WriteGrid(shape, chunks)
    for cell in grid.cells((0,) * voxels.ndim, shape):
        bounds = zip(*grid.bounds(cell), strict=True)
        open_cells(str(url), "0").write(cell, voxels[tuple(slice(a, b) for a, b in bounds)])
    return Volume(str(url), "0", axes, shape, voxels.dtype.name, chunks, chunks, (), None)


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "float32", "float64"],
)
def test_equal_to_numpy(tmp_path, dtype):
    rng = np.random.default_rng(3)
    voxels = rng.normal(50, 20, (2, 5, 30, 30)).clip(-100, 127).astype(dtype)
    if np.dtype(dtype).kind == "f":
        voxels[0, 0, 0, 0] = 1e30  # one outlier costs no resolution
    volume = make_volume(tmp_path, voxels, "czyx", (1, 2, 16, 16))
    low, high, description = percentiles(volume, 1.0, 99.9, scheduler="threads")
    for channel in range(2):
        expected = np.percentile(voxels[channel].astype(np.float32), [1.0, 99.9])
        assert [low[channel], high[channel]] == pytest.approx(expected, rel=1e-6)
    assert description["sample"] == "every voxel"
    assert (description["low"], description["high"]) == (1.0, 99.9)
    assert description["rounded_to"] == (None if np.dtype(dtype).itemsize <= 2 else "float32")


@settings(max_examples=25, deadline=None)
@given(
    npst.arrays(np.float32, (3, 9), elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(0, 49),
    st.floats(50, 100),
)
def test_any_floats(tmp_path_factory, voxels, low, high):
    volume = make_volume(tmp_path_factory.mktemp("floats"), voxels, "yx", (2, 4))
    lows, highs, _ = percentiles(volume, low, high, scheduler="synchronous")
    expected = np.percentile(voxels.astype(np.float64), [low, high])
    assert [*lows, *highs] == pytest.approx(expected, rel=1e-6, abs=1e-30)


def test_sample_is_stated_even_and_repeatable(tmp_path):
    # Intensity grows along y: an uneven sample would be off.
    voxels = np.repeat(np.arange(64, dtype=np.uint8)[:, None], 64, axis=1)
    volume = make_volume(tmp_path, voxels, "yx", (8, 8))
    results = [
        percentiles(volume, 10, 90, scheduler=scheduler, max_voxels=32 * 64)
        for scheduler in ("threads", "synchronous")
    ]
    assert results[0] == results[1]
    low, high, description = results[0]
    assert description["sample"] == "blocks spread evenly"
    assert (description["blocks"], description["blocks_in_volume"]) == (32, 64)
    assert low[0] == pytest.approx(6.3, abs=2)
    assert high[0] == pytest.approx(56.7, abs=2)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(tmp_path, bad):
    voxels = np.zeros((3, 20, 20), np.float32)
    voxels[2, 5, 17] = bad
    volume = make_volume(tmp_path, voxels, "zyx", (2, 8, 8))
    with pytest.raises(StorageError, match=rf"level 0 holds {bad} at \(z=2, y=5, x=17\)"):
        percentiles(volume, 1, 99, scheduler="threads")


def test_percentages_in_order(tmp_path):
    volume = make_volume(tmp_path, np.zeros((4, 4), np.uint8), "yx", (4, 4))
    with pytest.raises(StorageError, match="percentiles 99 and 1 are not in order"):
        percentiles(volume, 99, 1, scheduler="threads")
