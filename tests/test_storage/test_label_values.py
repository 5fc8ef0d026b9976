import numpy as np
import pytest

from storage.errors import StorageError
from storage.label_values import count_values, label_values
from tests.test_storage.test_intensity import make_volume

VOXELS = np.random.default_rng(4).integers(0, 5, (5, 30, 21))


def numpy_counts(voxels):
    values, counts = np.unique(voxels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int16", "uint64"])
@pytest.mark.parametrize(
    "region",
    [
        None,
        (slice(None), slice(3, 29), slice(8, 16)),
        (slice(2, 3), slice(7, 8), slice(0, None)),
    ],
)
def test_counts_are_exact(tmp_path, dtype, region):
    volume = make_volume(tmp_path, VOXELS.astype(dtype), "zyx", (2, 8, 8))
    expected = numpy_counts(VOXELS if region is None else VOXELS[region])
    assert label_values(volume, region, scheduler="threads") == expected


def test_empty_region(tmp_path):
    volume = make_volume(tmp_path, VOXELS.astype(np.uint8), "zyx", (2, 8, 8))
    region = (slice(0, 5), slice(5, 5), slice(0, 21))
    assert label_values(volume, region, scheduler="threads") == {}


def test_large_values():
    top = 2**64 - 1
    assert count_values(np.array([top, 0, top], np.uint64)) == {0: 1, top: 2}


def test_floats_are_refused(tmp_path):
    volume = make_volume(tmp_path, VOXELS.astype(np.float32), "zyx", (2, 8, 8))
    with pytest.raises(StorageError, match="holds float32 voxels; labels are integers"):
        label_values(volume, scheduler="threads")
